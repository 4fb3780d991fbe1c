"""Tests of this folder need a CUDA device, and say so where there is none."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _quiet_products():
    """Products of fp32 in fp32: what a CPU computes is compared with them."""
    if not torch.cuda.is_available():
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
