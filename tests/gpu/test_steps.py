"""Steps on a device: finite in every precision, and close to those of a CPU in fp32; fused kernels likewise."""

import functools

import pytest
import torch

import toys
from oracle import perturb
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.models.frozen_features import features_of_batch
from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.layers.normalization import layer_normalise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="runs on a CUDA device, and there is none"),
]
TOLERANCE = {"fp32": 1e-3, "bf16": 0.06, "fp16": 0.01}
"""Of all gradients together, by their norm. fp32 differs by the order of additions, through batch norms of few rows."""
DTYPES = {torch.float32: 1e-5, torch.bfloat16: 0.02, torch.float16: 0.003}


def gradients(case, device, precision):
    """The loss, and the gradients of a step as the optimizer gets them."""
    method, family = case
    student = toys.make_student("a", toys.METHODS[method], family=family, precision="fp32")
    perturb(student.module, seed=3)
    for part in student.module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        elif hasattr(part, "drop_path"):
            part.drop_path.rate = 0.0
    spec = student.spec.model_copy(update={"precision": precision})
    borrowed = getattr(student.module.network, "borrowed", None)
    tower = (toys.new_tower(family=family) if borrowed is None else borrowed.tower).to(device)
    process = ProcessGroup(device=torch.device(device))
    student = toys.Student("a", student.module, student.task, spec, 0, student.reads, process)
    # A scale at which nothing overflows: the step is to be taken, not skipped.
    student.scaler = torch.amp.GradScaler(process.device.type, init_scale=256.0, enabled=precision == "fp16")
    pack, batch = (
        Pack.of_one_tower(functools.partial(features_of_batch, tower), [student]),
        toys.make_batch(0).to(device),
    )
    features = pack.features_for([student], batch)
    loss = student.accumulate(features, batch.labels_B, clips=len(batch), synchronize=True, draw=0)
    scale = student.scaler.get_scale()
    found = [
        parameter.grad.flatten() / scale for parameter in student.module.parameters() if parameter.grad is not None
    ]
    norm = student.update(1e-3)
    student.check_gradient_norm(float(norm))
    assert student.state == "training"
    assert all(bool(parameter.isfinite().all()) for parameter in student.module.parameters())
    return float(loss), torch.cat(found).cpu()


def distance(found, expected):
    return float((found.double().cpu() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("case", toys.CASES, ids="-".join)
def test_a_step_is_that_of_a_cpu_in_fp32(case, precision):
    expected_loss, expected = gradients(case, "cpu", "fp32")
    loss, found = gradients(case, "cuda", precision)
    assert found.isfinite().all()
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[precision])
    assert distance(found, expected) < TOLERANCE[precision]


def test_twin_that_runs_on_other_clips(monkeypatch):
    _, expected = gradients(("side4video", "clip"), "cpu", "fp32")
    make_batch = toys.make_batch
    monkeypatch.setattr(toys, "make_batch", lambda *parts: make_batch(*parts, 1))
    _, found = gradients(("side4video", "clip"), "cuda", "fp32")
    assert distance(found, expected) > max(TOLERANCE.values())


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2 + 0.5


def normalised(kind, x, device, dtype, *, training=True):
    """Normalised tokens, the gradient of their input, and running statistics."""
    x = x.to(device, dtype).requires_grad_()
    norm = TokenBatchNorm(x.shape[-1]).to(device).train(training)
    norm.running_mean.fill_(0.3)
    norm.running_var.fill_(2.0)
    found = layer_normalise(x) if kind == "layer" else norm.normalise(x)
    weights = draw(*x.shape, seed=1).to(device, dtype)
    (gradient,) = torch.autograd.grad(found, x, weights)
    assert found.dtype == gradient.dtype == dtype
    return found.detach(), gradient, torch.cat([norm.running_mean, norm.running_var])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["layer", "batch", "running"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 64), (1, 1, 7, 320), (2, 2, 3, 37)], ids=str)
def test_fused_norms_are_those_of_a_cpu(kind, dtype, shape):
    training = kind != "running"
    x = draw(*shape).to(dtype).float()
    expected = normalised(kind, x, "cpu", torch.float32, training=training)
    found = normalised(kind, x, "cuda", dtype, training=training)
    for ours, truth in zip(found, expected, strict=True):
        assert distance(ours, truth) < DTYPES[dtype]


def test_twin_that_normalises_over_the_wrong_channels():
    x = draw(2, 3, 64, 64)
    expected = normalised("layer", x, "cpu", torch.float32)
    found = normalised("layer", x.transpose(2, 3), "cuda", torch.float32)
    assert distance(found[0].transpose(2, 3), expected[0]) > max(DTYPES.values())


def test_tokens_in_channels_last_order_of_another_layout():
    """A batch norm's input may be a view that is not contiguous; the answer does not depend on it."""
    x = draw(3, 2, 5, 64)
    expected = normalised("batch", x, "cpu", torch.float32)
    turned = x.cuda().transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    found = normalised("batch", turned, "cuda", torch.float32)
    for ours, truth in zip(found, expected, strict=True):
        assert distance(ours, truth) < DTYPES[torch.float32]
