"""Towers whose matrices are held in eight bits: half the bytes, nearly the same tokens, the same fingerprint."""

import torch

from side4video.models.layers.int8 import Int8Matrix


def bytes_of(tower):
    return sum(tensor.nbytes for tensor in (*tower.trunk.visual.parameters(), *tower.trunk.visual.buffers()))


def bytes_of_matrices(tower):
    return sum(
        parameter.nbytes
        for name, parameter in tower.trunk.visual.named_parameters()
        if "blocks." in name and parameter.ndim == 2
    )


def distance(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def test_the_matrices_take_half_the_bytes(family, build):
    half, eight = build(family, precision="bf16"), build(family, precision="8-bit")
    matrices = bytes_of_matrices(half)
    assert matrices > 0.5 * bytes_of(half)
    saved = bytes_of(half) - bytes_of(eight)
    # One byte of two, less a bf16 scale for each row of 32 or more.
    assert 0.9 * matrices / 2 < saved < matrices / 2


def distance_from_bf16(family, build, frames_NCHW):
    half = build(family, precision="bf16")(frames_NCHW, [3])[3]
    eight = build(family, precision="8-bit")(frames_NCHW, [3])[3]
    assert eight.dtype == torch.bfloat16
    assert not torch.equal(eight, half)
    return distance(eight, half)


def test_tokens_are_close_to_those_of_bf16(family, build, frames_NCHW):
    assert distance_from_bf16(family, build, frames_NCHW) < 0.02


def test_twin_in_four_bits(family, build, frames_NCHW, monkeypatch):
    eight = distance_from_bf16(family, build, frames_NCHW)
    monkeypatch.setattr("side4video.models.layers.int8.MAX_CODE", 7)
    assert distance_from_bf16(family, build, frames_NCHW) > 3 * eight


def test_the_fingerprint_is_that_of_the_weights_before(family, build):
    assert build(family, precision="8-bit").fingerprint() == build(family, precision="fp32").fingerprint()


def test_on_meta_it_has_the_same_sizes(family, build, frames_NCHW):
    real, meta = build(family, precision="8-bit"), build(family, precision="8-bit", device="meta")
    assert bytes_of(meta) == bytes_of(real)
    tokens = meta(frames_NCHW.to("meta"), [3])[3]
    assert tokens.is_meta
    assert tokens.shape == real(frames_NCHW, [3])[3].shape


def test_a_weight_is_off_by_half_a_step_of_its_row_at_most():
    matrix = torch.randn(6, 40, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    matrix[2] = 0
    matrix[3] *= 100
    form = Int8Matrix()
    codes, scales = form.right_inverse(matrix)
    restored = form(codes, scales).float()
    largest = matrix.float().abs().amax(1, keepdim=True)
    assert ((restored - matrix.float()).abs() <= largest * (1 / 254 + 2 * torch.finfo(torch.bfloat16).eps)).all()
    assert torch.equal(restored[2], torch.zeros(40))
