"""The loss of mixed clips is the cross-entropy with both labels in the target; and twins that the check catches."""

import pytest
import torch
from timm.data.mixup import mixup_target
from torch.nn import functional as F

from side4video.data.streams.batch import NO_LABEL, ClipBatch, Mixture
from side4video.tasks.recognition.classification import Classification, MixedLabels
from side4video.tasks.recognition.spec import RecognitionSpec

CLASSES = tuple("abcdefg")
SMOOTHINGS = [0.0, 0.1, 0.5]


def task(smoothing=0.1, **options):
    return Classification(CLASSES, label_smoothing=smoothing, **options)


def logits(rows=8, seed=0):
    return 4 * torch.randn(rows, len(CLASSES), generator=torch.Generator().manual_seed(seed))


def mixed(rows=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    labels_B, other_labels_B = torch.randint(0, len(CLASSES), (2, rows), generator=generator)
    shares_B = torch.rand(rows, generator=generator)
    shares_B[:3] = torch.tensor([0.0, 1.0, 0.5])
    labels_B[3] = other_labels_B[3]  # both clips may be of one class
    return MixedLabels(labels_B, other_labels_B, shares_B)


def value_and_gradient(loss, logits_BC):
    given_BC = logits_BC.clone().requires_grad_()
    value = loss(given_BC)
    value.backward()
    return value.detach().double(), given_BC.grad.double()


def truth(labels, smoothing, logits_BC):
    """Torch's own cross-entropy with probabilities, in float64."""
    shares_B1 = labels.shares_B.double()[:, None]
    targets_BC = sum(
        share_B1 * F.one_hot(labels_B, len(CLASSES)).double()
        for labels_B, share_B1 in ((labels.labels_B, shares_B1), (labels.other_labels_B, 1 - shares_B1))
    )
    return value_and_gradient(
        lambda given_BC: F.cross_entropy(given_BC, targets_BC, label_smoothing=smoothing, reduction="sum"),
        logits_BC.double(),
    )


def check(loss):
    for smoothing in SMOOTHINGS:
        labels = mixed()
        found = value_and_gradient(lambda given_BC: loss(task(smoothing), given_BC, labels), logits())  # noqa: B023
        for one, exact in zip(found, truth(labels, smoothing, logits()), strict=True):
            torch.testing.assert_close(one, exact, rtol=1e-6, atol=2e-7)


def test_loss_and_gradient_are_those_of_a_target_with_both_labels():
    check(Classification.loss)


def test_the_target_is_timms():
    """Theirs mixes a batch with itself turned round, with one share for all."""
    labels_B = mixed().labels_B
    for smoothing in SMOOTHINGS:
        targets_BC = mixup_target(labels_B, len(CLASSES), 0.3, smoothing)
        both = MixedLabels(labels_B, labels_B.flip(0), torch.full((8,), 0.3))
        expected = -(targets_BC * logits().log_softmax(-1)).sum()
        torch.testing.assert_close(task(smoothing).loss(logits(), both), expected, rtol=1e-6, atol=0)


def exchanged(one, logits_BC, labels):
    return one.loss(logits_BC, MixedLabels(labels.other_labels_B, labels.labels_B, labels.shares_B))


def smoothed_twice(one, logits_BC, labels):
    return one.loss(logits_BC, labels) - one.label_smoothing * 0.01 * logits_BC.log_softmax(-1).sum()


def unmixed(one, logits_BC, labels):
    return one.loss(logits_BC, labels.labels_B)


def of_half_precision(one, logits_BC, labels):
    return one.loss(logits_BC.bfloat16(), labels)


@pytest.mark.parametrize("twin", [exchanged, smoothed_twice, unmixed, of_half_precision])
def test_a_twin_with_another_target_is_caught(twin):
    with pytest.raises(AssertionError):
        check(twin)


def test_a_whole_share_is_the_ordinary_loss():
    labels = mixed()
    whole = MixedLabels(labels.labels_B, labels.other_labels_B, torch.ones(8))
    found = value_and_gradient(lambda given_BC: task().loss(given_BC, whole), logits())
    plain = value_and_gradient(lambda given_BC: task().loss(given_BC, labels.labels_B), logits())
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_parts_of_a_batch_add_up():
    whole = mixed()
    parts = [
        task().loss(logits()[rows], MixedLabels(whole.labels_B[rows], whole.other_labels_B[rows], whole.shares_B[rows]))
        for rows in (slice(0, 2), slice(2, 8))
    ]
    torch.testing.assert_close(sum(parts), task().loss(logits(), whole))


def test_what_has_no_label_counts_nothing():
    both, neither = torch.tensor([1, 2]), torch.full((2,), NO_LABEL)
    shares_B = torch.tensor([0.25, 0.7])
    one = task(0.1)

    def loss(labels_B, other_labels_B):
        return one.loss(logits(2), MixedLabels(labels_B, other_labels_B, shares_B))

    assert loss(neither, neither) == 0
    torch.testing.assert_close(loss(both, neither) + loss(neither, both), loss(both, both))
    each = [one.loss(logits(2)[[row]], both[[row]]) * shares_B[row] for row in range(2)]
    torch.testing.assert_close(loss(both, neither), sum(each))


def batch(mixture=None):
    numbers = torch.arange(4)
    return ClipBatch(torch.zeros(4, 1, 3, 2, 2, dtype=torch.uint8), numbers % 3, numbers, numbers * 0, mixture=mixture)


def test_targets_are_what_the_batch_says():
    assert torch.equal(task().targets(batch()), batch().labels_B)
    mixture = Mixture(torch.tensor([1, 0, 0, 2]), torch.full((4,), 0.25))
    targets = task().targets(batch(mixture))
    assert torch.equal(targets.labels_B, batch().labels_B)
    assert targets.other_labels_B is mixture.other_labels_B
    assert targets.shares_B is mixture.shares_B


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_mock_targets_are_of_the_form_that_training_has(device):
    assert isinstance(task().mock_targets(4, device), torch.Tensor)
    mock = RecognitionSpec().build(CLASSES, mixes_labels=True).mock_targets(4, device)
    mixture = Mixture(torch.tensor([1, 0, 0, 2]), torch.full((4,), 0.25))
    for name, real in vars(task().targets(batch(mixture))).items():
        found = getattr(mock, name)
        assert (found.shape, found.dtype, found.device.type) == (real.shape, real.dtype, device)
    assert task().loss(logits(4).to(device), mock).shape == ()
