"""Ranks, metrics and rescored similarities by brute force: plain loops over the whole matrix, in float64.

`matrix[t][v]` is how alike text `t` and video `v` are, `owners[t]` the video of text `t`. NaN is less than any number;
what is as alike as the right answer stands in front of it.
"""

import math

import numpy as np


def number(similarity):
    return -math.inf if math.isnan(similarity) else float(similarity)


def text_ranks(matrix, owners, *, least=lambda own: own):
    """0-based, of each text's video."""
    ranks = []
    for text, owner in enumerate(owners):
        own = least(number(matrix[text][owner]))
        others = [video for video in range(len(matrix[text])) if video != owner]
        ranks.append(sum(1 for video in others if number(matrix[text][video]) >= own))
    return ranks


def best_videos(matrix, owners):
    """The first of the videos that are most like each text."""
    found = []
    for text in range(len(owners)):
        best = 0
        for video in range(len(matrix[text])):
            if number(matrix[text][video]) > number(matrix[text][best]):
                best = video
        found.append(best)
    return found


def video_ranks(matrix, owners, *, least=lambda own: own):
    """0-based, of each video's texts among the videos' texts, the best of each counting; of videos with texts."""
    ranks = []
    for video in sorted(set(owners)):
        best = {}
        for text, owner in enumerate(owners):
            best[owner] = max(best.get(owner, -math.inf), number(matrix[text][video]))
        own = least(best.pop(video))
        ranks.append(sum(1 for other in best.values() if other >= own))
    return ranks


def metrics(texts, videos):
    """All ten, from 0-based ranks."""
    found = {}
    for name, ranks in (("t2v", texts), ("v2t", videos)):
        for depth in (1, 5, 10):
            found[f"{name}_r{depth}"] = sum(1 for rank in ranks if rank < depth) / len(ranks)
        ordered, half = sorted(rank + 1 for rank in ranks), len(ranks) // 2
        odd = len(ranks) % 2
        found[f"{name}_median_rank"] = ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2
        found[f"{name}_mean_rank"] = sum(ordered) / len(ordered)
    return found


def loss(matrix, owners, scale):
    """Cross-entropy of the right video among all, over texts."""
    losses = []
    for text, owner in enumerate(owners):
        logits = [number(similarity) * scale for similarity in matrix[text]]
        losses.append(_log_sum(logits) - logits[owner])
    return sum(losses) / len(losses)


def dual_softmax(matrix, temperature):
    """Each similarity times its softmax over texts, and times its softmax over videos."""
    over_texts, over_videos = np.full_like(matrix, -np.inf), np.full_like(matrix, -np.inf)
    texts, videos = matrix.shape
    for text in range(texts):
        for video in range(videos):
            value = number(matrix[text][video])
            if value == -math.inf:
                continue
            column = _log_sum([number(matrix[other][video]) * temperature for other in range(texts)])
            row = _log_sum([number(matrix[text][other]) * temperature for other in range(videos)])
            over_texts[text][video] = value * math.exp(value * temperature - column)
            over_videos[text][video] = value * math.exp(value * temperature - row)
    return over_texts, over_videos


def querybank(matrix, bank, temperature):
    """The dynamic inverted softmax, from texts to videos: where a text's favourite is one of the bank's, each of its
    similarities is divided by what the bank finds of the video."""
    texts, videos = matrix.shape
    hubs = {max(range(videos), key=lambda video, query=query: bank[query][video]) for query in range(len(bank))}
    rescored = np.array(matrix, dtype=np.float64)
    for text in range(texts):
        favourite = max(range(videos), key=lambda video, text=text: number(matrix[text][video]))
        if favourite not in hubs:
            continue
        for video in range(videos):
            over = _log_sum([bank[query][video] * temperature for query in range(len(bank))])
            rescored[text][video] = number(matrix[text][video]) * temperature - over
    return rescored


def _log_sum(values):
    top = max(values)
    return top if math.isinf(top) else top + math.log(sum(math.exp(value - top) for value in values))
