"""Among two classes every guess reaches top-5: nothing that people read has it, and the record keeps it."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.tracking.stores import store_at
from tiny import DOCUMENT
from validation_clips import list_with_validation

pytestmark = pytest.mark.slow


def call(*arguments):
    done = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def two_of(dataset):
    """The list with two classes instead of ten."""
    file = Path(dataset["annotations"])
    head, *rows = (line.split(",") for line in file.read_text().split())
    rows = [[path, str(int(label) % 2), split] for path, label, split in rows]
    file.write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n")
    return {**dataset, "class_names": {"kind": "numbered", "count": 2}}


@pytest.mark.parametrize("has_validation", [False, True])
def test_nothing_shows_top_5_of_two_classes(tmp_path, monkeypatch, has_validation):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    motion = {**DOCUMENT["data"]["dataset"], "motions": ["left"]}
    dataset = two_of(list_with_validation(tmp_path / "clips")) if has_validation else motion
    document = {**DOCUMENT, "data": {**DOCUMENT["data"], "dataset": dataset, "views": {"clips": 2}}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(document))
    printed = call("run", tmp_path / "two.yaml", "--local")
    (run,) = store_at().prepare().runs(name="tiny")
    page = next((tmp_path / "home" / "pages").glob("*.html")).read_text(encoding="utf-8")
    printed += call("evaluate", run.run_id)
    if has_validation:
        printed += call("evaluate", run.run_id, "--split", "val")
    numbers = call("figure", "curves", run.run_id, "--out", tmp_path / "curves", "--json")
    assert "epoch 1: top1" in printed
    assert "top1" in numbers
    for shown in (printed, page, numbers):
        assert "top5" not in shown
        assert "top-5" not in shown
    assert run.metrics["eval/top5"] == 1
