"""Unequal classes: weights of the training loss, and balanced draws of training clips."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.streams.loader import TrainingStream, class_chances
from side4video.spec.load import SpecError
from side4video.tasks.recognition.classification import Classification, MixedLabels, inverse_weights
from tiny import tiny

LABELS = [0] * 6 + [1] * 3 + [3]


def test_weights_are_inverse_and_their_mean_over_clips_is_one():
    weights = inverse_weights(LABELS, 5)
    assert weights.tolist() == pytest.approx([10 / (3 * 6), 10 / (3 * 3), 0, 10 / 3, 0])
    assert weights[torch.tensor(LABELS)].mean() == pytest.approx(1)
    assert inverse_weights([0, 1, 2], 3).tolist() == [1, 1, 1]


def task(**options):
    return Classification(("a", "b", "c"), label_smoothing=0.1, **options)


def test_each_clips_loss_is_weighted_and_the_evaluation_is_not():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, -1, 0])
    weights = torch.tensor([0.5, 2.0, 3.0])
    weighed, plain = task(class_weights=weights), task()
    alone = [plain.loss(logits[n : n + 1], labels[n : n + 1]) for n in range(6)]
    expected = sum(
        float(loss) * (float(weights[label]) if label >= 0 else 0) for loss, label in zip(alone, labels, strict=True)
    )
    assert float(weighed.loss(logits, labels)) == pytest.approx(expected)
    assert float(weighed.evaluation_loss(logits, labels)) == pytest.approx(float(plain.loss(logits, labels)))


def test_a_mixed_clip_has_the_weights_of_both_labels():
    torch.manual_seed(1)
    logits = torch.randn(4, 3)
    first, other, shares = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, -1]), torch.tensor([0.3, 0.6, 1.0, 0.5])
    weights = torch.tensor([0.5, 2.0, 3.0])
    weighed = task(class_weights=weights)
    expected = sum(
        float(share) * float(weighed.loss(logits[n : n + 1], first[n : n + 1]))
        + (1 - float(share)) * float(weighed.loss(logits[n : n + 1], other[n : n + 1]))
        for n, share in enumerate(shares)
    )
    assert float(weighed.loss(logits, MixedLabels(first, other, shares))) == pytest.approx(expected, rel=1e-5)


def clips(labels):
    return [Clip(f"/clips/{n}.mp4", label) for n, label in enumerate(labels)]


def test_classes_have_the_same_chance():
    chances = class_chances(clips(LABELS), range(len(LABELS)))
    by_class = Counter()
    for label, chance in zip(LABELS, chances, strict=True):
        by_class[label] += chance
    assert list(by_class.values()) == pytest.approx([1 / 3] * 3)
    with pytest.raises(InputError, match="class_sampling: balanced, and a clip has no class"):
        class_chances(clips([0, None]), range(2))


class Keys:
    """A prefetcher that gives the keys that it was asked for, as batches of one clip."""

    def __init__(self):
        self.read_keys = []

    def read(self, keys):
        self.read_keys.append([[key.index for key in batch] for batch in keys])
        return iter(())

    def close(self):
        pass


def drawn(epoch, first_step=0, rank=0, world=1, sampling="balanced"):
    keys = Keys()
    spec = tiny(data={"class_sampling": sampling}).data
    labels = [0] * 900 + [1] * 90 + [2] * 10
    stream = TrainingStream(
        spec, clips(labels), batch_size=50, rank=rank, world=world, mirrored={}, prefetch=lambda *_, **__: keys
    )
    list(stream.batches(epoch, first_step))
    return keys.read_keys[0], labels


def test_an_epoch_is_balanced_and_depends_on_seed_and_epoch_alone():
    batches, labels = drawn(0)
    found = Counter(labels[index] for batch in batches for index in batch)
    assert sum(found.values()) == 1000
    for count in found.values():
        assert count == pytest.approx(1000 / 3, abs=60)
    assert batches == drawn(0)[0] != drawn(1)[0]
    assert drawn(0, first_step=7)[0] == batches[7:]
    halves = [drawn(0, rank=rank, world=2)[0] for rank in (0, 1)]
    assert [one + other for one, other in zip(*halves, strict=True)] == batches


def test_natural_draws_have_each_clip_once():
    batches, _ = drawn(0, sampling="natural")
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(1000))
    assert np.bincount(list(itertools.chain.from_iterable(batches))).max() == 1


def test_defaults_change_no_digest():
    plain = tiny()
    assert plain.digest() == tiny(data={"class_sampling": "natural"}, task={"class_weights": "none"}).digest()
    assert plain.digest() != tiny(data={"class_sampling": "balanced"}).digest()
    assert plain.digest() != tiny(task={"class_weights": "inverse"}).digest()
    with pytest.raises(SpecError, match="class_sampling is balanced"):
        tiny(data={"class_sampling": "balanced", "loader": {"workers": 0, "epochs_per_decode": 2}})
