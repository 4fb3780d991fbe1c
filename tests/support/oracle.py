"""Small towers and clips on which a network is compared with a float64 statement of it, outputs and gradients."""

import pytest
import torch
from torch import Tensor, nn

from side4video.core.seeds import seeded
from side4video.models.backbones.vit import ViTSpec
from side4video.models.networks.contract import FrozenFeatures

odd_shapes = pytest.mark.parametrize(
    "shape",
    [{"frames": 1}, {"frames": 5, "batch": 1}, {"frames": 2, "size": 21, "patch": 7, "width": 40, "batch": 3}],
    ids=["one frame", "one clip", "odd sizes"],
)


def make_tower(*, size=12, patch=4, width=24, depth=3, quick=False, device="cpu", precision="fp32"):
    """A tower whose every tensor is away from the ones and zeros that hide mistakes."""
    tower = ViTSpec(
        image_size=size,
        patch_size=patch,
        width=width,
        layers=depth,
        head_width=8,
        quick_gelu=quick,
        weights={"kind": "random", "seed": 1},
        precision=precision,
    ).build(device)
    if device != "meta":
        perturb(tower, seed=2)
    return tower


def make_video(*, batch=2, frames=3, size=12):
    """Raw frames."""
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (batch, frames, 3, size, size), dtype=torch.uint8, generator=generator)


def perturb(module: nn.Module, *, seed: int, by: float = 0.1):
    """Move every parameter."""
    with seeded(seed), torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn_like(parameter))


def own_features(tower, video_BTCHW):
    """What a network that runs the tower itself is given."""
    return FrozenFeatures(video_BTCHW, tower.normalise, tower.shape)


def double(module: nn.Module, *, trains: bool) -> dict[str, Tensor]:
    """Float64 copies of a module's tensors; those of trained parameters ask for a gradient, where one is wanted."""
    state = {name: tensor.detach().double().clone() for name, tensor in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        state[name].requires_grad_(trains and parameter.requires_grad)
    return state


def assert_equal(found: Tensor, expected: Tensor, network: nn.Module, state: dict[str, Tensor]):
    """Features, and the gradient of every trained tensor for a loss that weighs features unequally."""
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    network.zero_grad()
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    assert difference(found, expected) < 2e-5
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained
    # What no gradient reaches has none here, and zeros in the statement, or the other way round.
    truth = {name: _or_zeros(state[name]) for name in trained}
    largest = max(float(gradient.abs().max()) for gradient in truth.values())
    assert largest > 0
    for name, parameter in trained.items():
        scale = max(float(truth[name].abs().max()), 0.01 * largest)
        assert float((_or_zeros(parameter).double() - truth[name]).abs().max()) < 2e-4 * scale, name


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, over the largest value."""
    return float((found.detach().double() - expected.detach()).abs().max() / expected.detach().abs().max())


def _or_zeros(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
