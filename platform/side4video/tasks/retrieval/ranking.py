"""Ranks of texts and videos, without all similarities in memory.

Similarities are computed in tiles, a block of texts against a chunk of videos, and only counts are stored. The tiles do
not depend on the number of workers, so the ranks do not either. A tile that is needed twice is computed twice.

Ties count against the model. NaN is less than any number.

Legend: Q texts of a block, V videos, C videos of a chunk, G videos whose texts are in a block, K blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from side4video.engine.process_group import ProcessGroup
from side4video.tasks.retrieval.matching import Embeddings

Compare = Callable[[Embeddings, Embeddings], Tensor]
ReportProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class TextBlock:
    """All texts of some videos, which are compared together."""

    texts: Embeddings
    owners_Q: Tensor
    """The index in the gallery of each text's video."""


@dataclass(frozen=True)
class Ranks:
    """0-based ranks: the number of others with at least the same similarity."""

    texts: list[Tensor]
    """The rank of the correct video for each text [Q], by block."""
    best: list[Tensor]
    """The index of the best video for each text [Q], by block."""
    videos_V: Tensor
    """The rank of each video's texts among all videos' texts; the best text of a video counts."""
    losses: list[Tensor]
    """The cross-entropy of the correct video among all, for each text [Q], by block."""


class Rescorer:
    """Changes similarities before they are ranked; this one does not."""

    def tie_threshold(self, own: Tensor) -> Tensor:
        """The score from which others tie with the own score; a subclass allows for rounding."""
        return own

    def prepare(self, search: "Search") -> None:
        """Read all similarities before ranking."""

    def for_texts(self, tile_QC: Tensor, block: int, first: int) -> Tensor:  # noqa: ARG002
        """The tile for ranking videos; `first` is the index of its first video."""
        return tile_QC

    def for_videos(self, tile_QC: Tensor, block: int, first: int) -> Tensor:  # noqa: ARG002
        """The tile for ranking texts."""
        return tile_QC


