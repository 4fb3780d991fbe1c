"""Batch norm of images whose channels come second: torch's own, outputs, gradients and statistics."""

import pytest
import torch
from torch import nn

from side4video.models.layers.norm import TokenBatchNorm, normalise_images


def both(*, channels=3, training=True):
    """Ours and torch's, with the same tensors."""
    torch.manual_seed(0)
    ours, theirs = TokenBatchNorm(channels), nn.BatchNorm2d(channels)
    for norm in (ours, theirs):
        torch.manual_seed(1)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        norm.train(training)
    return ours, theirs


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_it_is_the_batch_norm_of_images(training, channels_last):
    ours, theirs = both(training=training)
    images = 3 + torch.randn(5, 3, 4, 2)
    if channels_last:
        images = images.to(memory_format=torch.channels_last)
    results = []
    for norm, apply in ((ours, lambda x: normalise_images(x, ours)), (theirs, theirs)):
        x = images.clone().requires_grad_()
        out = apply(x)
        (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        results.append([out.detach(), x.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var])
        assert int(norm.num_batches_tracked) == int(training)
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_many_rows_lose_no_digits():
    """Which the kernel for channels that are last does, on a CPU."""
    torch.manual_seed(0)
    ours, _ = both(channels=1)
    with torch.no_grad():
        ours.weight.fill_(1.0)
        ours.bias.zero_()
    images = 3 + 2 * torch.randn(100, 1, 30, 30)
    whole = images.double()
    truth = (whole - whole.mean()) / (whole.var(unbiased=False) + 1e-5).sqrt()
    assert float((normalise_images(images, ours).double() - truth).detach().abs().max()) < 2e-6
