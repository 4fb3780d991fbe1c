"""Matrix products and perceptrons on any way through the package: values and gradients of the plain statement."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from side4video.core.seeds import seeded
from side4video.models.layers import mlp, product
from side4video.models.layers.folded import affine_linear, frozen_norm_linear
from side4video.models.layers.int8 import Int8Tokens
from side4video.models.layers.mlp import MLP
from side4video.models.layers.temporal import DepthwiseTemporalConvolution, temporal_linear

DTYPES = [torch.float32, torch.float64]


def draw(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def gradients(function, *inputs):
    """A function's value, and gradients of its inputs for a loss that weighs its numbers unequally."""
    inputs = [tensor.detach().clone(memory_format=torch.preserve_format).requires_grad_() for tensor in inputs]
    value = function(*inputs)
    weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
    return value.detach(), torch.autograd.grad((value * weights).sum(), inputs)


def assert_alike(found, expected, tolerance):
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max()))


def tolerance_of(dtype):
    return 1e-5 if dtype == torch.float32 else 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 3, 4)])
def test_linear_is_the_librarys(dtype, has_bias, leading):
    tensors = [draw(*leading, 6, dtype=dtype), draw(7, 6, dtype=dtype, seed=1)]
    if has_bias:
        tensors.append(draw(7, dtype=dtype, seed=2))
    assert_alike(gradients(product.linear, *tensors), gradients(F.linear, *tensors), tolerance_of(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_takes_tensors_that_are_not_contiguous(dtype):
    turned, weight = draw(6, 3, 5, dtype=dtype).permute(1, 2, 0), draw(6, 7, dtype=dtype, seed=1).t()
    assert not turned.is_contiguous()
    assert_alike(gradients(product.linear, turned, weight), gradients(F.linear, turned, weight), tolerance_of(dtype))


def test_linear_follows_autocast():
    x, weight = draw(3, 6), draw(7, 6, seed=1)
    assert product.linear(x, weight).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product.linear(x, weight).dtype == torch.bfloat16


def test_linear_keeps_what_the_library_keeps():
    """Not the input of a matrix that learns nothing."""
    weight, seen = draw(7, 6, seed=1), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: seen.append(tensor.shape), lambda tensor: tensor):
        product.linear(draw(3, 6).requires_grad_(), weight)
    assert [tuple(shape) for shape in seen] == [(7, 6)]


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16])
@pytest.mark.parametrize("has_bias", [True, False])
def test_product_is_a_matrix_product(dtype, has_bias):
    left, right = draw(5, 6, dtype=dtype), draw(6, 7, dtype=dtype, seed=1).t()
    bias = draw(7, dtype=dtype, seed=2) if has_bias else None
    tolerance = 0.05 if dtype == torch.bfloat16 else tolerance_of(dtype)
    expected = F.linear(left.double(), right.double(), None if bias is None else bias.double())
    found = product.product(left, right, bias)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_twin_that_forgets_the_bias():
    tensors = [draw(5, 6), draw(7, 6, seed=1), draw(7, seed=2)]

    def without_bias(x, weight, bias):
        return product.linear(x, weight) + (bias - bias.detach())

    with pytest.raises(AssertionError):
        assert_alike(gradients(without_bias, *tensors), gradients(F.linear, *tensors), 1e-5)


# ---- norms folded into the product behind them


