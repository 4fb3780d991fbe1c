"""Ranks and metrics against brute force on the whole matrix, and twins that count in the model's favour."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import retrieval_oracle as oracle
from side4video.core.errors import InputError
from side4video.engine.process_group import ProcessGroup
from side4video.tasks.retrieval import rescoring
from side4video.tasks.retrieval.metrics import retrieval_metrics
from side4video.tasks.retrieval.pair_scores import PairScores
from side4video.tasks.retrieval.ranking import Rescorer, Search
from side4video.tasks.retrieval.spec import DualSoftmaxSpec, NoRescoring, QuerybankSpec

CASES = 1000
SCALE = 3.0


class SmallTiles(Search):
    chunk = 3


@dataclasses.dataclass
class Case:
    """A matrix of similarities, and how texts and videos come."""

    matrix: np.ndarray
    """Of texts, in the order of their videos, with videos."""
    owners: list[int]
    """The place of each text's video."""
    positions: list[int]
    """Of the videos in the list of clips."""
    batches: list[list[int]]
    """Videos that come together, in the order in which they come."""


def draw(seed, *, values=None, nan=True, whole=False):
    """A random case: with ties, repeated texts and videos, and NaN; `whole` gives each video a text."""
    rng = np.random.default_rng(seed)
    videos = int(rng.integers(1, 11))
    texts = rng.integers(1 if whole else 0, 4, videos)
    texts[rng.integers(videos)] = max(1, texts[0])
    owners = [video for video in range(videos) for _ in range(texts[video])]
    matrix = rng.normal(size=(len(owners), videos)) if rng.random() < 0.5 else rng.uniform(-1, 1, (len(owners), videos))
    if values or rng.random() < 0.6:
        matrix = np.round(matrix * (values or rng.choice([1, 2, 8]))) / 8
    if rng.random() < 0.4:
        matrix[:, rng.integers(videos)] = matrix[:, rng.integers(videos)]
        matrix[rng.integers(len(owners))] = matrix[rng.integers(len(owners))]
    if nan and rng.random() < 0.3:
        matrix[rng.random(matrix.shape) < rng.choice([0.1, 0.5])] = np.nan
    if nan and rng.random() < 0.1:
        matrix[:, rng.integers(videos)] = np.nan
        matrix[rng.integers(len(owners))] = np.nan
    positions = sorted(rng.choice(videos + 3, videos, replace=False).tolist())
    cuts = np.flatnonzero(rng.random(videos - 1) < 0.4) + 1 if videos > 1 else []
    batches = [part.tolist() for part in np.split(np.arange(videos), cuts)]
    rng.shuffle(batches)
    return Case(matrix.astype(np.float32).astype(np.float64), owners, positions, batches)


class Lookup:
    """Kept of a text or a video is its place in a matrix."""

    is_scaled = True

    def __init__(self, matrix):
        self.matrix = torch.from_numpy(matrix).float()

    def compare(self, texts, videos):
        return self.matrix[texts[0]][:, videos[0]]


def compute(case, rescoring_spec=None, bank=None, *, search=SmallTiles, scores=PairScores, **options):
    """What `PairScores` makes of a case."""
    rows = case.matrix if bank is None else np.concatenate([case.matrix, bank])
    module = SimpleNamespace(matching=Lookup(rows), scale=lambda: torch.tensor(SCALE))
    task = SimpleNamespace(rescoring=rescoring_spec or NoRescoring(), keep="fp32", bank=(), extra_metrics=())
    if bank is not None:
        task.bank = tuple(str(row) for row in range(len(bank)))
        task.tokenize = lambda texts: len(case.owners) + torch.arange(len(texts))
        module.embed_texts = lambda tokens: (tokens,)
    scores = scores(module, task, videos=max(case.positions) + 1, make_search=search, **options)
    for videos in case.batches:
        texts = [text for text, owner in enumerate(case.owners) if owner in videos]
        targets = SimpleNamespace(
            owners_Q=torch.tensor([videos.index(case.owners[text]) for text in texts], dtype=torch.int64),
            captions=tuple(f"text {text}" for text in texts),
        )
        batch = SimpleNamespace(indices_B=torch.tensor([case.positions[video] for video in videos]))
        scores.add(((torch.tensor(texts, dtype=torch.int64),), (torch.tensor(videos),)), targets, batch)
    return scores.compute(ProcessGroup())