class Search:
    """This worker's blocks of texts, compared with all videos."""

    chunk = 256
    """Videos of a tile."""

    def __init__(
        self,
        blocks: Sequence[TextBlock],
        gallery: Embeddings,
        compare: Compare,
        *,
        process: ProcessGroup,
        report_progress: ReportProgress | None = None,
    ) -> None:
        """Set texts and videos.

        `blocks` are this worker's texts; all texts of a video are in one block. The embeddings of all videos
        (`gallery`) are in the same order on every worker. `compare` computes similarities [Q, C]. `report_progress` is
        called with the number of finished blocks and of all blocks.
        """
        self.blocks, self.gallery, self.compare, self.process = blocks, gallery, compare, process
        self.report_progress = report_progress
        self.videos = len(gallery[0])

    def tiles(self, texts: Embeddings) -> Iterator[tuple[int, Tensor]]:
        """All tiles of some texts, with the index of their first video."""
        for first in range(0, self.videos, self.chunk):
            yield first, self.tile(texts, first)

    def tile(self, texts: Embeddings, first: int) -> Tensor:
        """Similarities [Q, C] of texts with the chunk of videos from index `first`."""
        device = self.process.device
        chunk = tuple(each[first : first + self.chunk].to(device) for each in self.gallery)
        return self.nan_to_lowest(self.compare(texts, chunk).float())

    def on_device(self, embeddings: Embeddings) -> Embeddings:
        """Embeddings on this worker's device."""
        return tuple(each.to(self.process.device) for each in embeddings)

    @torch.no_grad()
    def rank(self, rescorer: Rescorer, *, scale: float) -> Ranks:
        """The ranks of this worker's texts and of all videos.

        `rescorer` changes the similarities first. `scale` is the factor between similarities and logits, for the loss.
        """
        rescorer.prepare(self)
        own_texts, own_videos_V = self._own(rescorer)
        device = self.process.device
        rank_V = torch.zeros(self.videos, dtype=torch.int64, device=device)
        ranks, best, losses = [], [], []
        for number, block in enumerate(self.blocks):
            texts, owners_Q = self.on_device(block.texts), block.owners_Q.to(device)
            own_Q = own_texts[number]
            count_Q = torch.zeros_like(owners_Q)
            top_Q, best_Q = torch.full_like(own_Q, float("-inf")), torch.zeros_like(owners_Q)
            total_Q = torch.full_like(own_Q, float("-inf"), dtype=torch.float32)
            own_similarity_Q = torch.zeros_like(total_Q)
            for first, tile_QC in self.tiles(texts):
                total_Q = torch.logaddexp(total_Q, (tile_QC * scale).logsumexp(dim=1))
                own_similarity_Q = _own_similarities(own_similarity_Q, tile_QC, owners_Q, first)
                scored_QC = self.nan_to_lowest(rescorer.for_texts(tile_QC, number, first))
                count_Q += (scored_QC >= own_Q[:, None]).sum(dim=1)
                value_Q, at_Q = scored_QC.max(dim=1)
                best_Q = torch.where(value_Q > top_Q, at_Q + first, best_Q)
                top_Q = torch.maximum(top_Q, value_Q)
                sets_GC = self.best_per_video(
                    self.nan_to_lowest(rescorer.for_videos(tile_QC, number, first)), owners_Q
                )[1]
                chunk = slice(first, first + tile_QC.shape[1])
                rank_V[chunk] += (sets_GC >= own_videos_V[chunk]).sum(dim=0)
            ranks.append(count_Q.cpu() - 1)
            best.append(best_Q.cpu())
            losses.append((total_Q - own_similarity_Q * scale).cpu())
            if self.report_progress is not None:
                self.report_progress(number + 1, len(self.blocks))
        rank_V = torch.stack(self.process.gather(rank_V.cpu())).sum(dim=0)
        return Ranks(ranks, best, rank_V - 1, losses)

    def _own(self, rescorer: Rescorer) -> tuple[list[Tensor], Tensor]:
        """The tie thresholds of each text's own video [Q], by block, and of each video's best own text [V].

        They come from the same tiles as the scores that they are compared with, so that rounding is the same.
        """
        device = self.process.device
        own_V = torch.full((self.videos,), float("-inf"), dtype=torch.float64, device=device)
        own_texts = []
        for number, block in enumerate(self.blocks):
            texts, owners_Q = self.on_device(block.texts), block.owners_Q.to(device)
            own_Q = torch.zeros(len(owners_Q), dtype=torch.float64, device=device)
            for first in sorted({int(owner) // self.chunk * self.chunk for owner in block.owners_Q}):
                tile_QC = self.tile(texts, first)
                own_Q = _own_similarities(
                    own_Q, self.nan_to_lowest(rescorer.for_texts(tile_QC, number, first)), owners_Q, first
                )
                sets, best_GC = self.best_per_video(
                    self.nan_to_lowest(rescorer.for_videos(tile_QC, number, first)), owners_Q
                )
                is_in_tile = (sets >= first) & (sets < first + tile_QC.shape[1])
                own_V[sets[is_in_tile]] = best_GC[is_in_tile, sets[is_in_tile] - first].double()
            own_texts.append(rescorer.tie_threshold(own_Q))
        # A video's texts are on one worker; the others have minus infinity.
        all_V = torch.stack(self.process.gather(own_V.cpu())).amax(dim=0)
        return own_texts, rescorer.tie_threshold(all_V.to(device))

    @staticmethod
    def nan_to_lowest(scores: Tensor) -> Tensor:
        """Minus infinity in place of NaN."""
        return scores.masked_fill(scores.isnan(), float("-inf"))

    @staticmethod
    def best_per_video(tile_QC: Tensor, owners_Q: Tensor) -> tuple[Tensor, Tensor]:
        """The videos of these texts [G], and the similarities of each one's best text [G, C]."""
        sets_G, numbers_Q = owners_Q.unique(return_inverse=True)
        best_GC = tile_QC.new_full((len(sets_G), tile_QC.shape[1]), float("-inf"))
        rows_QC = numbers_Q[:, None].expand_as(tile_QC)
        return sets_G, best_GC.scatter_reduce_(0, rows_QC, tile_QC, "amax")


def _own_similarities(own_Q: Tensor, tile_QC: Tensor, owners_Q: Tensor, first: int) -> Tensor:
    """Each text's similarity with its own video, if that is in this tile."""
    columns_Q = owners_Q - first
    is_in_tile_Q = (columns_Q >= 0) & (columns_Q < tile_QC.shape[1])
    found_Q = tile_QC.gather(1, columns_Q.clamp(0, tile_QC.shape[1] - 1)[:, None])[:, 0]
    return torch.where(is_in_tile_Q, found_Q, own_Q)
