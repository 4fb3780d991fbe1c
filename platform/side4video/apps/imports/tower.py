"""The frozen tower of an imported model: of the checkpoint, of a file of CLIP, or pretrained weights of open_clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from side4video.apps.imports.formats.clip import clip_backbone
from side4video.apps.imports.pairs import Reading
from side4video.apps.imports.tensors import changed_tensors, shapes_of
from side4video.core.errors import InputError
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.towers.checkpoint import match, read_checkpoint, without_wrappers
from side4video.models.towers.frozen_tower import PRECISIONS
from side4video.models.towers.load import TowerWeights, fingerprint_of
from side4video.spec.experiment import Experiment

OPTION = "--tower"
_MARK = "conv1.weight"


@dataclass(frozen=True)
class GivenTower:
    """A tower from elsewhere; nothing where none is given."""

    backbone: Mapping[str, Any] = field(default_factory=dict)
    """The section of the document."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """By CLIP's names."""
    text: Mapping[str, Any] = field(default_factory=dict)
    """The section `text` of a backbone; empty where there is no text tower of CLIP's form."""
    file: Path | None = None
    """The file that holds it."""


def given_tower(text: str) -> GivenTower:
    """The tower that the option names: a file of CLIP's weights, or `MODEL/TAG` of open_clip; nothing for no text.

    Raises:
        InputError: There is neither, or the file holds no image tower of CLIP.
    """
    if not text:
        return GivenTower()
    if not Path(text).is_file():
        return _pretrained(text)
    state = without_wrappers(read_checkpoint(Path(text), where=OPTION))
    prefixes = {name.removesuffix(_MARK) for name in state if name.endswith(_MARK)}
    if len(prefixes) != 1:
        found = f"{text} holds {len(prefixes) or 'no'} image tower{'s' * (len(prefixes) > 1)} of CLIP"
        raise InputError(OPTION, found, allowed="one, in OpenAI's or open_clip's layout", fix="name another file")
    (prefix,) = prefixes
    tensors = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    shapes, beside = shapes_of(state, where=OPTION), prefix.removesuffix("visual.")
    has_text = f"{beside}ln_final.weight" in shapes and f"{beside}token_embedding.weight" in shapes
    section = clip_backbone(shapes, prefix, text=beside if has_text else None)
    text_section = section.pop("text", {})
    names = ("conv1.", "class_", "positional_", "ln_p", "transformer.", "proj") if not prefix else ("",)
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(names)}
    return GivenTower(section, own, text_section, Path(text))


def _pretrained(text: str) -> GivenTower:
    model, _, tag = text.rpartition("/")
    allowed = "a file of CLIP's weights, or MODEL/TAG of open_clip, such as ViT-B-16-quickgelu/openai"
    if not model:
        raise InputError(OPTION, f"{text}: no such file", allowed=allowed, fix="correct the path")
    section = {
        "kind": "open-clip",
        "model": model,
        "weights": {"kind": "pretrained", "tag": tag},
        "precision": "fp32",
    }
    try:
        spec = OpenCLIPSpec.model_validate(section)
    except ValueError as error:
        found = f"{text} is neither a file nor weights of open_clip"
        raise InputError(OPTION, found, allowed=allowed, fix="correct it; docs/towers.md lists models") from error
    return GivenTower(section, spec.read_weights().tensors, _text_section(spec))


def _text_section(spec: OpenCLIPSpec) -> dict[str, Any]:
    """The text tower of a model of open_clip, if it has CLIP's form."""
    sizes = {} if spec.without_texts else spec.text_config()["text_cfg"]
    if sizes.keys() - {"context_length", "vocab_size", "width", "heads", "layers"} or not sizes:
        return {}
    head_width = sizes["width"] // sizes["heads"]
    return {
        "kind": "transformer",
        "width": sizes["width"],
        "layers": sizes["layers"],
        "head_width": head_width,
        "words": sizes["context_length"],
    }


def tower_tensors(
    state: Mapping[str, Tensor], reading: Reading, given: GivenTower, *, width: int, output_dim: int
) -> tuple[dict[str, Tensor], list[str]]:
    """The tower's tensors by the library's names, and which of them are made up because the method does not use them.

    Those that the checkpoint does not have are of the tower from elsewhere.

    Raises:
        InputError: There is a tower in the checkpoint and one from elsewhere, and nothing to take from the latter.
    """
    found = {ours: state[theirs] for ours, theirs in reading.tower.items() if theirs in state}
    found |= changed_tensors(state, reading.tower_pairs)
    absent = [name for name in (*reading.tower, *reading.unused) if name not in found]
    if not reading.tower and not reading.tower_pairs:
        absent = list(given.tensors)
    if given.tensors and not absent:
        raise InputError(OPTION, "the checkpoint holds its own tower, whole", allowed="none", fix="leave it out")
    found |= {name: given.tensors[name] for name in absent if name in given.tensors}
    made_up = {
        "ln_post.weight": torch.ones(width),
        "ln_post.bias": torch.zeros(width),
        "proj": torch.zeros(width, output_dim),
    }
    left = [name for name in reading.unused if name not in found]
    return {**found, **{name: made_up[name] for name in left}}, left


def matched_tower(tensors: Mapping[str, Tensor], spec: Experiment) -> TowerWeights:
    """The tower's weights, checked against the document's tower, in its precision.

    Raises:
        InputError: They are not exactly those of the tower.
    """
    backbone = spec.backbone
    matched = match(
        {name: tensor.float() for name, tensor in tensors.items()}, backbone.build_trunk(), spec.tower, where="FILE"
    )
    precision = PRECISIONS[backbone.precision]
    own = {name: tensor.to(precision, copy=True).contiguous() for name, tensor in matched.items()}
    return TowerWeights(own, fingerprint_of(matched))
