"""Load the weights of a tower: read them, compare names and shapes with the tower's, compute their fingerprint.

No code from a file runs: files are read by safetensors and by torch's weights-only reader.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from side4video.core.seeds import derive_seed
from side4video.models.backbones.shape import TowerShape
from side4video.models.backbones.weights import FileWeights, PretrainedWeights, RandomWeights
from side4video.models.towers.checkpoint import match, read_checkpoint
from side4video.models.towers.download import download
from side4video.models.towers.frozen_tower import PRECISIONS, FrozenTower
from side4video.models.towers.trunk import Trunk

_log = logging.getLogger(__name__)
CHUNK_BYTES = 192 * 2**20
"""Limit of one block's intermediate results for a chunk of frames. Larger chunks are hardly faster: for ViT-B/16, 50
frames are ten thousand rows of each matrix product."""
WHERE = "backbone.weights"
"""The field of the weights in an experiment."""


@dataclass(frozen=True)
class TowerWeights:
    """All tensors of a tower, read and checked."""

    tensors: Mapping[str, Tensor]
    """By the tower's names, on the CPU, in the tower's precision."""
    fingerprint: str
    """`fingerprint_of` the values in the file."""


def load_tower(
    trunk: Trunk,
    shape: TowerShape,
    *,
    weights: PretrainedWeights | FileWeights | RandomWeights,
    model: str = "",
    precision: Literal["fp32", "bf16", "8-bit"],
    chunk_frames: int | Literal["auto", "all"],
    kept_tokens: Literal["own-precision", "8-bit"] = "own-precision",
    device: str,
    given: TowerWeights | None = None,
) -> FrozenTower:
    """A frozen tower from a trunk on `meta` and the weights of the spec.

    `model` is open_clip's name, for pretrained weights. `kept_tokens` says how tokens that are read are stored.
    `device` is `cpu`, `cuda`, `cuda:1` ... or `meta`, for which no weights are read. `given` are the same weights from
    `read_weights`; on a CPU the tower uses these tensors without a copy, and they may be in shared memory.

    Raises:
        InputError: The weights are missing, unreadable, those of another tower, or cannot be downloaded.
    """
    dtype = PRECISIONS[precision]
    fingerprint = ""
    if device == "meta":
        _cast(trunk.visual, dtype)
    else:
        found = given or read_weights(trunk, shape, weights, model=model, precision=precision)
        fingerprint = found.fingerprint
        own = {name: tensor.to(device) for name, tensor in found.tensors.items()}
        trunk.visual.load_state_dict(own, strict=True, assign=True)
        trunk.rebuild_buffers(dtype)
        trunk.visual.to(device)
    if chunk_frames == "auto":
        chunk_frames = shape.frames_in(CHUNK_BYTES, bytes_of_number=dtype.itemsize)
    return FrozenTower(
        trunk,
        shape,
        precision=precision,
        chunk_frames=chunk_frames,
        keeps_int8=kept_tokens == "8-bit",
        fingerprint=fingerprint,
    )


def read_weights(
    trunk: Trunk,
    shape: TowerShape,
    weights: PretrainedWeights | FileWeights | RandomWeights,
    *,
    model: str = "",
    precision: Literal["fp32", "bf16", "8-bit"],
) -> TowerWeights:
    """Read a tower's weights, check them, and compute their fingerprint; arguments as in `load_tower`.

    Raises:
        InputError: The weights are missing, unreadable, those of another tower, or cannot be downloaded.
    """
    if isinstance(weights, RandomWeights):
        state = random_weights(trunk.visual, trunk.initial_std, seed=weights.seed, label="tower")
    else:
        where, path = find_file(weights, model=model)
        _log.info("reading the tower's weights from %s", path)
        state = match(read_checkpoint(path, where=where), trunk, shape, where=f"{where} ({path.name})")
    fingerprint = fingerprint_of(state)
    # Copied one at a time: a memory-mapped tensor would change with the file.
    own = {name: state.pop(name).to("cpu", PRECISIONS[precision], copy=True) for name in list(state)}
    return TowerWeights(own, fingerprint)


def _cast(visual: nn.Module, dtype: torch.dtype) -> None:
    """Set the data types of a module on `meta` to those after loading: rotary positions stay fp32."""
    for name, buffer in [*visual.named_buffers()]:
        if name.endswith("k_bias"):
            visual.get_submodule(name.rpartition(".")[0])._buffers["k_bias"] = buffer.to(dtype)
    for parameter in visual.parameters():
        parameter.data = parameter.data.to(dtype)


def fingerprint_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and fp32 values: equal for a file in half precision and its copy in fp32."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def find_file(weights: PretrainedWeights | FileWeights, *, model: str) -> tuple[str, Path]:
    """The field of a file of weights, for errors, and the file, downloaded if necessary.

    Raises:
        InputError: There is no such file, or it cannot be downloaded.
    """
    if isinstance(weights, PretrainedWeights):
        return f"{WHERE}.tag", download(model, weights.tag, where=f"{WHERE}.tag")
    return f"{WHERE}.path", weights.resolve(WHERE)


def random_weights(
    module: nn.Module, initial_std: Callable[[str], float | None], *, seed: int, label: str
) -> dict[str, Tensor]:
    """Random weights. Each tensor has its own generator, so neither their order nor the global state matters.

    Uniform, not normal: uniform numbers are the same bits on every machine; normal ones use vectorised logarithms,
    which are not. The parameters of `module` may be on `meta`. `initial_std` is a parameter's standard deviation by its
    name; None for norms and biases (ones and zeros). `label` makes the numbers of two modules with the same seed
    different.
    """
    state: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        std = initial_std(name)
        if std is None:
            state[name] = torch.full(parameter.shape, 0.0 if name.endswith("bias") else 1.0)
        else:
            generator = torch.Generator().manual_seed(derive_seed(label, seed, name))
            uniform = torch.rand(parameter.shape, generator=generator)
            state[name] = uniform.sub_(0.5).mul_(std * 12**0.5)
    return state
