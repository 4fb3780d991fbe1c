"""Read a file of weights, whoever wrote it, and match it with a tower name by name.

Known layouts: open_clip and OpenAI (`visual.conv1.weight`), open_clip's towers from timm (`visual.trunk.*`), EVA-CLIP's
own release (`visual.blocks.*`), each of them also without `visual.`, under `module.`, or wrapped in a dictionary by a
training loop. Nothing is guessed: a tensor that is missing, left over or of another shape is an error.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from side4video.core.errors import InputError
from side4video.models.backbones.shape import TowerShape
from side4video.models.towers.trunk import Trunk

_WRAPPERS = ("state_dict", "model", "module", "model_state_dict")
"""Keys under which training loops keep the weights."""


def read_checkpoint(path: Path, where: str) -> dict[str, Tensor]:
    """Every tensor of a file, by name, on the CPU; the file's kind is told by its content.

    Raises:
        InputError: It is no file of weights, is damaged, or holds code.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if len(head) < 9:
            raise InputError(where, f"{path} has only {len(head)} bytes", fix="download it again")
        if head[8:9] == b"{":
            from safetensors.torch import load_file

            return load_file(path)
        if zipfile.is_zipfile(path) or head[:1] == b"\x80":
            return _unwrap(torch.load(path, map_location="cpu", weights_only=True, mmap=None), path, where)
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(where, f"{path} cannot be read ({reason})", fix="download it again") from error
    raise InputError(where, f"{path} is no file of weights", allowed="safetensors, or a torch file of tensors")


def _unwrap(content: object, path: Path, where: str) -> dict[str, Tensor]:
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise InputError(where, f"{path} holds a {type(content).__name__}", allowed="a dictionary of tensors")
    return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def match(state: Mapping[str, Tensor], trunk: Trunk, shape: TowerShape, *, where: str) -> dict[str, Tensor]:
    """The image tower's tensors out of a file's, under the tower's names.

    Raises:
        InputError: They are not exactly those of the tower.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    visual = {name.removeprefix("visual."): tensor for name, tensor in state.items() if name.startswith("visual.")}
    found = trunk.rename(visual or state)
    expected = trunk.visual.state_dict()
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    misshaped = [name for name in expected if name in found and found[name].shape != expected[name].shape]
    if missing or unexpected or misshaped:
        raise InputError(where, f"not this tower: {missing[:3]} {unexpected[:3]} {misshaped[:3]}")
    return {name: found[name] for name in expected}