def check(seed, **options):
    """The evaluation of a random case is brute force's."""
    case = draw(seed)
    found = compute(case, **options)
    texts, videos = oracle.text_ranks(case.matrix, case.owners), oracle.video_ranks(case.matrix, case.owners)
    assert found.texts_N.tolist() == texts, seed
    assert found.videos_V.tolist() == videos, seed
    assert found.metrics == pytest.approx(oracle.metrics(texts, videos), rel=1e-12), seed
    best = oracle.best_videos(case.matrix, case.owners)
    assert found.best_N.tolist() == [case.positions[video] for video in best], seed
    assert found.owners_N.tolist() == [case.positions[video] for video in case.owners], seed
    assert found.captions_N == [f"text {text}" for text in range(len(case.owners))], seed
    assert found.indices_V.tolist() == case.positions
    assert found.loss == pytest.approx(oracle.loss(case.matrix, case.owners, SCALE), rel=1e-5, abs=1e-5, nan_ok=True)


def check_all(cases, **options):
    for seed in range(cases):
        check(seed, **options)


def test_ranks_metrics_and_loss_are_brute_forces():
    check_all(CASES)


def test_the_cases_are_of_every_sort():
    cases = [draw(seed) for seed in range(CASES)]
    videos = [len(case.positions) for case in cases]
    assert {1, 2, 3, 4, 6, 7, 9, 10} <= set(videos)
    assert sum(np.isnan(case.matrix).any() for case in cases) > 200
    assert sum(len(set(case.owners)) < len(case.positions) for case in cases) > 200
    assert sum(len(set(case.owners)) < len(case.owners) for case in cases) > 500
    assert sum(len(case.batches) > 2 for case in cases) > 300
    ties = [case for case in cases if any(len(set(row)) < len(row) for row in case.matrix.tolist())]
    assert len(ties) > 500


class StrictThreshold(Rescorer):
    def tie_threshold(self, own):
        return own + 1e-6


class LosesTies(SmallTiles):
    """Others with the same similarity are ranked below the right answer."""

    def rank(self, rescorer, *, scale):
        return super().rank(StrictThreshold(), scale=scale)


class KeepsNaN(SmallTiles):
    @staticmethod
    def nan_to_lowest(scores):
        return scores


class AveragesCaptions(SmallTiles):
    @staticmethod
    def best_per_video(tile_QC, owners_Q):
        sets_G, numbers_Q = owners_Q.unique(return_inverse=True)
        return sets_G, torch.stack([tile_QC[numbers_Q == number].mean(dim=0) for number in range(len(sets_G))])


class SkipsLastVideos(SmallTiles):
    def tiles(self, texts):
        for first in range(0, self.videos - self.videos % self.chunk, self.chunk):
            yield first, self.tile(texts, first)


class MixesUpClips(PairScores):
    """Takes positions among the readable videos for positions in the list."""

    def merge(self, process, ranks, indices_V):
        found = super().merge(process, ranks, indices_V)
        return dataclasses.replace(found, best_N=np.searchsorted(found.indices_V, found.best_N))


@pytest.mark.parametrize("search", [LosesTies, KeepsNaN, AveragesCaptions, SkipsLastVideos])
def test_twins_of_the_search(search):
    with pytest.raises(AssertionError):
        check_all(60, search=search)


def test_twin_that_mixes_up_clips():
    with pytest.raises(AssertionError):
        check_all(60, scores=MixesUpClips)


@pytest.mark.parametrize("videos", [2, 3, 4, 7])
@pytest.mark.parametrize("spec", [NoRescoring(), DualSoftmaxSpec(), QuerybankSpec()], ids=lambda spec: spec.kind)
def test_a_model_that_finds_all_alike_finds_nothing(videos, spec):
    owners = [video for video in range(videos) for _ in range(2)]
    case = Case(np.full((len(owners), videos), 0.3), owners, list(range(videos)), [[0], list(range(1, videos))])
    found = compute(case, spec, np.full((5, videos), 0.3) if spec.kind == "querybank" else None)
    first = [value for name, value in found.metrics.items() if "_r1" in name and "_r10" not in name]
    assert first == [0.0] * (2 if spec.kind == "none" else 4)
    assert found.metrics["t2v_mean_rank"] == videos


def test_one_video_is_found():
    found = compute(Case(np.full((2, 1), np.nan), [0, 0], [4], [[0]]))
    assert found.metrics["t2v_r1"] == found.metrics["v2t_r1"] == 1.0


def test_a_video_without_a_text_is_there_to_be_found_and_is_not_asked_for_one():
    found = compute(Case(np.array([[0.1, 0.9]]), [0], [0, 1], [[0, 1]]))
    assert (found.texts_N.tolist(), found.videos_V.tolist()) == ([1], [0])
    assert found.videos == 2


def test_the_file_of_predictions(tmp_path):
    case = Case(np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.2]]), [0, 1, 1], [3, 7], [[0, 1]])
    found = compute(case)
    found.write(tmp_path)
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "index,label,prediction,correct,rank,caption",
        "0,3,3,1,1,text 0",
        "1,7,3,0,2,text 1",
        "2,7,3,0,2,text 2",
    ]
    kept = np.load(tmp_path / "ranks.npz")
    assert (kept["texts"].tolist(), kept["videos"].tolist()) == ([0, 1, 1], [1, 0])


