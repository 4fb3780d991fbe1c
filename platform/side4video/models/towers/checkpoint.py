"""Read a file of weights, and match its tensors with a tower's by name.

Supported layouts: open_clip and OpenAI (`visual.conv1.weight`), open_clip's towers from timm (`visual.trunk.*`),
EVA-CLIP's release (`visual.blocks.*`); each also without `visual.`, under any outer module (`module.`, `_orig_mod.`,
`model.`, `clip.`, `backbone.`), or inside a training loop's dictionary. Tensors that are missing, unexpected or of
another shape are an error.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from side4video.core.bounded_files import check_weights_file
from side4video.core.errors import InputError
from side4video.models.backbones.shape import TowerShape
from side4video.models.backbones.weights import weights_format
from side4video.models.towers.torchscript import is_torchscript, read_torchscript
from side4video.models.towers.trunk import Trunk

_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module")
"""Keys of the weights in files of training loops."""
_OUTER_MODULES = ("module.", "model.", "backbone.", "clip.", "clip_model.", "image_encoder.")
"""Modules that training loops put a tower in: DataParallel, Lightning, a classifier's own."""
_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Modules that torch puts around others: `torch.compile`, FSDP, recomputation."""
_TOWER_MARKS = {
    "conv1.weight": ("positional_embedding",),
    "patch_embed.proj.weight": ("pos_embed",),
}
"""The first tensor of an image tower, and others beside it: of CLIP, and of EVA-CLIP."""
_OPENAI_MARKS = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Numbers that only OpenAI's files contain, as tensors."""


def read_checkpoint(path: Path, *, where: str, beside: Sequence[str] = ()) -> dict[str, Tensor]:
    """Every tensor of a file by name, on the CPU. The content decides the file's type, not its name.

    `where` is the field of the file, for errors. `beside` are keys of further states in the file, beside that of the
    weights; their tensors' names get the key and a dot in front.

    Raises:
        InputError: It is not a file of weights, is damaged, or would run code when it is read.
    """
    try:
        content = _read(path)
    except Exception as error:  # safetensors, zipfile, pickle and torch raise different types
        reason = " ".join(str(error).split()) or type(error).__name__
        if "eights only load failed" in reason or "weights_only" in reason:
            raise InputError(
                where,
                f"{path} holds more than tensors, and reading it would run code from it",
                allowed="safetensors, or a torch file of tensors alone",
                fix="if you trust it, save its tensors alone first: torch.save(torch.load(path, "
                "weights_only=False)['state_dict'], new_path)",
            ) from error
        raise InputError(where, f"{path} cannot be read ({reason[:160]})", fix="download it again") from error
    further = {key: content[key] for key in beside if isinstance(content, Mapping) and key in content}
    return _unwrap(content, path, where) | {
        f"{key}.{name}": tensor
        for key, state in further.items()
        if isinstance(state, Mapping)
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    }


