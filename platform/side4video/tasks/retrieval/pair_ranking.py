"""Ranks by two scores: the best candidates of a first similarity are scored again, pair by pair.

A text's candidates are the videos that are most similar to it, a video's candidates the texts. A pair that is a
candidate in both directions is scored once. All other pairs rank below, in the order of their similarity.

Legend: Q texts of a block, N texts of this worker, V videos, C videos of a chunk.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from side4video.tasks.retrieval.matching import Embeddings
from side4video.tasks.retrieval.ranking import Rescorer, Search

BELOW = 100.0
"""What is taken off the similarity of a pair that is no candidate; the authors' code gives all of them -100."""
TEXTS_AT_ONCE = 64
"""Texts that are scored together with one video."""


class PairRescorer(Rescorer):
    """Scores of candidates, in place of their similarities."""

    def __init__(
        self,
        score: Callable[[Tensor, Embeddings], Tensor],
        gallery: Embeddings,
        *,
        candidates: int,
        report_progress: Callable[[str, int, int], None] | None = None,
        texts_at_once: int = TEXTS_AT_ONCE,
    ) -> None:
        """Nothing is scored before `prepare`.

        `score` maps tokens [X, W] of texts and a row of the gallery to scores [X]. The gallery are the embeddings of
        all videos. `candidates` of each text, and of each video, are scored.
        """
        self.score, self.gallery, self.candidates = score, gallery, candidates
        self.report_progress, self.texts_at_once = report_progress, texts_at_once
        self._scores: list[Tensor] = []
        self._least: list[Tensor] = []
        self._least_V = torch.empty(0)

    def prepare(self, search: Search) -> None:
        """Find the candidates, and score them."""
        device, videos = search.process.device, search.videos
        rows = [
            torch.cat([tile_QC for _, tile_QC in search.tiles(search.on_device(block.texts))], dim=1)
            for block in search.blocks
        ]
        self._least = [_least_of_best(row_QV, self.candidates) for row_QV in rows]
        cosines_NV = torch.cat(rows) if rows else torch.empty(0, videos, device=device)
        best = cosines_NV.topk(min(self.candidates, len(cosines_NV)), dim=0).values.cpu()
        all_best_NV = torch.cat(search.process.gather(best)).to(device)
        self._least_V = _least_of_best(all_best_NV.t(), self.candidates)
        least_N = torch.cat(self._least) if rows else torch.empty(0, device=device)
        is_candidate_NV = (cosines_NV >= least_N[:, None]) | (cosines_NV >= self._least_V)
        tokens_NW = torch.cat([block.texts[1] for block in search.blocks]) if rows else torch.empty(0, 1)
        scores_NV = self._score(tokens_NW.to(device), is_candidate_NV)
        self._scores = list(scores_NV.split([len(row_QV) for row_QV in rows]))

    def _score(self, tokens_NW: Tensor, is_candidate_NV: Tensor) -> Tensor:
        scores_NV = torch.zeros(is_candidate_NV.shape, device=is_candidate_NV.device)
        videos = is_candidate_NV.shape[1]
        for index in range(videos):
            texts_X = is_candidate_NV[:, index].nonzero()[:, 0]
            video = tuple(each[index : index + 1].to(scores_NV.device) for each in self.gallery)
            for part_X in texts_X.split(self.texts_at_once) if len(texts_X) else ():
                scores_NV[part_X, index] = self.score(tokens_NW[part_X], video).float()
            if self.report_progress is not None:
                self.report_progress("matching texts and videos", index + 1, videos)
        return Search.nan_to_lowest(scores_NV)

    def for_texts(self, tile_QC: Tensor, block: int, first: int) -> Tensor:
        """Scores of each text's candidates; other videos are below."""
        return self._with_scores(tile_QC, tile_QC >= self._least[block][:, None], block, first)

    def for_videos(self, tile_QC: Tensor, block: int, first: int) -> Tensor:
        """Scores of each video's candidates; other texts are below."""
        least_C = self._least_V[first : first + tile_QC.shape[1]]
        return self._with_scores(tile_QC, tile_QC >= least_C, block, first)

    def _with_scores(self, tile_QC: Tensor, is_candidate_QC: Tensor, block: int, first: int) -> Tensor:
        scores_QC = self._scores[block][:, first : first + tile_QC.shape[1]]
        return torch.where(is_candidate_QC, scores_QC, tile_QC - BELOW)


def _least_of_best(similarities_NV: Tensor, count: int) -> Tensor:
    """The least of the `count` largest in each row [N]."""
    return similarities_NV.topk(min(count, similarities_NV.shape[1]), dim=1).values[:, -1]
