"""Runs, sweeps and plans of a program: what the commands do, also where an event loop runs."""

import asyncio
import signal
import threading

import pytest

import side4video
from side4video.core.progress import SILENT
from side4video.planning.plan import plan_experiment
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, tiny


class Reports:
    """Keeps the phases, and calls something at each report."""

    def __init__(self, then=lambda: None):
        self.phases, self.then = [], then

    def report(self, phase, done=0, total=0, **details):
        self.phases.append(phase)
        self.then()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def first(home):
    """The run that others are compared with, trained in a running event loop."""
    reports = Reports()
    before = signal.getsignal(signal.SIGTERM)

    async def cell():
        return side4video.run(DOCUMENT, "name=first", progress=reports)

    result = asyncio.run(cell())
    assert signal.getsignal(signal.SIGTERM) == before
    return result, reports


def test_a_cell_with_a_running_loop_trains_what_the_command_trains(first):
    result, reports = first
    assert (result.name, result.state) == ("first", "finished")
    assert {"preparing the data", "planning", "training", "storing the results"} <= set(reports.phases)
    same = launch({"tiny": tiny(name="second")}, progress=SILENT)["tiny"]
    for name in ("eval/top1", "eval/loss"):
        assert result.metrics[name] == same.metrics[name]
    assert MLflowStore().prepare().get(result.run_id).status == "FINISHED"
    assert repr(result).startswith(f"<run {result.run_id[:8]} (first): finished · top-1 ")


def run_in_thread(progress):
    """Run in another thread while the loop counts its turns; the result and the turns."""

    async def cell():
        turns, done = 0, asyncio.Event()

        async def count():
            nonlocal turns
            while not done.is_set():
                turns += 1
                await asyncio.sleep(0.01)

        counting = asyncio.create_task(count())
        result = await asyncio.to_thread(side4video.run, DOCUMENT, "name=threaded", progress=progress)
        done.set()
        await counting
        return result, turns

    return asyncio.run(cell())


def test_whoever_awaits_it_is_not_blocked(first):
    threads, handlers = set(), set()

    def look():
        threads.add(threading.current_thread() is threading.main_thread())
        handlers.add(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    result, turns = run_in_thread(Reports(look))
    assert result.metrics["eval/loss"] == first[0].metrics["eval/loss"]
    assert turns > 10
    assert threads == {False}
    assert handlers == {before}


def test_in_the_main_thread_sigterm_is_handled(home):
    handlers = set()
    with pytest.raises(side4video.InputError, match="broken on purpose"):
        side4video.run(DOCUMENT, progress=Reports(lambda: _stop(handlers)))
    assert signal.getsignal(signal.SIGTERM) not in handlers


def _stop(handlers):
    handlers.add(signal.getsignal(signal.SIGTERM))
    raise side4video.InputError("here", "broken on purpose")


def test_go_on_gives_the_finished_run(first):
    reports = Reports()
    again = side4video.run(DOCUMENT, "name=first", go_on=True, progress=reports)
    assert "training" not in reports.phases
    assert again.metrics["eval/loss"] == first[0].metrics["eval/loss"]
    assert any("nothing was trained" in note for note in again.notes)


def test_one_process_says_that_more_workers_were_asked_for(first):
    reports = Reports()
    side4video.run(DOCUMENT, "name=alone", "cluster.workers=2", progress=reports)
    said = [phase for phase in reports.phases if "the document asks for 2 workers" in phase]
    assert len(said) == 1
    assert not any("the document asks for" in phase for phase in first[1].phases)


def test_progress_is_lines_or_nothing(first, capsys):
    side4video.run(DOCUMENT, "name=first", go_on=True, progress=False)
    assert capsys.readouterr() == ("", "")
    side4video.run(DOCUMENT, "name=first", go_on=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "first: preparing the data\n" in shown.err
    assert "\x1b" not in shown.err


def test_a_finished_run_is_loaded_by_name_and_by_start_of_its_id(first):
    by_name, by_id = side4video.load("first"), side4video.load(first[0].run_id[:8])
    assert by_name.origin == by_id.origin
    assert first[0].run_id[:8] in repr(by_name)
    for part in ("side4video on vit (2 blocks of 32 channels)", "10 classes", "4 frames of 32 x 32 pixels", "epoch 2"):
        assert part in repr(by_name)
    with pytest.raises(side4video.InputError, match=r"run `no-such`: no run has this name or id"):
        side4video.load("no-such")


def test_plan(home, monkeypatch):
    monkeypatch.delenv("K400", raising=False)
    assert side4video.plan(DOCUMENT) == plan_experiment(tiny(), classes=10, clips=_clips())
    with pytest.warns(UserWarning, match="planned for its usual 400 classes"):
        assert side4video.plan("k400/vitb16-8f").classes == 400
    assert side4video.plan(DOCUMENT, classes=7).classes == 7


def _clips():
    from side4video.planning.feature_cache import count_clips

    return count_clips(tiny().data)


def test_a_sweep_and_its_table(first, tmp_path):
    document = {"name": "layers", "base": DOCUMENT, "grid": {"method.layers": [1, 2]}}
    found = side4video.sweep(document, report=tmp_path / "report", progress=False)
    assert found.is_complete
    assert sorted(found.arms["method.layers"]) == [1, 2]
    assert "| layers=1 |" in found.markdown
    assert {"comparison.md", "comparison.html"} <= {file.name for file in found.files}
    stored = side4video.runs(sweep="layers")
    assert sorted(stored["run_id"]) == sorted(found.arms["run_id"])
    assert set(stored["sweep"]) == {"layers"}
    own = stored[stored["method.layers"] == 2]["eval/loss"].item()
    assert own == first[0].metrics["eval/loss"]  # the arm is the run: its result was taken
    everything = side4video.runs()
    assert len(everything) > len(stored)
    assert found.run_id not in set(everything["run_id"])
    assert everything["started"].is_monotonic_decreasing
    assert side4video.runs(name="first")["name"].unique().tolist() == ["first"]
    with pytest.raises(side4video.InputError, match="is not of a sweep"):
        side4video.runs(sweep=first[0].run_id)
    again = side4video.sweep(document, progress=False)
    assert sorted(again.arms["run_id"]) == sorted(found.arms["run_id"])


def test_a_scheduler_needs_ray(home):
    document = {"name": "a", "base": DOCUMENT, "grid": {"method.layers": [1, 2]}, "scheduler": {"kind": "asha"}}
    with pytest.raises(side4video.InputError, match="the sweep has a scheduler or Optuna"):
        side4video.sweep(document, progress=False)
