"""Tokens in eight bits: how far a restored number is from what it was."""

import pytest
import torch

from side4video.models.layers.int8 import Int8Tokens


def make_tokens(*shape, dtype=torch.float32, scale=1.0):
    return (scale * torch.randn(*shape, generator=torch.Generator().manual_seed(1))).to(dtype)


def with_outliers(tokens):
    """A few channels tens of times larger than the rest, as CLIP's towers have them."""
    tokens = tokens.clone()
    tokens[..., [3, 70]] *= 60
    return tokens


def largest_of_group(tokens, group):
    return tokens.unflatten(-1, (-1, group)).abs().amax(-1, keepdim=True).expand(*tokens.shape[:-1], -1, group)


def error_bound(tokens, group, dtype):
    """Half a step of 1/127 of the group's largest, and the rounding of the scale and of the product."""
    half_a_step = largest_of_group(tokens, group) / 254
    rounding = largest_of_group(tokens, group) * 2 * torch.finfo(dtype).eps
    return (half_a_step + rounding).flatten(-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [lambda tokens: tokens, with_outliers], ids=["even", "outliers"])
def test_the_error_is_at_most_half_a_step_of_the_group(make, dtype):
    tokens = make(make_tokens(5, 7, 96)).to(dtype)
    restored = Int8Tokens.quantize(tokens).dequantize()
    assert restored.dtype == dtype
    error = (restored.float() - tokens.float()).abs()
    assert (error <= error_bound(tokens.float(), 32, dtype)).all()
    assert error.max() > 0


@pytest.mark.parametrize(("width", "group"), [(32, 32), (96, 32), (40, 20), (49, 7), (31, 31), (37, 1), (24, 24)])
def test_widths_that_thirty_two_does_not_divide(width, group):
    tokens = make_tokens(2, 3, width)
    kept = Int8Tokens.quantize(tokens)
    assert kept.codes_NPD.shape == (2, 3, width)
    assert kept.codes_NPD.dtype == torch.int8
    assert kept.scales_NPG.shape == (2, 3, width // group)
    assert ((kept.dequantize() - tokens).abs() <= error_bound(tokens, group, torch.float32)).all()


def test_zeros_come_back_as_zeros():
    tokens = make_tokens(2, 3, 64)
    tokens[0, :, :32] = 0
    restored = Int8Tokens.quantize(tokens).dequantize()
    assert torch.equal(restored[0, :, :32], torch.zeros(3, 32))
    assert torch.isfinite(restored).all()


def test_the_largest_of_a_group_keeps_its_sign_and_comes_back():
    tokens = torch.zeros(1, 1, 32)
    tokens[0, 0, 5] = -3.0
    kept = Int8Tokens.quantize(tokens)
    assert int(kept.codes_NPD[0, 0, 5]) == -127
    assert float(kept.dequantize()[0, 0, 5]) == pytest.approx(-3.0, rel=1e-6)


def test_they_take_eight_and_a_half_bits_a_number():
    kept = Int8Tokens.quantize(make_tokens(4, 5, 64, dtype=torch.bfloat16))
    assert kept.codes_NPD.nbytes + kept.scales_NPG.nbytes == 4 * 5 * 64 * 8.5 / 8


def test_twin_with_one_scale_a_token():
    """Beside a large channel, the others of the token are rounded away."""
    tokens = with_outliers(make_tokens(5, 7, 96))

    def typical_error(**options):
        return float((Int8Tokens.quantize(tokens, **options).dequantize() - tokens).abs().median())

    assert typical_error(group=96) > 1.3 * typical_error()
