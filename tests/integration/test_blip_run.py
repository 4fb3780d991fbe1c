"""UniAdapter on BLIP from a document to metrics: trained, evaluated, and searched."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import blip_files
import blip_toys
from side4video.apps.export.command import export
from side4video.apps.search.command import search as search_command
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from tiny import tiny
from tiny_tokenizer import write_tokenizer

TASK = {"kind": "retrieval", "words": 16, "matching": {"kind": "image-text-matching", "candidates": 4, "queue": 24}}
SIZES = {"image_size": 32, "patch_size": 8, "width": 32}


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blip")
    (folder / "tokenizer").mkdir()
    _, weights = blip_files.write(folder, **SIZES)
    tokenizer = str(write_tokenizer(folder / "tokenizer", "clipa"))
    backbone = blip_toys.document(**SIZES, weights=weights, tokenizer=tokenizer)
    return tiny(task=TASK, backbone=backbone, method={"kind": "uniadapter-blip", "dim": 8, "rank": 4})


def search(model, folder):
    done = CliRunner().invoke(search_command, [str(model), "a cat runs", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_run_from_a_file_of_transformers(spec, tmp_path):
    found = launch({"tiny": spec}, progress=SILENT)["tiny"]
    assert {"t2v_r1", "v2t_r1"} <= {name.rsplit("/", 1)[-1] for name in found.metrics}
    for number, clip in enumerate(spec.data.dataset.clips("test")[:3]):
        shutil.copy2(clip.path, tmp_path / f"{number}.mp4")
    matches = search(found.run_id, tmp_path)
    assert [match["rank"] for match in matches] == [1, 2, 3]
    assert all(-1 <= match["score"] <= 1 for match in matches)  # cosines: a search scores no pairs
    exported = tmp_path.with_name("exported")
    done = CliRunner().invoke(export, [found.run_id, str(exported), "--with-backbone"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    Path(spec.backbone.weights.path).unlink()  # the folder is complete
    assert search(exported, tmp_path) == matches