def _read(path: Path) -> object:
    check_weights_file(path)
    found = weights_format(path)
    if found == "safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if found == "torch" and is_torchscript(path):
        return read_torchscript(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the file's format, which an error describes
        return torch.load(path, map_location="cpu", weights_only=True, mmap=found == "torch")


def _unwrap(content: object, path: Path, where: str) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        held = f"a {type(content).__name__}"
        raise InputError(where, f"{path} holds no tensors by name but {held}", allowed="a dictionary of tensors")
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            return _unwrap(content[key], path, where)
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        held = few_names([str(key) for key in content]) or "nothing"
        raise InputError(where, f"{path} holds no tensors by name but {held}", allowed="a dictionary of tensors")
    return tensors


def match(state: Mapping[str, Tensor], trunk: Trunk, shape: TowerShape, *, where: str) -> dict[str, Tensor]:
    """The image tower's tensors of a file, under the tower's names.

    `trunk` is on `meta`; `where` is the field and the file, for errors.

    Raises:
        InputError: They are not exactly those of the tower, or have values that are not finite.
    """
    state = _without_prefix(state)
    if not shape.quick_gelu and state.keys() >= _OPENAI_MARKS:
        raise InputError(
            where,
            "these are OpenAI's weights, trained with QuickGELU, and the tower computes GELU",
            fix="use the model whose name ends in -quickgelu (or quick_gelu: true)",
        )
    visual = {name.removeprefix("visual."): tensor for name, tensor in state.items() if name.startswith("visual.")}
    given = visual or dict(state)
    expected = {name: tensor.shape for name, tensor in trunk.visual.state_dict().items()}
    try:
        found = trunk.rename(given)
        faults = _errors(found, expected)
    except (RuntimeError, ValueError, LookupError, AssertionError) as error:
        # A library that converts or resizes tensors expects those of its own model.
        found, reason = given, " ".join(str(error).split())[:120] or type(error).__name__
        faults = [f"its tensors cannot be converted ({reason})", *_errors(found, expected)]
    if faults:
        tower = f"{shape.depth} blocks of width {shape.width}, patch {shape.patch_size}, {shape.image_size} px"
        raise InputError(
            where,
            f"the file does not fit the tower: {'; '.join(faults)}{_describe_file(state, given, expected)}",
            allowed=f"exactly the tensors of {tower}, projected to {shape.output_dim}",
            fix="name the model, or the sizes, that the file is of",
        )
    _check_values(found, where)
    return {name: found[name] for name in expected}


def match_text(
    state: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]], *, where: str
) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
    """The text tower's tensors of a file, under open_clip's names, the logit scale, and SigLIP's logit bias.

    The text tower's tensors are beside `visual.`, or under `text.`; `expected` has the tower's names and shapes.
    `where` is the field and the file, for errors.

    Raises:
        InputError: They are not those of the tower, or have values that are not finite.
    """
    state = _without_prefix(state)
    under = {name.removeprefix("text."): tensor for name, tensor in state.items() if name.startswith("text.")}
    found = {name: tensor for name, tensor in (under or state).items() if name in expected}
    if not found or "logit_scale" not in state:
        part = "text tower" if not found else "logit_scale"
        raise InputError(
            where,
            f"the file holds no {part}, and texts are to be read",
            allowed="a file of a whole CLIP, image tower and text tower",
            fix="name such a file; a classifier that needs no texts is task.classifier: {kind: linear}",
        )
    if faults := _errors(found, expected):
        raise InputError(
            where,
            f"the file does not fit the text tower: {'; '.join(faults)}",
            allowed="the text tower of the same model",
            fix="name the model that the file is of",
        )
    scalars = {name: state[name] for name in ("logit_scale", "logit_bias") if name in state}
    _check_values(found | scalars, where)
    own = {name: found[name] for name in expected}
    return own, scalars["logit_scale"].reshape(()), scalars.get("logit_bias")


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the names of modules that torch puts around others, such as `_orig_mod.`."""
    return {_WRAPPED.sub("", name): tensor for name, tensor in state.items()}


def match_part(state: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]], *, where: str) -> dict[str, Tensor]:
    """The tensors of a file that a part of a model has, under the file's names; others are left out.

    `expected` has names and shapes. `where` is the field and the file, for errors.

    Raises:
        InputError: Some are missing or of another shape, or have values that are not finite.
    """
    plain = _without_prefix(state)
    found = {name: plain[name] for name in expected if name in plain}
    if faults := _errors(found, expected):
        raise InputError(
            where,
            f"the file does not fit the text encoder: {'; '.join(faults)}",
            allowed="a file of the whole model",
            fix="name the model, or the sizes, that the file is of",
        )
    _check_values(found, where)
    return found


def _without_prefix(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors without the names of the modules that a training loop put the tower in, such as `module.clip.`.

    Tensors outside of that module, such as a head's, are left out. A file of several towers, such as a student and its
    teacher, stays as it is.
    """
    plain = without_wrappers(state)
    outer = {
        name.removesuffix(first)
        for name in plain
        for first, others in _TOWER_MARKS.items()
        if name.endswith(first) and all(name.removesuffix(first) + other in plain for other in others)
    }
    # The part of a CLIP file is `visual.`; the text tower is beside it.
    outer = {prefix.removesuffix("trunk.").removesuffix("visual.") for prefix in outer}
    if not outer:  # a tower of another kind: its tensors are all in one module, or the file says what they are
        outer = {prefix for prefix in _OUTER_MODULES if all(name.startswith(prefix) for name in plain)}
        if outer:
            (prefix,) = outer
            return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in plain.items()})
    if len(outer) != 1:
        return plain
    (prefix,) = outer
    return {name.removeprefix(prefix): tensor for name, tensor in plain.items() if name.startswith(prefix)}


def _check_values(found: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in found.items():
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            what = "is not finite everywhere" if tensor.is_floating_point() else f"is of type {tensor.dtype}"
            raise InputError(where, f"the tensor {name} {what}", allowed="finite floats", fix="download it again")


def _errors(found: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]]) -> list[str]:
    faults = []
    if missing := [name for name in expected if name not in found]:
        faults.append(f"{len(missing)} of {len(expected)} tensors are missing ({few_names(missing)})")
    if unexpected := [name for name in found if name not in expected]:
        faults.append(f"{len(unexpected)} are not the tower's ({few_names(unexpected)})")
    if other := [name for name, size in expected.items() if name in found and found[name].shape != size]:
        shapes = [f"{name} is {list(found[name].shape)}, not {list(expected[name])}" for name in other]
        faults.append(f"{len(other)} have another shape ({few_names(shapes)})")
    return faults


def _describe_file(state: Mapping[str, Tensor], given: Mapping[str, Tensor], expected: Mapping[str, object]) -> str:
    """A description of the layout and sizes of a file, and of its image tower, if it has known ones."""
    given = {name.removeprefix("trunk."): tensor for name, tensor in given.items()}
    is_expected = any(name.startswith("vision_model.") for name in expected)
    if not is_expected and any("vision_model." in name for name in state):
        return "; it is in the layout of Hugging Face transformers: take open_clip's file of the same model"
    blocks = {name.split(".")[-3] for name in given if name.endswith(".ln_1.weight")}
    blocks |= {name.split(".")[1] for name in given if name.startswith("blocks.")}
    patches = next((given[name] for name in ("conv1.weight", "patch_embed.proj.weight") if name in given), None)
    if patches is None or patches.ndim != 4 or not blocks:
        return ""
    family = "an EVA" if "patch_embed.proj.weight" in given else "a CLIP"
    return f"; it holds {family} tower of {len(blocks)} blocks of width {patches.shape[0]}, patch {patches.shape[-1]}"


def few_names(names: Sequence[str], count: int = 3) -> str:
    """The first names of a list, for errors."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
