"""The shared layers against the library's convolutions and norms, in float64."""

import pytest
import torch
from torch import nn

from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.layers.patch_embedding import TemporalPatchEmbedding
from side4video.models.layers.temporal import DepthwiseTemporalConvolution, shift_over_time


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_depthwise_convolution_equals_conv3d(frames):
    torch.manual_seed(0)
    ours = DepthwiseTemporalConvolution(6).double()
    theirs = nn.Conv3d(6, 6, (3, 1, 1), padding=(1, 0, 0), groups=6).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight_3D.T.reshape(6, 1, 3, 1, 1))
        theirs.bias.copy_(ours.bias_D)
    tokens = torch.randn(2, frames, 7, 6, dtype=torch.float64, requires_grad=True)
    other = tokens.detach().clone().requires_grad_()
    found = ours(tokens)
    expected = theirs(other.permute(0, 3, 1, 2).unsqueeze(-1)).squeeze(-1).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(tokens.grad, other.grad)
    torch.testing.assert_close(ours.weight_3D.grad, theirs.weight.grad.reshape(6, 3).T)
    torch.testing.assert_close(ours.bias_D.grad, theirs.bias.grad)


def test_depthwise_convolution_passes_gradcheck():
    torch.manual_seed(0)
    layer = DepthwiseTemporalConvolution(3).double()
    tokens = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (tokens,))


def test_patch_embedding_equals_conv3d():
    torch.manual_seed(0)
    ours = TemporalPatchEmbedding(5, patch_size=4).double()
    theirs = nn.Conv3d(3, 5, (3, 4, 4), stride=(1, 4, 4), padding=(1, 0, 0)).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight_DC3HW)
        theirs.bias.copy_(ours.bias_D)
    video = torch.randn(2, 3, 3, 8, 12, dtype=torch.float64)
    found, expected = ours(video, lambda video: video), theirs(video.transpose(1, 2)).flatten(3).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.weight_DC3HW.grad, theirs.weight.grad)


def test_patch_embedding_with_a_border_equals_conv3d_with_padding():
    torch.manual_seed(0)
    ours = TemporalPatchEmbedding(5, patch_size=4, channels=6, border=True).double()
    theirs = nn.Conv3d(6, 5, (3, 4, 4), stride=(1, 4, 4), padding=(1, 1, 1)).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight_DC3HW)
        theirs.bias.copy_(ours.bias_D)
    video, other = (torch.randn(2, 3, 3, 8, 12, dtype=torch.float64) for _ in range(2))
    found = ours(video, lambda *both: torch.cat(both, dim=2), other)
    expected = theirs(torch.cat([video, other], dim=2).transpose(1, 2)).flatten(3).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.weight_DC3HW.grad, theirs.weight.grad)


@pytest.mark.parametrize("training", [True, False])
def test_token_norm_equals_batchnorm3d(training):
    torch.manual_seed(0)
    ours, theirs = TokenBatchNorm(6).double(), nn.BatchNorm3d(6).double()
    tokens = torch.randn(2, 3, 5, 6, dtype=torch.float64) * 2 + 1
    for norm in (ours, theirs):
        norm.train(training)
    expected = theirs(tokens.permute(0, 3, 1, 2).unsqueeze(-1)).squeeze(-1).permute(0, 2, 3, 1)
    torch.testing.assert_close(ours(tokens), expected)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_shift_moves_halves_in_opposite_directions_and_fills_with_zeros():
    tokens = torch.arange(1.0, 13.0).view(1, 3, 4)
    expected = torch.tensor([[[5, 6, 0, 0], [9, 10, 3, 4], [0, 0, 7, 8]]], dtype=torch.float32)
    assert torch.equal(shift_over_time(tokens), expected)
