"""A cluster that is too small and grows: the work waits for the machine that the autoscaler adds, and runs on it."""

import psutil
import pytest
import yaml

from ray_heads import heads_of_ones_own
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(400)]


def test_a_run_waits_for_a_machine_that_is_added(tmp_path):
    large = {"name": "grown", "cluster": {"cpus_per_worker": 2, "storage": str(tmp_path / "runs")}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, large)))
    with heads_of_ones_own(RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1") as heads:
        heads.start_growing(cpus=1, worker_cpus=2, most=1)
        done = heads.command("side4video", "run", "a.yaml", "--address", heads.gcs, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "waiting for machines to be added" in done.stderr
    assert [process for process in heads.processes() if process.status() != psutil.STATUS_ZOMBIE] == []
    (run,) = [each for each in MLflowStore().prepare().runs() if each.name == "grown"]
    assert (run.status, run.metrics["eval/videos"]) == ("FINISHED", 20)