def test_no_text_no_video_and_several_views():
    empty = Case(np.zeros((0, 2)), [], [0, 1], [[0, 1]])
    with pytest.raises(InputError, match="no test video has a text"):
        compute(empty)
    with pytest.raises(InputError, match="no test video could be read"):
        compute(dataclasses.replace(empty, batches=[]))
    with pytest.raises(InputError, match="several views of a video"):
        compute(Case(np.zeros((1, 2)), [0], [1, 1], [[0, 1]]))


def test_metrics_of_nothing_are_not_a_number():
    nothing = np.zeros(0, dtype=np.int64)
    assert all(math.isnan(value) for value in retrieval_metrics(nothing, nothing).values())


# ---- rescored


def rescored_metrics(case, spec, bank=None):
    """By brute force."""

    def near(own):
        return own - rescoring.ROUNDING * (abs(own) if spec.kind == "dual-softmax" else 1 + abs(own))

    if spec.kind == "dual-softmax":
        over_texts, over_videos = oracle.dual_softmax(case.matrix, spec.temperature)
    else:
        over_texts, over_videos = oracle.querybank(case.matrix, bank, spec.temperature), case.matrix
    texts = oracle.text_ranks(over_texts, case.owners, least=near)
    return oracle.metrics(texts, oracle.video_ranks(over_videos, case.owners, least=near))


def rescored(found):
    """The rescored metrics, under their plain names."""
    endings = ("_dual_softmax", "_querybank")
    return {
        name.removesuffix(end): value for name, value in found.metrics.items() for end in endings if name.endswith(end)
    }


@pytest.mark.parametrize("temperature", [5.0, pytest.param(100.0, marks=pytest.mark.long), 300.0])
def test_dual_softmax_is_brute_forces(temperature):
    """At 100 and more, float32 would take most of the softmax for zero."""
    check_dual_softmax(temperature)


def check_dual_softmax(temperature, **options):
    spec = DualSoftmaxSpec(temperature=temperature)
    for seed in range(150):
        case = draw(seed, whole=True)
        found = compute(case, spec, **options)
        assert rescored(found) == pytest.approx(rescored_metrics(case, spec), rel=1e-12), seed
        assert found.metrics["t2v_r1"] == compute(case).metrics["t2v_r1"]


def draw_bank(seed, case):
    rng = np.random.default_rng(seed + 10_000)
    bank = rng.uniform(-1, 1, (int(rng.integers(1, 12)), case.matrix.shape[1]))
    return np.round(bank * 8) / 8 if seed % 2 else bank.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("temperature", [20.0, 1000.0])
def test_querybank_is_brute_forces(temperature):
    check_querybank(temperature)


def check_querybank(temperature, **options):
    spec = QuerybankSpec(temperature=temperature)
    for seed in range(150):
        case = draw(seed)
        bank = draw_bank(seed, case)
        found = compute(case, spec, bank, bank_chunk=4, **options)
        assert rescored(found) == pytest.approx(rescored_metrics(case, spec, bank), rel=1e-12), seed


def search_with(twin):
    """A search that ranks with the rescorer's twin."""

    class TwinSearch(SmallTiles):
        def rank(self, rescorer, *, scale):
            original = twin.__base__
            if isinstance(rescorer, original):
                rescorer = twin(
                    *(getattr(rescorer, name) for name in ("temperature", "bank") if hasattr(rescorer, name))
                )
            return super().rank(rescorer, scale=scale)

    return TwinSearch


class SoftmaxOverVideosForBoth(rescoring.DualSoftmax):
    def for_texts(self, tile_QC, block, first):
        return self.for_videos(tile_QC, block, first)


class SinglePrecision(rescoring.DualSoftmax):
    def for_texts(self, tile_QC, block, first):
        over_C = self._by_video_V[first : first + tile_QC.shape[1]].float()
        return tile_QC * (tile_QC * self.temperature - over_C).exp()


@pytest.mark.parametrize("twin", [SoftmaxOverVideosForBoth, SinglePrecision])
def test_twins_of_dual_softmax(twin):
    with pytest.raises(AssertionError):
        check_dual_softmax(300.0, search=search_with(twin))


class RescoresEveryText(rescoring.Querybank):
    def prepare(self, search):
        super().prepare(search)
        self._is_rescored = [torch.ones_like(each) for each in self._is_rescored]


def test_twin_that_rescores_every_text():
    with pytest.raises(AssertionError):
        check_querybank(20.0, search=search_with(RescoresEveryText))


def test_a_bank_without_captions_is_said():
    with pytest.raises(InputError, match=r"task\.rescoring.*no training clip has a caption"):
        compute(draw(3), QuerybankSpec())
