"""Two commands of two users on one pass: the first one is killed, the second one takes the pass over."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from seat_passes import train_alone
from side4video.runs.endless_pass import records_of
from side4video.tracking.mlflow.store import MLflowStore
from sweeps import weights
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LENGTH = {"optimization": {"length": {"epochs": 8}}}


class Command:
    """A sweep's command, its output in a file."""

    def __init__(self, folder, name, **ways):
        base = merged(DOCUMENT, {**LENGTH, "tracking": {"experiment": f"of-{name}"}})
        whole = {"name": name, "base": base, "packing": {"seats": 2, "share": True}, **ways}
        (folder / f"{name}.yaml").write_text(json.dumps(whole))
        self.folder, self.name = folder, name

    def start(self):
        command = [sys.executable, "-m", "side4video", "sweep", f"{self.name}.yaml", "--local"]
        with (self.folder / f"{self.name}.log").open("w") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        return self

    @property
    def log(self):
        return (self.folder / f"{self.name}.log").read_text()

    def wait_for(self, text):
        while text not in self.log:
            assert self.process.poll() is None, self.log
            time.sleep(0.05)


def arms_of_sweep(name):
    store = MLflowStore().prepare()
    (run,) = store.runs(name=name, tags={"side4video.kind": "sweep"}, all_experiments=True)
    records = records_of(store, run.run_id)
    runs = store.runs(tags={"side4video.sweep": run.tags["side4video.sweep"]}, all_experiments=True)
    return records, {each.tags["side4video.arm"][:16]: each for each in runs if "side4video.arm" in each.tags}


def test_a_second_command_gets_seats_and_goes_on_when_the_first_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    ann = Command(tmp_path, "ann", grid={"optimization.learning_rate": [1e-4 * n for n in range(3, 11)]}).start()
    ann.wait_for("epoch 1:")
    ben = Command(tmp_path, "ben", grid={"optimization.learning_rate": [2e-3, 4e-3]}).start()
    ann.wait_for("ben: learning_rate=0.002")
    ben.wait_for(f"process {ann.process.pid} on ")
    ben.wait_for("of the pass join: learning_rate=0.002")
    os.kill(ann.process.pid, signal.SIGKILL)
    ann.process.wait()
    assert ben.process.wait() == 0, ben.log
    assert ann.start().process.wait() == 0, ann.log
    assert "Traceback" not in ann.log + ben.log
    for name in ("ann", "ben"):
        records, runs = arms_of_sweep(name)
        assert {record.state for record in records} == {"finished"}
        assert len(runs) == len(records)
        for record in records[-1:]:
            alone = train_alone(record, tmp_path / f"alone-{record.name}")
            (tmp_path / f"run-{record.name}").mkdir()
            run = runs[record.short_key]
            stored = weights(run.run_id, tmp_path / f"run-{record.name}")
            last = alone.weights[record.name, record.epochs]
            assert all(bool((stored[key] == last[key]).all()) for key in stored), record.name
            for key in ("eval/top1", "eval/loss", "train/steps_trained"):
                assert run.metrics[key] == alone.metrics[record.name].get((key, 15), run.metrics[key])
