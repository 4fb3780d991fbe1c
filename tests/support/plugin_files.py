"""Plug-ins for tests: a data set, a method, a transform and a metric, as a file of a user would have them."""

from pathlib import Path

SOURCE = '''
"""Parts of a user."""
from pathlib import Path
from typing import Literal

import numpy as np

from side4video.plugins import Clip, DatasetSpec, FeatureRequest, MethodSpec
from side4video.plugins import MetricSpec, PathText, Plugin, TransformSpec


class Named(DatasetSpec):
    """Clips whose file name ends with their class."""

    kind: Literal["named"] = "named"
    root: PathText

    def _root(self):
        return self.root

    def classes(self):
        return tuple(sorted({file.stem.split("-")[-1] for file in Path(self.root).rglob("*.mp4")}))

    def clips(self, split):
        files = sorted(Path(self.root, split).glob("*.mp4"))
        return [Clip(str(file), self.classes().index(file.stem.split("-")[-1]), origin=str(file)) for file in files]


class MaxProbe(MethodSpec):
    """Two layers on the maximum over time."""

    kind: Literal["max-probe"] = "max-probe"
    hidden: int = 16
    """Width."""

    def reads(self, tower, *, frames):
        return FeatureRequest(pooled=True)

    def build(self, tower, *, frames):
        from torch import nn

        class Network(nn.Module):
            output_dim = tower.shape.width

            def __init__(self, hidden):
                super().__init__()
                self.mlp = nn.Sequential(nn.Linear(tower.shape.width, hidden), nn.Linear(hidden, tower.shape.width))

            def forward(self, features):
                return self.mlp(features.pooled_BTD.float().amax(dim=1))

        return Network(self.hidden)


class Noise(TransformSpec):
    """Noise."""

    kind: Literal["noise"] = "noise"
    strength: int = 8

    def apply(self, frames_THWC, rng):
        noise = rng.integers(-self.strength, self.strength, size=frames_THWC.shape, endpoint=True)
        return np.clip(frames_THWC.astype(np.int64) + noise, 0, 255).astype(np.uint8)


def share_sure(found):
    return float((found.scores_NC.max(axis=1) > 0.5).mean())


def worst_rank(found):
    return float(found.texts_N.max() + 1)


PLUGIN = Plugin(
    datasets=(Named,),
    methods=(MaxProbe,),
    transforms=(Noise,),
    recognition_metrics=(MetricSpec("share_sure", "sure answers", share_sure),),
    retrieval_metrics=(MetricSpec("worst_rank", "worst rank", worst_rank, better="min", unit=""),),
)
'''


def write_plugin(folder: Path, source: str = SOURCE, *, name: str = "my_parts.py") -> Path:
    """The file of a plug-in."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(source, encoding="utf-8")
    return file