def make_norm_and_layer(dtype, kind=nn.LayerNorm):
    with seeded(3):
        norm, layer = kind(6).to(dtype), nn.Linear(6, 9).to(dtype)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm, layer


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("has_norm", [True, False])
def test_affine_linear_is_gain_and_shift_and_then_the_layer(dtype, has_norm):
    norm, layer = make_norm_and_layer(dtype)
    norm = norm if has_norm else None

    def plain(x):
        return layer(x * norm.weight + norm.bias if norm is not None else x)

    parameters = [*layer.parameters(), *(norm.parameters() if norm is not None else ())]
    assert_same_gradients(lambda x: affine_linear(x, norm, layer), plain, draw(2, 3, 6, dtype=dtype), parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("has_norm", [True, False])
@pytest.mark.parametrize("in_eight_bits", [True, False])
def test_frozen_norm_linear_is_the_norm_and_then_the_layer(dtype, has_norm, in_eight_bits):
    norm, layer = make_norm_and_layer(dtype)
    norm = norm if has_norm else None
    tokens = draw(4, 3, 6, dtype=dtype)
    kept = Int8Tokens.quantize(tokens) if in_eight_bits else tokens
    read = kept.dequantize() if isinstance(kept, Int8Tokens) else tokens

    def plain(_):
        return layer(norm(read) if norm is not None else read)

    parameters = [*layer.parameters(), *(norm.parameters() if norm is not None else ())]
    assert_same_gradients(lambda _: frozen_norm_linear(kept, norm, layer), plain, None, parameters)


def assert_same_gradients(ours, theirs, x, parameters):
    """Of an input, where there is one, and of parameters."""
    results = []
    for function in (ours, theirs):
        entered = None if x is None else x.clone().requires_grad_()
        inputs = [*parameters] if entered is None else [entered, *parameters]
        value = function(entered)
        weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
        results.append((value.detach(), torch.autograd.grad((value * weights).sum(), inputs)))
    assert_alike(*results, tolerance_of(parameters[0].dtype))


def test_twin_whose_shift_is_not_folded():
    norm, layer = make_norm_and_layer(torch.float64)
    x = draw(2, 3, 6, dtype=torch.float64)
    without_shift = F.linear(x, layer.weight * norm.weight, layer.bias)
    assert not torch.allclose(without_shift, layer(x * norm.weight + norm.bias))


# ---- the perceptron in parts of its rows


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("saves_hidden", [True, False])
@pytest.mark.parametrize("part_bytes", [1, 1000, 32 * 2**20])
def test_a_perceptron_in_parts_is_the_plain_one(dtype, saves_hidden, part_bytes, monkeypatch):
    monkeypatch.setattr(mlp, "CHUNK_BYTES", part_bytes)
    with seeded(1):
        layer = MLP(6, ratio=4).to(dtype)
    norm, _ = make_norm_and_layer(dtype)

    def plain(x):
        return layer.leave(F.gelu(layer.enter(x * norm.weight + norm.bias)))

    assert_same_gradients(
        lambda x: layer(x, norm, saves_hidden=saves_hidden),
        plain,
        draw(2, 3, 5, 6, dtype=dtype),
        [*layer.parameters(), *norm.parameters()],
    )


def test_the_parts_cover_all_rows_once():
    parts = list(mlp.row_chunks(torch.zeros(30, 6), 24, chunk_bytes=1000))
    assert len(parts) == 3
    assert [row for part in parts for row in range(30)[part]] == list(range(30))


# ---- the convolution over time and the layer behind it


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_temporal_linear_is_the_convolution_and_then_the_layer(dtype, frames):
    with seeded(2):
        convolution, layer = DepthwiseTemporalConvolution(6).to(dtype), nn.Linear(6, 4).to(dtype)
    assert_same_gradients(
        lambda x: temporal_linear(x, convolution, layer),
        lambda x: layer(convolution(x)),
        draw(2, frames, 3, 6, dtype=dtype),
        [*convolution.parameters(), *layer.parameters()],
    )


def test_temporal_linear_passes_gradcheck():
    with seeded(2):
        convolution, layer = DepthwiseTemporalConvolution(3).double(), nn.Linear(3, 2).double()
    tokens = draw(1, 4, 2, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: temporal_linear(x, convolution, layer), (tokens, *layer.parameters()))


def test_twin_that_mixes_the_wrong_way_in_time(monkeypatch):
    with seeded(2):
        convolution, layer = DepthwiseTemporalConvolution(6), nn.Linear(6, 4)
    x = draw(2, 5, 3, 6)
    expected = layer(convolution(x))
    with torch.no_grad():
        convolution.weight_3D.copy_(convolution.weight_3D.flip(0))
    assert not torch.allclose(temporal_linear(x, convolution, layer), expected, atol=1e-3)
