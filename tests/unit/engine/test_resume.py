"""Where a run begins, and what is said of another number of workers."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

import toys
from side4video.core.errors import InputError
from side4video.engine.checkpoint import save_checkpoint
from side4video.engine.process_group import ProcessGroup
from side4video.engine.resume import ResumePosition, checkpoint_source, newest_valid, resume

IDENTITY = {"backbones": {"a": "b"}, "digests": {"a": "d"}, "kin": {"a": "k"}, "world": 1}


class FakeEpochCallback:
    """The part of an epoch's end that hears of a resumed run."""

    def __init__(self, **identity):
        self.metrics_logger = SimpleNamespace(process=ProcessGroup())
        self.identity, self.notes, self.calls = {**IDENTITY, **identity}, [], []

    def restore(self, folder, state):
        self.calls.append("restore")

    def report_recent(self, state):
        self.calls.append("report")


def student(method="side4video"):
    return toys.make_student("a", toys.METHODS[method])


def checkpoint(folder, one, **state):
    return save_checkpoint(folder, {"a": one}, {"next_step": 4, "identity": IDENTITY, **state})


def test_without_a_checkpoint_a_run_begins_at_its_beginning():
    epoch_callback = FakeEpochCallback()
    assert resume([], {"a": student()}, epoch_callback) == ResumePosition(0, is_open=False)
    assert (epoch_callback.notes, epoch_callback.calls) == ([], [])


@pytest.mark.parametrize("is_open", [False, True])
def test_a_run_goes_on_where_it_was_left(is_open, tmp_path):
    one, resumed, epoch_callback = (
        student(),
        toys.make_student("a", toys.METHODS["side4video"], seed=1),
        FakeEpochCallback(),
    )
    folder = checkpoint(tmp_path / "one", one, is_open=is_open)
    assert resume([checkpoint_source(folder)], {"a": resumed}, epoch_callback) == ResumePosition(4, is_open=is_open)
    assert toys.same(toys.weights_of(one), toys.weights_of(resumed))
    assert epoch_callback.calls == ["restore", "report"]
    assert epoch_callback.notes == ["went on from step 4"]


def test_a_damaged_one_is_passed_over_and_told_of(tmp_path):
    folder = checkpoint(tmp_path / "one", student())
    (tmp_path / "bad").mkdir()
    found, state, notes = newest_valid([checkpoint_source(tmp_path / "bad"), checkpoint_source(folder)], ProcessGroup())
    assert (found, state["next_step"]) == (folder, 4)
    assert notes == [f"a damaged checkpoint was passed over: {tmp_path / 'bad'}: no checkpoint.json in it"]


@pytest.mark.parametrize(
    "change", [{"backbones": {"a": "c"}}, {"digests": {"a": "e"}, "kin": {"a": "l"}}], ids=["backbone", "document"]
)
def test_another_runs_checkpoint_is_refused(change, tmp_path):
    folder = checkpoint(tmp_path / "one", student())
    with pytest.raises(InputError, match=f"checkpoint's {next(iter(change)).removesuffix('s')}s? differs"):
        resume([checkpoint_source(folder)], {"a": student()}, FakeEpochCallback(**change))


@pytest.mark.parametrize(("stored", "goes_on"), [("b", True), ("c", False)])
def test_checkpoints_of_one_backbone_are_those_of_earlier_versions(stored, goes_on, tmp_path):
    identity = {name: value for name, value in IDENTITY.items() if name != "backbones"} | {"backbone": stored}
    folder = checkpoint(tmp_path / "one", student(), identity=identity)
    with nullcontext() if goes_on else pytest.raises(InputError, match="checkpoint's backbone differs"):
        assert resume([checkpoint_source(folder)], {"a": student()}, FakeEpochCallback()).next_step == 4


@pytest.mark.parametrize(("method", "norms"), [("side4video", True), ("linear", False)])
def test_another_number_of_workers_says_what_it_changes(method, norms, tmp_path):
    """The head drops out; only the side network has batch norms."""
    epoch_callback = FakeEpochCallback(world=2, digests={"a": "another"})
    folder = checkpoint(tmp_path / "one", student(method))
    resume([checkpoint_source(folder)], {"a": student(method)}, epoch_callback)
    note = epoch_callback.notes[0]
    assert note.startswith("went on with 2 workers after 1: ")
    assert ("batch norm statistics are now of 2 videos, not 4" in note) == norms
    assert "dropout draws anew" in note
