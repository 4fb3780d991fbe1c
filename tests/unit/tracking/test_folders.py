"""A folder whose variable is not set is found by `validate`, with the place of the field, as it is by a run."""

import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.tracking.stores import open_store
from tiny import DOCUMENT, merged, tiny

NOT_SET = "the environment variable NO_SUCH_PLACE in '${NO_SUCH_PLACE}/x' is not set"
SINK = {"kind": "tensorboard", "folder": "${NO_SUCH_PLACE}/x"}
CASES = [
    ({"also": [{"kind": "wandb"}, SINK]}, "tracking.also.1.folder"),
    ({"kind": "files", "folder": "${NO_SUCH_PLACE}/x"}, "tracking.folder"),
    ({"kind": "files", "also": [{**SINK, "kind": "wandb"}]}, "tracking.also.0.folder"),
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_SUCH_PLACE", raising=False)


@pytest.mark.parametrize(("tracking", "where"), CASES)
def test_it_is_found(tmp_path, tracking, where, monkeypatch):
    """The twin said that the document is valid, and the run that `tracking.also.folder` is wrong, of no number."""
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(merged(DOCUMENT, {"tracking": tracking})))
    done = CliRunner().invoke(cli, ["validate", str(file)])
    assert done.exit_code == 2
    assert f"error: {where}: {NOT_SET}" in done.stderr
    assert CliRunner().invoke(cli, ["validate", "--no-files", str(file)]).exit_code == 0  # of another machine
    with pytest.raises(InputError, match=rf"^{where.replace('.', '[.]')}: the environment variable NO_SUCH_PLACE"):
        open_store(tiny(tracking=tracking).tracking)
    monkeypatch.setenv("NO_SUCH_PLACE", str(tmp_path))
    done = CliRunner().invoke(cli, ["validate", str(file)])
    assert "is not set" not in done.output + done.stderr


def test_a_sweep_too(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, {"tracking": {"also": [SINK]}})))
    sweep = {"name": "s", "base": "base.yaml", "grid": {"seed": [1, 2]}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    done = CliRunner().invoke(cli, ["validate", str(tmp_path / "sweep.yaml")])
    assert f"error: tracking.also.0.folder: {NOT_SET}" in done.stderr, done.output + done.stderr
