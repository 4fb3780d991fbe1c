"""Every model of timm and open_clip that a document can name: how far its tokens and features are from the library's.

    python benchmarks/towers.py

Each model has random weights and two or three blocks. Writes benchmarks/results/towers.json: for each model the largest
difference of the blocks' tokens, of the features of frames, and of those of texts, divided by the largest value; and
why other models are refused. Takes about ten minutes.
"""

import dataclasses
import sys
import warnings
from pathlib import Path
from typing import Any

import bench
from side4video.models.backbones import open_clip_models, timm_models

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from library_towers import open_clip_distance, timm_distance


def main() -> None:
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {}
    for library, accepted, refused, distance in (
        ("timm", timm_models.timm_models(), timm_models.refused_models(), timm_distance),
        ("open_clip", open_clip_models.open_clip_models(), open_clip_models.refused_models(), open_clip_distance),
    ):
        models = {}
        for number, name in enumerate(accepted, 1):
            models[name] = {
                part: value if value is None else float(f"{value:.2g}")
                for part, value in dataclasses.asdict(distance(name)).items()
            }
            print(f"{library} {number} of {len(accepted)}: {name} {models[name]}", flush=True)
        largest = max(value for each in models.values() for value in each.values() if value is not None)
        result[library] = {"largest": largest, "accepted": len(models), "models": models, "refused": refused}
    print("written:", bench.save("towers", result))


if __name__ == "__main__":
    main()
