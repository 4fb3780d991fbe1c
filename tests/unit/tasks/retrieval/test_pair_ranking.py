"""Ranks after the best candidates were scored again, against brute force on whole matrices; one worker or several."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import retrieval_oracle as oracle
from side4video.engine.process_group import ProcessGroup
from side4video.tasks.retrieval.pair_ranking import BELOW, PairRescorer
from side4video.tasks.retrieval.pair_scores import PairScores
from side4video.tasks.retrieval.ranking import Search
from side4video.tasks.retrieval.spec import NoRescoring


class SmallTiles(Search):
    chunk = 3


class Threads:
    """A worker of several in one process: what `ProcessGroup` is to an evaluation."""

    device = torch.device("cpu")

    def __init__(self, rank, barrier, values):
        self.rank, self.barrier, self.values = rank, barrier, values

    def gather(self, value):
        self.values[self.rank] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()
        return found


def draw(seed):
    """Similarities and second scores of texts and videos, with ties, and the video of each text."""
    rng = np.random.default_rng(seed)
    videos = int(rng.integers(1, 9))
    owners = [video for video in range(videos) for _ in range(int(rng.integers(1 if video == 0 else 0, 4)))]
    shape = (len(owners), videos)
    first, second = np.round(rng.uniform(-1, 1, shape) * 8) / 8, np.round(rng.normal(size=shape) * 4)
    if rng.random() < 0.3:
        second[rng.random(shape) < 0.3] = np.nan
    return first, second, owners, int(rng.integers(1, 6))


def expected(first, second, owners, candidates):
    """Ranks by plain loops over whole matrices."""
    texts, videos = first.shape

    def scored(cuts):
        return [
            [second[t][v] if first[t][v] >= cuts(t, v) else first[t][v] - BELOW for v in range(videos)]
            for t in range(texts)
        ]

    def least(values):
        return sorted(values, reverse=True)[: min(candidates, len(values))][-1]

    of_texts, of_videos = scored(lambda t, v: least(first[t])), scored(lambda t, v: least(first[:, v]))
    return oracle.text_ranks(of_texts, owners), oracle.video_ranks(of_videos, owners)


def compute(first, second, owners, candidates, *, workers=1, rescorer=PairRescorer, told=None):
    """What `PairScores` makes of it, on so many workers. An embedding is the place in the matrix."""
    first, second = torch.from_numpy(first).float(), torch.from_numpy(second).float()
    asked = []

    def score(tokens_XW, video):
        asked.append(len(tokens_XW))
        assert len(video[1]) == 1
        return second[tokens_XW[:, 0], int(video[1])]

    matching = SimpleNamespace(is_scaled=True, compare=lambda texts, videos: first[texts[0]][:, videos[0]])
    module = SimpleNamespace(matching=matching, scale=lambda: torch.tensor(3.0))
    task = SimpleNamespace(rescoring=NoRescoring(), keep="fp32", extra_metrics=())
    videos, found = first.shape[1], {}

    def stage(gallery):
        return gallery[:1], rescorer(score, gallery, candidates=candidates, report_progress=told, texts_at_once=2)

    def work(process, rank):
        scores = PairScores(module, task, videos=videos, make_search=SmallTiles, first_stage=stage)
        for video in range(videos)[rank::workers]:
            texts = torch.tensor([text for text, owner in enumerate(owners) if owner == video], dtype=torch.int64)
            targets = SimpleNamespace(owners_Q=torch.zeros_like(texts), captions=("",) * len(texts))
            batch = SimpleNamespace(indices_B=torch.tensor([video]))
            place = torch.tensor([video])
            scores.add(((texts, texts[:, None]), (place, place)), targets, batch)
        found[rank] = scores.compute(process)

    if workers == 1:
        work(ProcessGroup(), 0)
    else:
        barrier, values = threading.Barrier(workers, timeout=30), [None] * workers
        started = [
            threading.Thread(target=work, args=(Threads(rank, barrier, values), rank)) for rank in range(workers)
        ]
        for each in started:
            each.start()
        for each in started:
            each.join()
    return found[0], asked


def check_all(cases, **options):
    for seed in range(cases):
        case = draw(seed)
        found, _ = compute(*case, **options)
        assert (found.texts_N.tolist(), found.videos_V.tolist()) == expected(*case), seed


def test_ranks_are_brute_forces():
    check_all(300)


@pytest.mark.parametrize("workers", [2, 3])
def test_ranks_do_not_depend_on_the_number_of_workers(workers):
    check_all(40, workers=workers)


class OneDirection(PairRescorer):
    """A video's candidates are those of the texts."""

    def for_videos(self, tile_QC, block, first):
        return self.for_texts(tile_QC, block, first)


class NothingBelow(PairRescorer):
    def _with_scores(self, tile_QC, is_candidate_QC, block, first):
        scores_QC = super()._with_scores(tile_QC, is_candidate_QC, block, first)
        return torch.where(is_candidate_QC, scores_QC, tile_QC)


class Everything(PairRescorer):
    """Scores all pairs."""

    def __init__(self, *args, candidates, **options):
        super().__init__(*args, candidates=candidates + 5, **options)


@pytest.mark.parametrize("rescorer", [OneDirection, NothingBelow, Everything])
def test_twins(rescorer):
    with pytest.raises(AssertionError):
        check_all(60, rescorer=rescorer)


def test_candidates_of_both_directions_are_scored_once_and_no_others():
    first = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.3], [0.4, 0.1, 0.0]])
    # Of texts: (0, 0), (1, 1), (2, 0); of videos: (0, 0), (1, 1), (1, 2).
    _, asked = compute(first, np.zeros((3, 3)), [0, 1, 2], 1)
    assert sum(asked) == 4
    _, asked = compute(first, np.zeros((3, 3)), [0, 1, 2], 128)
    assert sum(asked) == 9
    assert max(asked) == 2


def test_the_first_similarity_counts_for_the_loss_and_the_second_for_the_ranks():
    first, second = np.array([[0.9, 0.5], [0.2, 0.8]]), np.array([[1.0, 2.0], [2.0, 1.0]])
    told = []
    found, _ = compute(first, second, [0, 1], 2, told=lambda *words: told.append(words))
    assert found.texts_N.tolist() == [1, 1]
    assert found.best_N.tolist() == [1, 0]
    assert found.loss == pytest.approx(oracle.loss(first, [0, 1], 3.0), rel=1e-5)
    assert told[-1] == ("matching texts and videos", 2, 2)
