"""Optimizer, learning rate and weight average of one student."""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from side4video.engine.optimizer_spec import MovingAverage, OptimizerSpec


def build_optimizer(module: nn.Module, spec: OptimizerSpec) -> torch.optim.AdamW:
    """AdamW over what `module` trains, in groups.

    They differ by weight decay, by batch norm, by the part named `head`, by the parts that say `is_pretrained`, and,
    with `layer_decay`, by the depths that a part's `layer_depths` returns.
    Each group carries `scale`, the factor of the common learning rate that it learns at.
    """
    norms = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
        for parameter in part.parameters(recurse=False)
    }
    pretrained = {
        id(parameter)
        for part in module.modules()
        if getattr(part, "is_pretrained", False)
        for parameter in part.parameters()
    }
    depths = _layer_depths(module) if spec.layer_decay != 1.0 else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = {
            "all": True,
            "matrices": parameter.ndim >= 2,
            "all-but-biases": not name.endswith("bias") and "bias_" not in name.rpartition(".")[2],
        }[spec.weight_decay_on]
        over = spec.batch_norm_learning_rate == "over-accumulation" and id(parameter) in norms
        scale = (1.0 / spec.accumulation if over else 1.0) * (
            spec.head_learning_rate_factor if name.startswith("head.") else 1.0
        )
        scale *= spec.pretrained_learning_rate_factor if id(parameter) in pretrained else 1.0
        scale *= spec.layer_decay ** depths.get(id(parameter), 0)
        key = (spec.weight_decay if decays else 0.0, scale)
        groups.setdefault(key, []).append(parameter)
    # A method that trains nothing (zero-shot) has one group without members.
    named = groups or {(0.0, 1.0): []}
    return torch.optim.AdamW(
        [{"params": members, "weight_decay": decay, "scale": scale} for (decay, scale), members in named.items()],
        lr=spec.learning_rate,
        betas=spec.betas,
        eps=spec.epsilon,
    )


def _layer_depths(module: nn.Module) -> dict[int, int]:
    """Layers above each parameter, by its `id`, of the parts that say so; 0 for all others."""
    found: dict[int, int] = {}
    for part in module.modules():
        if (layer_depths := getattr(part, "layer_depths", None)) is not None:
            found |= layer_depths()
    return found


def learning_rate_at(step: int, spec: OptimizerSpec, *, steps: int, steps_per_epoch: int) -> float:
    """The common learning rate of optimizer step `step` (0-based) of `steps`.

    Linear from zero over the warm-up, reaching the peak with its last step, then half a cosine.
    """
    warmup = spec.warmup_steps(steps, steps_per_epoch)
    position = step + 1.0
    if spec.learning_rate_updates == "authors":
        in_epoch = step % steps_per_epoch
        position = float(step - in_epoch + in_epoch // 10 * 10)
    if warmup and position <= warmup:
        return spec.learning_rate * position / warmup
    progress = min(1.0, (position - warmup) / max(1, steps - warmup))
    floor = spec.final_learning_rate_fraction
    return spec.learning_rate * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the common learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def clip_gradients(parameters: Iterable[nn.Parameter], spec: OptimizerSpec) -> torch.Tensor | None:
    """Scale gradients down as the spec says; the norm before it, or None where nothing is clipped."""
    if spec.clipping.kind == "none":
        return None
    return nn.utils.clip_grad_norm_(parameters, spec.clipping.value)


def build_average(module: nn.Module, spec: OptimizerSpec) -> AveragedModel | None:
    """A moving average of the module's weights and statistics, or None."""
    if not isinstance(spec.average, MovingAverage):
        return None
    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(spec.average.decay), use_buffers=True)
