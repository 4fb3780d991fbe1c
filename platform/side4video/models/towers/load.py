"""Fill a tower with weights: read them, check them against the tower name by name, take their fingerprint.

Nothing in a file is executed: safetensors and torch's weights-only reader hold tensors and no code.
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
"""Intermediate results of one block that a chunk of frames may need. Larger chunks are hardly faster: at ViT-B/16, 50
frames are ten thousand rows for each matrix product."""
WHERE = "backbone.weights"
"""Where in an experiment the weights are named."""


@dataclass(frozen=True)
class TowerWeights:
    """All tensors of a tower, read and checked."""

    tensors: Mapping[str, Tensor]
    """By the tower's names, on the CPU, in the precision of the tower."""
    fingerprint: str
    """Of the values in the file; see `fingerprint_of`."""


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
    """Freeze a trunk that was made on `meta`, with the weights that the spec names.

    Args:
        trunk: The transformer, without weights.
        shape: Its sizes.
        weights: Where the weights come from.
        model: open_clip's name of the model, for pretrained weights.
        precision: Of weights and tokens.
        chunk_frames: Frames that pass through a block at a time.
        kept_tokens: How tokens that are read are kept.
        device: `cpu`, `cuda`, `cuda:1` ... or `meta`, for which no weights are read.
        given: What `read_weights` read of the same weights; on a CPU the tower keeps these very tensors, which may lie
            in memory that several processes share.

    Raises:
        InputError: The weights are missing, unreadable, another tower's, or cannot be downloaded.
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
        keeps_eight_bits=kept_tokens == "8-bit",
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
    """Read a tower's weights, check them name by name, and take their fingerprint; arguments as of `load_tower`.

    Raises:
        InputError: The weights are missing, unreadable, another tower's, or cannot be downloaded.
    """
    state = _find_state(trunk, shape, weights, model=model)
    fingerprint = fingerprint_of(state)
    # One at a time, and copied: a tensor that still lay in the file would change, or vanish, with the file.
    own = {name: state.pop(name).to("cpu", PRECISIONS[precision], copy=True) for name in list(state)}
    return TowerWeights(own, fingerprint)


def _cast(visual: nn.Module, dtype: torch.dtype) -> None:
    """Give a module on `meta` the precisions that it has when it is filled: rotary positions stay fp32."""
    for name, buffer in [*visual.named_buffers()]:
        if name.endswith("k_bias"):
            visual.get_submodule(name.rpartition(".")[0])._buffers["k_bias"] = buffer.to(dtype)
    for parameter in visual.parameters():
        parameter.data = parameter.data.to(dtype)


def fingerprint_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and fp32 values, so that a file in half precision and its copy in fp32 agree."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _find_state(
    trunk: Trunk,
    shape: TowerShape,
    weights: PretrainedWeights | FileWeights | RandomWeights,
    *,
    model: str,
) -> dict[str, Tensor]:
    """Tensors for every parameter of the tower, by its names, on the CPU."""
    if isinstance(weights, RandomWeights):
        return draw_weights(trunk.visual, trunk.initial_std, seed=weights.seed, label="tower")
    where, path = find_file(weights, model=model)
    _log.info("reading the tower's weights from %s", path)
    return match(read_checkpoint(path, where=where), trunk, shape, where=f"{where} ({path.name})")


def find_file(weights: PretrainedWeights | FileWeights, *, model: str) -> tuple[str, Path]:
    """The field that names a file of weights, for errors, and the file: on this machine, or downloaded onto it.

    Raises:
        InputError: There is none, or it cannot be downloaded.
    """
    if isinstance(weights, PretrainedWeights):
        return f"{WHERE}.tag", download(model, weights.tag, where=f"{WHERE}.tag")
    return f"{WHERE}.path", weights.resolve(WHERE)


def draw_weights(
    module: nn.Module, initial_std: Callable[[str], float | None], *, seed: int, label: str
) -> dict[str, Tensor]:
    """Random weights. Each tensor has a generator of its own, so neither order nor the global state matters.

    Uniform and not normal: its numbers are the same bits on every machine, where vectorised logarithms are not.

    Args:
        module: Whose parameters; they may be on `meta`.
        initial_std: A parameter's standard deviation by its name; None for norms and biases (ones and zeros).
        seed: Of the document.
        label: What tells this module's draws from another's of the same seed.
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
