"""Tables of the towers that a document can name: families, what a side network costs on them, what is refused."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from side4video.core.units import GIB, format_bytes, format_count
from side4video.models.backbones import clip_models, open_clip_models, timm_models
from side4video.models.backbones.open_clip import OpenCLIPSpec

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
FAMILIES = {
    "CLIP, MetaCLIP, DFN, DataComp": ("open_clip", ("ViT-B-16-quickgelu", "ViT-L-14-quickgelu", "ViT-H-14-quickgelu")),
    "MetaCLIP 2": ("open_clip", ("ViT-H-14-worldwide-quickgelu", "ViT-bigG-14-worldwide")),
    "EVA-CLIP": ("open_clip", ("EVA02-B-16", "EVA02-L-14", "EVA02-E-14")),
    "SigLIP 2": ("open_clip", ("ViT-B-16-SigLIP2", "ViT-L-16-SigLIP2-256", "ViT-SO400M-16-SigLIP2-256")),
    "PE-Core": ("open_clip", ("PE-Core-B-16", "PE-Core-L-14-336", "PE-Core-bigG-14-448")),
    "CLIPA": ("open_clip", ("ViT-L-14-CLIPA", "ViT-H-14-CLIPA", "ViT-bigG-14-CLIPA")),
    "DINOv2": (
        "timm",
        ("vit_small_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2", "vit_large_patch14_reg4_dinov2"),
    ),
    "DINOv3": ("timm", ("vit_small_patch16_dinov3", "vit_base_patch16_dinov3", "vit_large_patch16_dinov3")),
    "TIPSv2": ("timm", ("vit_base_patch14_reg1_tipsv2",)),
    "RADIO": ("timm", ("vit_base_patch16_radio_v3", "vit_huge_patch16_radio_v4")),
    "AIMv2": ("timm", ("aimv2_large_patch14_224", "aimv2_huge_patch14_224")),
    "InternViT": ("timm", ("vit_intern300m_patch14_448",)),
    "DeiT III": ("timm", ("deit3_small_patch16_224", "deit3_base_patch16_224", "deit3_large_patch16_224")),
}
"""Families by name: the library that has them, and models to begin with."""
LICENSES = {
    "CLIP, MetaCLIP, DFN, DataComp": "MIT; MetaCLIP CC-BY-NC-4.0, DFN Apple's",
    "MetaCLIP 2": "CC-BY-NC-4.0",
    "EVA-CLIP": "MIT",
    "SigLIP 2": "Apache-2.0",
    "PE-Core": "Apache-2.0",
    "CLIPA": "Apache-2.0",
}
"""Licences of open_clip's weights; those of timm's are in timm."""


def plans() -> str:
    """The paper's side network on today's towers."""
    record = _record("tower-plans")
    rows = [
        [
            f"`{row['model']}`",
            f"{row['tokens']}, {_prefix(row)}",
            str(row["shifted_token"]),
            format_count(row["frozen_parameters"]),
            f"{row['tower_multiply_adds'] / 1e9:.0f} G",
            f"{row['side_multiply_adds'] / 1e9:.1f} G",
            format_bytes(row["held_for_backward_gib"] * GIB),
            format_bytes(row["peak_memory_gib"] * GIB),
        ]
        for row in record["rows"]
    ]
    heads = ["model", "tokens of a frame", "shifted token", "frozen parameters", "multiply-adds of the tower"]
    heads += ["of the side network", "held for backward", "peak memory"]
    return (
        f"{_table(heads, rows)}\n\nOf a step with {record['clips']} clips of {record['frames']} frames of 224 pixels "
        "in bf16, planned by `python benchmarks/tower_plans.py`. No plan was compared with a GPU yet."
    )


def families() -> str:
    """Families, with models to begin with."""
    rows = []
    for family, (library, models) in FAMILIES.items():
        kind = "open-clip" if library == "open_clip" else "timm"
        rows.append(
            [
                family,
                f"`{kind}`",
                ", ".join(f"`{each}`" for each in models),
                _license(family, models),
                _texts(library, models),
                _size(kind, models),
            ]
        )
    return _table(
        ["family", "`backbone.kind`", "models to begin with", "licence", "texts", "patch, frame in pixels"], rows
    )


def counts() -> str:
    """How many models are taken and refused, and the largest difference from the libraries."""
    record = _record("towers")
    lines = []
    for name, library in (("timm", "timm"), ("open_clip", "open_clip")):
        found = record[library]
        lines.append(
            f"- **{name}**: {found['accepted']} models are taken, {len(found['refused'])} refused. Tokens and features "
            f"of all that are taken differ from the library's by at most {found['largest']:.0e} of the largest value."
        )
    return "\n".join(
        [*lines, "", "Measured by `python benchmarks/towers.py` with random weights and two or three blocks."]
    )


def refused() -> str:
    """Models that are refused, by reason."""
    parts = []
    for name, models in (("open_clip", open_clip_models.refused_models()), ("timm", timm_models.refused_models())):
        by_reason: Mapping[str, list[str]] = defaultdict(list)
        for model, reason in models.items():
            general = reason if "timm's" not in reason else "its image tower is timm's, and no plain vision transformer"
            by_reason[general].append(f"`{model}`")
        rows = [[reason, ", ".join(sorted(names))] for reason, names in by_reason.items()]
        parts.append(f"**{name}**\n\n{_table(['reason', 'models'], rows)}")
    without = [
        [f"`{model.name}`", model.without_texts.removeprefix("its ")]
        for model in open_clip_models.open_clip_models().values()
        if model.without_texts
    ]
    return "\n\n".join([*parts, "**Taken without texts**, so not for retrieval", _table(["model", "why"], without)])


def clip_towers() -> str:
    """Towers that read whole clips."""
    rows = []
    for row in _record("tower-plans")["clip_rows"]:
        model = clip_models.CLIP_MODELS[row["model"]]
        rows.append(
            [
                f"`{row['model']}`",
                ", ".join(f"`{tag}`" for tag in model.weights),
                model.license,
                f"{model.frames}" if model.frames else "even numbers",
                f"{row['tokens']:,} of {row['frames']} frames of {row['image_size']} pixels",
                format_count(row["frozen_parameters"]),
                f"{row['tower_multiply_adds'] / 1e9:.0f} G",
                format_bytes(row["peak_memory_gib"] * GIB),
            ]
        )
    heads = ["model", "`weights.tag`", "licence", "frames", "tokens of a clip", "frozen parameters", "multiply-adds"]
    return (
        f"{_table([*heads, 'peak memory'], rows)}\n\nPeak memory is of a step with 16 clips and an attentive probe in "
        "bf16, planned by `python benchmarks/tower_plans.py`. No plan was compared with a GPU yet."
    )


def frame_sizes() -> str:
    """Accuracy of one tower at two frame sizes, on real clips."""
    records = {pixels: _record(f"real-clips-fight-{pixels}") for pixels in (168, 224)}

    def measured(pixels: int, method: str) -> str:
        found = records[pixels]["results"][method]
        return f"{100 * found['mean']:.1f} ± {100 * found['deviation']:.1f}"

    rows = [[f"{pixels} pixels", measured(pixels, "side4video"), measured(pixels, "linear")] for pixels in records]
    table = _table(["frames", "side network, top-1 in %", "linear probe"], rows)
    seeds = len(records[168]["results"]["linear"]["values"])
    clips = round(records[168]["test_clips"])
    command = records[168]["command"]
    return (
        f"A ViT-S/14 of timm on 300 real clips (fight or no fight), with weights for 224 pixels:\n\n{table}\n\n"
        f"Mean and deviation over {seeds} seeds on {clips} test clips, of which one is {100 / clips:.1f} points. "
        f"Measured by `{command}`, and the same with 224."
    )


def _license(family: str, models: Sequence[str]) -> str:
    if family in LICENSES:
        return LICENSES[family]
    found = (next(iter(timm_models.timm_models()[each].weights.values())).license for each in models)
    return ", ".join(dict.fromkeys(each or "see its card" for each in found))


def _texts(library: str, models: Sequence[str]) -> str:
    if library == "timm":
        return "none"
    spec = OpenCLIPSpec(model=models[0], weights={"kind": "random"})  # type: ignore[arg-type]
    return f"{spec.most_words} tokens"


def _size(kind: str, models: Sequence[str]) -> str:
    shapes = []
    for name in models:
        if kind == "timm":
            shapes.append(timm_models.timm_models()[name].shape)
        else:
            shapes.append(OpenCLIPSpec(model=name, weights={"kind": "random"}).shape())  # type: ignore[arg-type]
    patches = " or ".join(str(each) for each in sorted({shape.patch_size for shape in shapes}))
    if kind == "timm":
        return f"{patches}; any multiple of it"
    return f"{patches}; " + " or ".join(str(each) for each in sorted({shape.image_size for shape in shapes}))


def _prefix(row: Mapping[str, Any]) -> str:
    return f"{row['prefix_tokens']} before the patches" if row["prefix_tokens"] else "patches alone"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _record(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


TABLES = {
    "tower-plans": plans,
    "clip-towers": clip_towers,
    "frame-sizes": frame_sizes,
    "tower-families": families,
    "tower-counts": counts,
    "tower-refused": refused,
}
"""By name, for `figures`."""
