"""How speed is counted, with a clock that is not the machine's. No test asks how fast this machine is."""

import math

import pytest

from side4video.apps.export import speed as module
from side4video.apps.export.bundled_run import _speed
from side4video.apps.export.card import model_card
from side4video.apps.export.speed import MOST_RUNS, Rate, Speed, measure_speed, rate
from side4video.core.errors import InputError
from side4video.engine.checkpoint import save_tensors
from side4video.engine.process_group import ProcessGroup
from side4video.inference.data_section import without_data
from side4video.run import build_student
from side4video.spec.bundle import Bundle
from tiny import tiny

CLASSES = tuple("abcdefghij")


class Clock:
    """Moves only when `pass_seconds` is called."""

    def __init__(self, *seconds):
        self.now, self.seconds, self.runs = 100.0, list(seconds), 0

    def __call__(self):
        return self.now

    def run(self):
        self.now += self.seconds[min(self.runs, len(self.seconds) - 1)]
        self.runs += 1


def measured(*seconds, budget=10.0, views=1):
    clock = Clock(*seconds)
    return rate(clock.run, clock=clock, budget_seconds=budget, views=views), clock


def test_the_first_run_does_not_count():
    found, clock = measured(3.0, 0.5, budget=1000)
    assert found == Rate(2.0, MOST_RUNS)
    assert clock.runs == MOST_RUNS + 1


def test_the_median_is_taken():
    found, _ = measured(1.0, 0.25, 0.25, 9.0, 0.25, 0.25, 9.0, 0.25, 0.25, budget=21)
    assert found.videos_per_s == 4.0


@pytest.mark.parametrize(("seconds", "budget"), [((1.0,), 10.0), ((0.3,), 5.0), ((4.0, 1.0), 10.0), ((2.0,), 5.0)])
def test_the_budget_holds(seconds, budget):
    found, clock = measured(*seconds, budget=budget)
    assert clock.now - 100 <= budget
    assert found.runs == clock.runs - 1


@pytest.mark.parametrize("first", [6.0, 60.0])
def test_one_run_is_made_however_slow_and_then_it_counts(first):
    assert measured(first, budget=5.0)[0] == Rate(1 / first, 1)


def test_all_views_of_a_video_count():
    assert measured(1.0, 0.5, budget=100, views=4)[0].videos_per_s == 0.5


def test_a_clock_that_stands_still_ends():
    assert measured(0.0)[0] == Rate(math.inf, MOST_RUNS)


def test_a_count_with_the_first_run_is_noticed():
    """Of the tests above: a broken twin that counts all runs."""

    def all_runs(run, *, clock, budget_seconds):
        began, runs = clock(), 0
        while clock() - began < budget_seconds:
            run()
            runs += 1
        return Rate(runs / (clock() - began), runs)

    clock = Clock(3.0, 0.5)
    assert all_runs(clock.run, clock=clock, budget_seconds=10).videos_per_s != 2.0


@pytest.fixture
def weights(tmp_path):
    spec = without_data(tiny(), CLASSES)
    tower = spec.backbone.build("cpu")
    save_tensors(build_student("model", spec, ProcessGroup(), tower).module, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_a_model_is_measured_with_what_is_here(weights):
    spec = tiny(data={"views": {"clips": 2, "crops": 3}})
    spec.data.dataset.prepare()
    found = measure_speed(spec, CLASSES, weights, budget_seconds=0.2)
    assert (found.frames, found.size, found.views, found.precision) == (4, 32, 6, "fp32")
    assert found.network.runs >= 1
    assert found.network.videos_per_s > 0
    assert found.decoding is not None
    assert found.decoding.videos_per_s > 0
    assert found.device
    assert found.threads >= 1
    assert found.as_json()["network"]["runs"] == found.network.runs
    text = str(found)
    assert text.startswith("decoding: ")
    assert "batch 1, 4 frames of 32 x 32 pixels, 6 views, fp32" in text


def test_without_videos_decoding_is_left_out(weights, tmp_path):
    document = {"kind": "folder", "root": str(tmp_path / "gone")}
    found = measure_speed(tiny(data={"dataset": document}), CLASSES, weights, budget_seconds=0.1)
    assert found.decoding is None
    assert "decoding: not measured, because no test video is at hand; network: " in str(found)


def test_a_video_that_cannot_be_read_leaves_decoding_out(weights, tmp_path):
    for split in ("train", "test"):
        for name in CLASSES:
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "a.mp4").write_bytes(b"no video")
    document = {"kind": "folder", "root": str(tmp_path)}
    assert measure_speed(tiny(data={"dataset": document}), CLASSES, weights, budget_seconds=0.1).decoding is None


def test_the_weights_of_the_tower_are_not_read(weights, tmp_path):
    """They may be a download; the speed is the same with any."""
    file = {"weights": {"kind": "file", "path": str(tmp_path / "gone.safetensors")}}
    assert measure_speed(tiny(backbone=file), CLASSES, weights, budget_seconds=0.1).network.videos_per_s > 0


def test_what_cannot_be_measured_is_a_warning(weights, monkeypatch, caplog):
    class Little:
        available = 1 << 10

    monkeypatch.setattr(module.psutil, "virtual_memory", Little)
    with pytest.raises(InputError, match="are free"):
        measure_speed(tiny(), CLASSES, weights)
    assert _speed(tiny(), CLASSES, weights) is None
    assert "the speed was not measured: speed: the tower takes about" in caplog.text


def test_the_card_has_a_section_if_there_is_something_to_say():
    bundle = Bundle("a", CLASSES, "0" * 64, {"eval/top1": 0.5}, {"weights": "last"})
    speed = Speed(Rate(12.0, 15), Rate(41.0, 12), "a GPU <b>", 8, 8, 224, 1, "fp32")
    page = model_card(bundle, tiny(), speed=str(speed))
    assert "## How fast it is\n\n- decoding: 41 videos/s (median of 12, one process)\n- network: 12 videos/s" in page
    assert "8 CPU threads, batch 1, 8 frames of 224 x 224 pixels, 1 view, fp32" in page
    assert "<b>" not in page.replace("\\<b", "")
    assert "How fast" not in model_card(bundle, tiny())
