"""A run and a sweep without a database: `tracking: {kind: files}`, from the first step to the report."""

import json
import sys

from click.testing import CliRunner

import sweeps
from side4video.cli.main import cli
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.tracking.file_store import FileStore
from tiny import tiny


def test_a_run_is_kept_in_files_and_evaluated_from_them(tmp_path):
    records = tmp_path / "records"
    spec = tiny(name="plain", tracking={"kind": "files", "folder": str(records)})
    done = launch({"tiny": spec}, progress=SILENT)["tiny"]
    run = FileStore(records).find("plain")
    assert run.run_id == done.run_id
    assert run.status == "FINISHED"
    assert run.metrics["eval/top1"] == done.metrics["eval/top1"]
    head = (records / "side4video" / run.run_id / "metrics.csv").read_text().splitlines()[0]
    assert head == "key,step,value,timestamp_ms"
    again = CliRunner().invoke(cli, ["evaluate", "plain", "--uri", str(records), "--weights", "last", "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["metrics"]["eval/top1"] == done.metrics["eval/top1"]


def test_a_sweep_is_compared_and_continues_from_files(tmp_path):
    tracking = {"tracking": {"kind": "files", "folder": str(tmp_path / "records")}}
    sweep = sweeps.make_sweep("plain", {"seed": 91, **tracking})
    _, result = sweeps.run(sweep)
    assert result.is_complete
    assert len(result.sweep_logger.children()) == 4
    trainer = sweeps.NotingTrainer()
    _, again = sweeps.run(sweeps.make_sweep("plain", {"seed": 91, **tracking}), trainer=trainer)
    assert trainer.trained == []
    assert sweeps.table(again) == sweeps.table(result)


def test_no_mlflow_is_needed(tmp_path):
    """A run in a process of its own never imports it."""
    import subprocess

    document = tiny(name="alone", tracking={"kind": "files", "folder": str(tmp_path / "records")}).resolved()
    (tmp_path / "spec.json").write_text(json.dumps(document))
    code = (
        "import sys; from side4video.cli.main import cli; "
        f"cli.main(['run', {str(tmp_path / 'spec.json')!r}, '--local'], standalone_mode=False); "
        "print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
