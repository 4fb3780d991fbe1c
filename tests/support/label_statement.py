"""The losses and metrics of several labels and several heads in float64, from their definitions alone.

Written with NumPy on numbers one by one, so that it shares nothing with the tasks' modules.
"""

import itertools
import math

import numpy as np


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


def log_sigmoid(logit: float) -> float:
    return -math.log1p(math.exp(-logit)) if logit >= 0 else logit - math.log1p(math.exp(logit))


def binary_cross_entropy(logits, targets) -> float:
    """Over clips and classes: -y log p - (1 - y) log(1 - p)."""
    return -sum(
        log_sigmoid(logit) if target else log_sigmoid(-logit)
        for row, wanted in zip(logits, targets, strict=True)
        for logit, target in zip(row, wanted, strict=True)
    )


def asymmetric(logits, targets, *, positive: float, negative: float, clip: float) -> float:
    """Ridnik et al., 2021, arXiv 2009.14119: -(1-p)^a log p, or -q^b log(1-q) with q = max(p - clip, 0)."""
    total = 0.0
    for row, wanted in zip(logits, targets, strict=True):
        for logit, target in zip(row, wanted, strict=True):
            if target:
                total -= sigmoid(-logit) ** positive * log_sigmoid(logit)
            else:
                shifted = max(sigmoid(logit) - clip, 0.0)
                rest = log_sigmoid(-logit) if clip == 0 else math.log1p(-shifted)
                total -= shifted**negative * rest
    return total


def gradient(loss, logits, step: float = 1e-6):
    """Central differences of a loss in every logit."""
    found = np.zeros_like(logits)
    for place in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[place] += step
        down[place] -= step
        found[place] = (loss(up) - loss(down)) / (2 * step)
    return found


def head_loss(logits, sizes, labels, *, smoothing: float) -> float:
    """Over clips and heads: cross-entropy with the target (1 - s) of the label plus s / C of each class."""
    total = 0.0
    for row, own in zip(logits, labels, strict=True):
        parts = np.split(np.asarray(row, np.float64), np.cumsum(sizes)[:-1])
        for part, label in zip(parts, own, strict=True):
            if label < 0:
                continue
            logs = part - part.max() - math.log(np.exp(part - part.max()).sum())
            target = np.full(len(part), smoothing / len(part))
            target[label] += 1 - smoothing
            total -= float((target * logs).sum())
    return total


def action_rank(scores, labels) -> int:
    """How many other combinations of classes score at least as much as that of the labels; all are looked at."""
    own = math.prod(float(score[label]) for score, label in zip(scores, labels, strict=True))
    every = (
        math.prod(float(score[each]) for score, each in zip(scores, places, strict=True))
        for places in itertools.product(*(range(len(score)) for score in scores))
    )
    return sum(product >= own for product in every) - 1
