"""A tiny run that was trained here and exported with all that it needs."""

from pathlib import Path

from click.testing import CliRunner

from side4video.apps.export.command import export
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from tiny import tiny


def exported(folder: Path, name: str) -> Path:
    """The folder of the exported model, below `folder`."""
    run_id = launch({"tiny": tiny(name=name)}, progress=SILENT)["tiny"].run_id
    place = folder / "model"
    done = CliRunner().invoke(export, [run_id, str(place), "--with-backbone"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return place
