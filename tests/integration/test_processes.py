"""Two processes without Ray: the same evaluation as one, and gradients of the joined batch."""

import json

import pytest
import torch

from workers import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EVALUATE = """
from tiny import tiny
from side4video.run import evaluate_students
spec = tiny(data={"views": {"clips": 3, "crops": 3}})
results, _ = evaluate_students({"a": spec, "b": spec}, {name: folder / "weights.safetensors" for name in "ab"}, process)
answer = results["a"]
if rank == world - 1:
    scores = answer.scores_VC.astype("float32").tobytes().hex()
    facts = {"metrics": answer.metrics, "scores": scores, "loss": answer.loss, "videos": answer.indices_V.tolist()}
    facts |= {"views": answer.views, "class": answer.class_metrics}
    answer.write_views(folder / f"views-{world}.csv")
    facts |= {"per_view": [[view.name, view.videos, view.top1, view.top5] for view in answer.per_view]}
    facts |= {"views.csv": (folder / f"views-{world}.csv").read_text()}
    (folder / f"world-{world}.json").write_text(json.dumps(facts))
"""

TRAIN = """
import shutil
from tiny import tiny
from side4video.run import RunContext, run
def keep(report):
    if report.checkpoint is not None:
        shutil.copytree(report.checkpoint, folder / f"trained-{world}", dirs_exist_ok=True)
job = json.loads((folder / "job.json").read_text())
# With a small epsilon, AdamW makes whole steps of gradients that are nothing but rounding (a key's bias has no other).
optimization = {"length": {"epochs": 4}, "epsilon": 1e-2}
spec = tiny(method=job["method"], cluster={"workers": job["workers"] or world}, optimization=optimization)
scratch = folder / f"scratch-{world}-{rank}"
scratch.mkdir()
run({"a": spec}, RunContext(process, scratch, keep))
"""


def test_any_number_of_workers_gives_the_same_evaluation(tmp_path):
    from side4video.engine.checkpoint import save_tensors
    from side4video.engine.process_group import ProcessGroup
    from side4video.run import build_student
    from tiny import tiny

    spec = tiny()
    spec.data.dataset.prepare()
    save_tensors(
        build_student("a", spec, ProcessGroup(), spec.backbone.build("cpu")).module, tmp_path / "weights.safetensors"
    )
    answers = []
    for world in (1, 2, 3):
        run_workers(world, tmp_path, EVALUATE)
        answers.append(json.loads((tmp_path / f"world-{world}.json").read_text()))
    assert answers[0]["videos"] == list(range(20))
    assert answers[0]["views"] == 9
    names = [f"view_{clip}_{crop}" for clip in range(3) for crop in range(3)]
    assert [view[0] for view in answers[0]["per_view"]] == names
    assert len(answers[0]["views.csv"].splitlines()) == 1 + 9 * 20
    assert answers[0] == answers[1] == answers[2]


def train_on(worlds, folder, method, *, workers=None, prelude=""):
    from safetensors.torch import load_file

    from tiny import tiny

    tiny().data.dataset.prepare()
    (folder / "job.json").write_text(json.dumps({"method": method, "workers": workers}))
    trained = []
    for world in worlds:
        run_workers(world, folder, prelude + TRAIN)
        trained.append(load_file(folder / f"trained-{world}" / "a" / "weights.safetensors"))
    return trained


def assert_equal_to_rounding(one, other):
    for name, tensor in one.items():
        torch.testing.assert_close(
            tensor, other[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(
    "method",
    [
        pytest.param({"kind": "linear"}, id="linear"),
        pytest.param({"kind": "st-adapter", "dim": 16, "dropout": 0.0}, id="st-adapter", marks=pytest.mark.long),
        pytest.param({"kind": "aim", "dropout": 0.0, "drop_path": 0.0}, id="aim", marks=pytest.mark.long),
        pytest.param({"kind": "full"}, id="full"),
    ],
)
def test_gradients_of_two_workers_are_those_of_the_joined_batch(method, tmp_path):
    """Methods without batch norm and dropout: only the order of additions may differ."""
    assert_equal_to_rounding(*train_on((1, 2), tmp_path, method))


TWIN = """
from side4video.data.streams import loader
loader.TrainingStream.shares = property(lambda self: float(world))
"""


@pytest.mark.long
def test_gradients_of_uneven_shares_are_those_of_the_joined_batch(tmp_path):
    """Three workers that come and go take eight videos as 2, 3 and 3; the twin takes their shares for equal."""
    one, three = train_on((1, 3), tmp_path, {"kind": "full"}, workers=[1, 3])
    assert_equal_to_rounding(one, three)
    (tmp_path / "twin").mkdir()
    (twin,) = train_on((3,), tmp_path / "twin", {"kind": "full"}, workers=[1, 3], prelude=TWIN)
    with pytest.raises(AssertionError):
        assert_equal_to_rounding(one, twin)
