"""The table of open_clip's models in the package is what open_clip says."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "docs"))

from generators.open_clip_models import FILE, table

from side4video.models.backbones.open_clip_models import open_clip_models, refused_models


def test_the_table_is_open_clips():

    assert json.loads(FILE.read_text(encoding="utf-8")) == json.loads(json.dumps(table()))
    assert len(open_clip_models()) >= 90
    assert not open_clip_models().keys() & refused_models().keys()
