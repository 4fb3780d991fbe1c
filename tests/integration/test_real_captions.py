"""The whole path of retrieval with true ViT-B/16 towers on real captioned clips: train, evaluate, search.

Of 23 clips nothing is expected but that they pass: no figure here says anything of quality.
"""

import json
import math
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from side4video.apps.search.command import search
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.spec.load import load_experiment

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SIDE4VIDEO_SHARED_DATA") or ROOT.parent / "shared" / "data")
CLIPS = SHARED / "videos" / "gmdcsa24_256"
SHORTER = [
    "method.layers=2",
    "method.dim=64",
    "data.frames=2",
    "optimization.length={steps: 2}",
    "optimization.warmup={steps: 1}",
    "cluster.workers=1",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (CLIPS / "captions.json").is_file(), reason="the shared clips are not on this machine"),
]


def test_real_clips_and_captions_train_and_are_found(monkeypatch):
    monkeypatch.setenv("REAL_CLIPS", str(SHARED))
    spec = load_experiment(ROOT / "experiments/real-clips/retrieval.yaml", SHORTER)
    assert (spec.backbone.model, spec.tower.depth, spec.tower.width) == ("ViT-B-16-quickgelu", 12, 768)
    finished = launch({spec.name: spec}, progress=SILENT)[spec.name]
    measured = {name: value for name, value in finished.metrics.items() if name.startswith(("eval/t2v", "eval/v2t"))}
    assert len(measured) == 10
    assert all(math.isfinite(value) for value in measured.values())
    assert finished.metrics["eval/videos"] == len(spec.data.dataset.clips("test")) == 10
    words = [finished.run_id, "a man falls from a chair", str(CLIPS), "--json", "--top", "23"]
    done = CliRunner().invoke(search, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {Path(each["path"]).name for each in found} == {path.name for path in CLIPS.glob("*.mp4")}
    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
