"""Matching of pairs on several workers: the same evaluation to the bit; weights, momentum and queue stay the same."""

import json

import pytest
import torch

from workers import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]

SCRIPT = """
import retrieval_toys, toys
from oracle import perturb
from side4video.engine.evaluate import evaluate

student = retrieval_toys.make_student("a", "uniadapter-blip", matching="image-text", process=process)
stream = retrieval_toys.TestStream(process)
found = evaluate(toys.make_pack(student), [student], stream, videos=stream.videos)["a"]
answer = {"metrics": found.metrics, "ranks": [found.texts_N.tolist(), found.videos_V.tolist()]}
(folder / f"answer-{world}-{rank}.json").write_text(json.dumps(answer))

# Unequal shares of five clips.
share = {1: [slice(0, 5)], 2: [slice(0, 3), slice(3, 5)]}[world][rank]
losses = []
for step in range(2):
    batch = retrieval_toys.make_clips(step, captions=[1] * 5)
    for name in ("video_BTCHW", "captions", "indices_B", "labels_B", "views_B"):
        setattr(batch, name, getattr(batch, name)[share])
    features = toys.make_pack(student).features_for([student], batch)
    student.accumulate(features, student.task.targets(batch), clips=5, synchronize=True, draw=step)
    student.update(1e-2)
torch.save(student.module.state_dict(), folder / f"state-{world}-{rank}.pt")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one worker and two leave."""
    place = tmp_path_factory.mktemp("pairs")
    for world in (1, 2):
        run_workers(world, place, "import json\n" + SCRIPT)
    return place


def test_evaluations_are_equal(folder):
    one, *others = (json.loads((folder / f"answer-{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert others == [one, one]


def test_workers_stay_equal_and_the_queue_has_the_clips_of_all(folder):
    """Each worker draws hard negatives from its own share, so a step of two is not that of one."""
    one, first, second = (torch.load(folder / f"state-{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert first["queue.clips_K"].tolist() == one["queue.clips_K"].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    # Of the first step, from equal weights.
    torch.testing.assert_close(first["queue.texts_KE"][5:], one["queue.texts_KE"][5:], rtol=1e-4, atol=1e-5)
    assert not torch.equal(first["queue.texts_KE"][:5], first["queue.texts_KE"][4:9])
