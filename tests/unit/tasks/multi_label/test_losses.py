"""The losses of several labels a clip against their definitions in float64, values and gradients."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import label_statement as statement
from side4video.data.streams.batch import NO_LABEL
from side4video.tasks.multi_label.multi_label import AsymmetricLoss, MultiLabel, multi_hot
from side4video.tasks.multi_label.spec import MultiLabelSpec

SHAPES = [(1, 1), (3, 5), (7, 13)]
SETTINGS = {
    "cross-entropy": None,
    "paper": AsymmetricLoss(),
    "focal": AsymmetricLoss(2.0, 2.0, 0.0),
    "both": AsymmetricLoss(1.0, 3.0, 0.1),
    "shifted": AsymmetricLoss(0.0, 0.0, 0.2),
}


def draw(shape, scale=3.0):
    rng = np.random.default_rng(shape)
    return rng.normal(scale=scale, size=shape), rng.integers(0, 2, shape)


def stated(setting, logits, targets):
    if setting is None:
        return statement.binary_cross_entropy(logits, targets)
    return statement.asymmetric(
        logits, targets, positive=setting.gamma_positive, negative=setting.gamma_negative, clip=setting.clip
    )


def computed(setting, logits, targets, dtype=torch.float32):
    task = MultiLabel(tuple(map(str, range(logits.shape[1]))), asymmetric=setting)
    tensor = torch.tensor(logits, dtype=dtype, requires_grad=True)
    loss = task.loss(tensor, torch.tensor(targets, dtype=torch.float32))
    loss.backward()
    return float(loss.detach()), tensor.grad


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SETTINGS)
def test_values_and_gradients(name, shape):
    logits, targets = draw(shape)
    loss, gradient = computed(SETTINGS[name], logits, targets)
    assert loss == pytest.approx(stated(SETTINGS[name], logits, targets), rel=1e-5)
    expected = statement.gradient(lambda each: stated(SETTINGS[name], each, targets), logits)
    assert torch.allclose(gradient, torch.tensor(expected, dtype=torch.float32), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_large_logits_have_finite_losses_and_gradients(name):
    logits, targets = np.array([[90.0, -90.0, 90.0, -90.0, 0.0]]), np.array([[1, 1, 0, 0, 1]])
    loss, gradient = computed(SETTINGS[name], logits, targets)
    assert loss == pytest.approx(stated(SETTINGS[name], logits, targets), rel=1e-4)
    assert torch.isfinite(gradient).all()


def test_half_precision_is_computed_in_single():
    logits, targets = draw((4, 6))
    for setting in SETTINGS.values():
        rounded = torch.tensor(logits, dtype=torch.bfloat16).double().numpy()
        loss, _ = computed(setting, logits, targets, torch.bfloat16)
        assert loss == pytest.approx(stated(setting, rounded, targets), rel=1e-5)


def test_without_exponents_and_shift_it_is_the_cross_entropy():
    logits, targets = draw((5, 4))
    assert computed(AsymmetricLoss(0.0, 0.0, 0.0), logits, targets)[0] == pytest.approx(
        computed(None, logits, targets)[0], rel=1e-6
    )


def test_twins_that_another_loss_is():
    logits, targets = draw((5, 4))
    loss = stated(SETTINGS["paper"], logits, targets)
    for other in (None, AsymmetricLoss(4.0, 0.0, 0.05), AsymmetricLoss(0.0, 4.0, 0.0)):
        assert computed(other, logits, targets)[0] != pytest.approx(loss, rel=1e-3)


def test_the_parts_of_a_batch_add_up():
    logits, targets = draw((6, 4))
    for setting in SETTINGS.values():
        whole = computed(setting, logits, targets)[0]
        assert sum(computed(setting, logits[i : i + 2], targets[i : i + 2])[0] for i in (0, 2, 4)) == pytest.approx(
            whole
        )


def test_targets_of_labels():
    labels_BL = torch.tensor([[2, 0, NO_LABEL], [NO_LABEL] * 3, [3, 3, 1]])
    expected = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]], dtype=torch.float32)
    assert torch.equal(multi_hot(labels_BL, 4), expected)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"clip": 0.1}, "clip is of the asymmetric loss"),
        ({"loss": "asymmetric", "gamma_negative": 0.5}, "no finite gradient at 0"),
    ],
)
def test_documents_that_contradict_themselves(fields, found):
    with pytest.raises(ValidationError, match=found):
        MultiLabelSpec(**fields)
    MultiLabelSpec(**MultiLabelSpec().model_dump())
