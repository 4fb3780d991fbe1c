"""BIKE's classifier and loss stated independently, in float64, pair by pair.

From the paper's section 3.2 and the released code.
"""

import math

import torch
from torch import Tensor

from masked_block_statement import softmax, unit


def logit(frames_TE: Tensor, words_WE: Tensor, text_E: Tensor, temperature: float) -> Tensor:
    """The similarity of a clip and a class: frames weighted by each word, the mean over words."""
    frames = [unit(frame) for frame in frames_TE]
    weights = [torch.zeros((), dtype=torch.float64) for _ in frames]
    for word in words_WE:
        scores = softmax([(unit(word) * frame).sum() / temperature for frame in frames])
        weights = [weight + score / len(words_WE) for weight, score in zip(weights, scores, strict=True)]
    chosen = sum(weight * frame for weight, frame in zip(weights, frames, strict=True))
    return (chosen * unit(text_E)).sum()


def loss(logits_GG: Tensor, labels: list[int]) -> Tensor:
    """Mean over the clips of both directions' divergence from the softmax of ten times equal labels."""
    total = torch.zeros((), dtype=torch.float64)
    for matrix in (logits_GG, logits_GG.T):
        for row, own in zip(matrix, labels, strict=True):
            hits = [10.0 * (other == own) for other in labels]
            normal = sum(math.exp(hit) for hit in hits)
            targets = [math.exp(hit) / normal for hit in hits]
            logs = row - torch.log(torch.exp(row - row.max()).sum()) - row.max()
            total = total + sum(q * (math.log(q) - log) for q, log in zip(targets, logs, strict=True))
    return total / (2 * len(labels))
