"""The demo page: clips that play, the answers that the runs stored, memory; nothing comes from elsewhere."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.data.datasets import MotionSpec
from side4video.reports.demo import CLIPS, animate, demo_page
from side4video.tracking.file_store import FileStore

DATASET = MotionSpec(motions=("left", "up", "approach", "appear"), train_clips=8, test_clips=16, frames=4, size=32)
NEXT = [("side4video ui --open", "look at both runs in MLflow")]


def add_run(store, name, folder, guess):
    """A finished run whose predictions are those of `guess(label)`."""
    run_id = store.start_run(name=name, key=name)
    classes = DATASET.classes()
    rows = ["index,label,prediction,correct,score,label_score"]
    labels = [classes[clip.label] for clip in DATASET.clips("test")]
    rows += [
        f"{index},{label},{guess(label)},{int(guess(label) == label)},0.75,0.5" for index, label in enumerate(labels)
    ]
    folder.mkdir()
    (folder / "predictions.csv").write_text("\n".join(rows) + "\n")
    store.log_file(run_id, folder / "predictions.csv")
    share = sum(guess(label) == label for label in labels) / len(labels)
    for epoch, value in enumerate((share / 2, share)):
        metrics = {"eval/epoch": epoch, "eval/top1": value, "eval/loss": 1 - value, "eval/videos": len(labels)}
        store.log(run_id, [Metric(key, float(number), 4 * epoch + 3, 0) for key, number in metrics.items()])
    once = {
        "plan/held_for_backward_gib": 3 / 1024,
        "memory/held_for_backward_gib": 3 / 1024,
        "plan/peak_memory_gib": 60 / 1024,
        "model/trainable_parameters": 798_984,
    }
    store.log(run_id, [Metric(key, float(number), 0, 0) for key, number in once.items()])
    store.finish(run_id)
    return store.get(run_id)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    store = FileStore(folder / "runs").prepare()
    runs = {
        "side network": add_run(store, "quickstart", folder / "a", lambda label: label),
        "linear probe": add_run(store, "linear-probe", folder / "b", lambda label: "left"),
    }
    return demo_page(store, runs, DATASET, next_steps=NEXT, seconds={"starting Ray": 12.4, "planning": 0.1})


def answers(page):
    return re.findall(r'(side network|linear probe): <span class="(good|bad)">(\S+)\s', page)


def test_six_clips_play_with_the_answers_of_both_models(page):
    pictures = re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="A test clip of the class (\w+)', page)
    assert [label for _, label in pictures] == list(DATASET.classes()[:CLIPS])
    for picture, _ in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture)))
        assert (image.n_frames, image.size, image.info["loop"]) == (4, (32, 32), 0)
    said = answers(page)
    assert [each for each in said if each[0] == "side network"] == [
        ("side network", "good", label) for label in DATASET.classes()[:CLIPS]
    ]
    probe = [each[1:] for each in said if each[0] == "linear probe"]
    assert probe == [("good" if label == "left" else "bad", "left") for label in DATASET.classes()[:CLIPS]]


def test_the_figures_are_those_of_the_runs(page):
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    assert "side network 100.0 798,984 3.00 MiB 3.00 MiB 60.0 MiB" in re.sub(r" +", " ", text)
    assert "linear probe 12.5 " in re.sub(r" +", " ", text)
    assert "16 test clips" in text
    assert "chance is 12.5%" in text
    assert "starting Ray: 12 s" in text
    assert "planning" not in text.partition("Where the time went")[2]
    assert "side4video ui --open" in text


def test_the_page_asks_for_nothing_from_another_place(page):
    assert not re.findall(r'(?:src|href|url)[=(]["\']?(?!data:|#)[^"\' >]+', page.replace("xmlns", ""))
    assert "default-src 'none'" in page


def test_a_run_without_predictions_is_named(tmp_path):
    store = FileStore(tmp_path / "runs").prepare()
    run_id = store.start_run(name="empty", key="empty")
    names = ("eval/top1", "eval/videos", "plan/held_for_backward_gib", "memory/held_for_backward_gib")
    names += ("plan/peak_memory_gib", "model/trainable_parameters")
    store.log(run_id, [Metric(name, 1.0, 0, 0) for name in names])
    with pytest.raises(InputError, match=r"empty.*has no predictions"):
        demo_page(store, {"a": store.get(run_id)}, DATASET, next_steps=NEXT, seconds={})


def test_an_animation_keeps_each_frame():
    frames_THWC = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(animate(frames_THWC)))
    for number, frame_HWC in enumerate(frames_THWC):
        image.seek(number)
        assert np.array_equal(np.asarray(image.convert("RGB")), frame_HWC)
