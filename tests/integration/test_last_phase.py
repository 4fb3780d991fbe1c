"""Stopped while results are stored: they are stored to the end, or the resumed run stores all of them."""

import os
import signal

import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.errors import Terminated
from side4video.core.progress import SILENT, MessageProgress
from side4video.reports import run_page
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))


def spec_of():
    return tiny(optimization={"batch_size": 4, "length": {"epochs": 2}})


def at_the_end(deed):
    return MessageProgress(lambda message: deed() if message["phase"] == "storing the results" else None)


def send():
    os.kill(os.getpid(), signal.SIGTERM)


def test_told_to_end_it_delivers_all_first():
    """The signal used to interrupt the delivery, and was taken for an outage of the store."""
    finished = launch({"tiny": spec_of()}, progress=at_the_end(send))["tiny"]
    run = MLflowStore().prepare().get(finished.run_id)
    assert (run.status, run.tags["state"]) == ("FINISHED", "finished")
    assert "time/mean_step_s" in run.metrics


def test_told_to_end_while_the_page_is_written_it_shows_all(tmp_path, monkeypatch):
    """The signal used to end the process there, without a sentence."""
    written = run_page.save_run_page

    def interrupted(*arguments):
        send()
        return written(*arguments)

    monkeypatch.setattr(run_page, "save_run_page", interrupted)
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(spec_of().resolved()))
    done = CliRunner().invoke(cli, ["run", str(file), "--local"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Its page, for a browser" in done.output
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def twice():
    send()
    send()


def killed():
    raise KeyboardInterrupt


@pytest.mark.parametrize(("deed", "error"), [(twice, Terminated), (killed, KeyboardInterrupt)])
def test_what_a_run_measured_is_not_lost_with_its_process(deed, error):
    with pytest.raises(error):
        launch({"tiny": spec_of()}, progress=at_the_end(deed))
    store = MLflowStore().prepare()
    (run,) = store.runs()
    assert (run.status, run.tags["state"]) == ("KILLED", "interrupted")
    resumed = launch({"tiny": spec_of()}, progress=SILENT, resume=True)["tiny"]
    whole = launch({"tiny": spec_of()}, progress=SILENT)["tiny"]
    one, other = store.get(resumed.run_id), store.get(whole.run_id)
    assert one.run_id == run.run_id
    assert one.metrics.keys() == other.metrics.keys()
    assert {"time/alone_s", "time/mean_backbone_s", "time/mean_data_wait_s"} <= one.metrics.keys()
    assert one.metrics["time/alone_s"] > 0
