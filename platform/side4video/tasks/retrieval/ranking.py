"""Who finds whom: ranks of texts and videos, without ever holding all similarities.

Similarities are computed tile by tile, a block of texts against a chunk of videos, and only counts are kept. The tiles
are the same whatever the number of workers is, so the ranks are too. A tile is computed again where it is needed again.

Ties count against the model: one that finds everything alike finds nothing. NaN is less than any number.

Legend: Q texts of a block, V videos, C videos of a chunk, G videos whose texts are in a block, K blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from side4video.engine.process_group import ProcessGroup
from side4video.tasks.retrieval.matching import Embeddings

VIDEO_CHUNK = 256
Compare = Callable[[Embeddings, Embeddings], Tensor]
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class TextBlock:
    """Texts that are compared together: all texts of some videos."""

    texts: Embeddings
    owners_Q: Tensor
    """The place in the gallery of the video that each is of."""


@dataclass(frozen=True)
class Ranks:
    """0-based: how many others are found at least as alike."""

    texts: list[Tensor]
    """Of the right video, for each text [Q] of each block."""
    best: list[Tensor]
    """The place of the video that each text finds [Q], of each block."""
    videos_V: Tensor
    """Of the right texts, among the videos' sets of texts, the best text of each set counting."""
    losses: list[Tensor]
    """The cross-entropy of the right video among all, for each text [Q] of each block."""


class Rescorer:
    """What is done with similarities before they are ranked: nothing."""

    def tie_threshold(self, own: Tensor) -> Tensor:
        """The least that is no worse than one's own: what differs by rounding alone ties."""
        return own

    def prepare(self, search: "Search") -> None:
        """Look at all similarities first."""

    def for_texts(self, tile_QC: Tensor, block: int, first: int) -> Tensor:  # noqa: ARG002
        """A tile for ranking videos by a text; `first` is the place of its first video."""
        return tile_QC

    def for_videos(self, tile_QC: Tensor, block: int, first: int) -> Tensor:  # noqa: ARG002
        """A tile for ranking texts by a video."""
        return tile_QC


class Search:
    """Blocks of texts of this worker against all videos."""

    def __init__(
        self,
        blocks: Sequence[TextBlock],
        gallery: Embeddings,
        compare: Compare,
        *,
        process: ProcessGroup,
        tell: Tell | None = None,
    ) -> None:
        """Nothing is compared yet.

        Args:
            blocks: This worker's; every text of a video is in the same block.
            gallery: What is kept of all videos, in the same order on every worker.
            compare: Similarities [Q, C] of texts and videos.
            process: This worker.
            tell: Hears of blocks done, and of how many there are.
        """
        self.blocks, self.gallery, self.compare, self.process = blocks, gallery, compare, process
        self.tell = tell
        self.videos = len(gallery[0])

    def tiles(self, texts: Embeddings) -> Iterator[tuple[int, Tensor]]:
        """All tiles of some texts, with the place of their first video."""
        for first in range(0, self.videos, VIDEO_CHUNK):
            yield first, self.tile(texts, first)

    def tile(self, texts: Embeddings, first: int) -> Tensor:
        """Similarities [Q, C] of texts with the chunk of videos that begins at a place."""
        device = self.process.device
        chunk = tuple(each[first : first + VIDEO_CHUNK].to(device) for each in self.gallery)
        return nan_to_lowest(self.compare(texts, chunk).float())

    def on_device(self, kept: Embeddings) -> Embeddings:
        """Where it is compared."""
        return tuple(each.to(self.process.device) for each in kept)

    @torch.no_grad()
    def rank(self, rescorer: Rescorer, *, scale: float) -> Ranks:
        """The ranks of everybody.

        Args:
            rescorer: What is done with similarities first.
            scale: The factor between similarities and logits, for the loss.
        """
        rescorer.prepare(self)
        own_texts, own_videos_V = self._own(rescorer)
        device = self.process.device
        beaten_V = torch.zeros(self.videos, dtype=torch.int64, device=device)
        ranks, best, losses = [], [], []
        for number, block in enumerate(self.blocks):
            texts, owners_Q = self.on_device(block.texts), block.owners_Q.to(device)
            own_Q = own_texts[number]
            count_Q = torch.zeros_like(owners_Q)
            top_Q, place_Q = torch.full_like(own_Q, float("-inf")), torch.zeros_like(owners_Q)
            total_Q = torch.full_like(own_Q, float("-inf"), dtype=torch.float32)
            right_Q = torch.zeros_like(total_Q)
            for first, tile_QC in self.tiles(texts):
                total_Q = torch.logaddexp(total_Q, (tile_QC * scale).logsumexp(dim=1))
                right_Q = _own_similarities(right_Q, tile_QC, owners_Q, first)
                scored_QC = nan_to_lowest(rescorer.for_texts(tile_QC, number, first))
                count_Q += (scored_QC >= own_Q[:, None]).sum(dim=1)
                value_Q, at_Q = scored_QC.max(dim=1)
                place_Q = torch.where(value_Q > top_Q, at_Q + first, place_Q)
                top_Q = torch.maximum(top_Q, value_Q)
                sets_GC = best_per_video(nan_to_lowest(rescorer.for_videos(tile_QC, number, first)), owners_Q)[1]
                chunk = slice(first, first + tile_QC.shape[1])
                beaten_V[chunk] += (sets_GC >= own_videos_V[chunk]).sum(dim=0)
            ranks.append(count_Q.cpu() - 1)
            best.append(place_Q.cpu())
            losses.append((total_Q - right_Q * scale).cpu())
            if self.tell is not None:
                self.tell(number + 1, len(self.blocks))
        beaten_V = torch.stack(self.process.gather(beaten_V.cpu())).sum(dim=0)
        return Ranks(ranks, best, beaten_V - 1, losses)

    def _own(self, rescorer: Rescorer) -> tuple[list[Tensor], Tensor]:
        """What ties with each text's own video [Q] of each block, and with each video's best own text [V].

        Taken from the very tiles that they are compared with later, so that nothing is rounded differently.
        """
        device = self.process.device
        own_V = torch.full((self.videos,), float("-inf"), dtype=torch.float64, device=device)
        own_texts = []
        for number, block in enumerate(self.blocks):
            texts, owners_Q = self.on_device(block.texts), block.owners_Q.to(device)
            own_Q = torch.zeros(len(owners_Q), dtype=torch.float64, device=device)
            for first in sorted({int(owner) // VIDEO_CHUNK * VIDEO_CHUNK for owner in block.owners_Q}):
                tile_QC = self.tile(texts, first)
                own_Q = _own_similarities(
                    own_Q, nan_to_lowest(rescorer.for_texts(tile_QC, number, first)), owners_Q, first
                )
                sets, best_GC = best_per_video(nan_to_lowest(rescorer.for_videos(tile_QC, number, first)), owners_Q)
                here = (sets >= first) & (sets < first + tile_QC.shape[1])
                own_V[sets[here]] = best_GC[here, sets[here] - first].double()
            own_texts.append(rescorer.tie_threshold(own_Q))
        # A video's texts are with one worker: of the others' minus infinity nothing remains.
        whole_V = torch.stack(self.process.gather(own_V.cpu())).amax(dim=0)
        return own_texts, rescorer.tie_threshold(whole_V.to(device))


def nan_to_lowest(scores: Tensor) -> Tensor:
    """Minus infinity in place of NaN."""
    return scores.masked_fill(scores.isnan(), float("-inf"))


def _own_similarities(own_Q: Tensor, tile_QC: Tensor, owners_Q: Tensor, first: int) -> Tensor:
    """Each text's own similarity where it is in this tile."""
    places_Q = owners_Q - first
    is_here_Q = (places_Q >= 0) & (places_Q < tile_QC.shape[1])
    found_Q = tile_QC.gather(1, places_Q.clamp(0, tile_QC.shape[1] - 1)[:, None])[:, 0]
    return torch.where(is_here_Q, found_Q, own_Q)


def best_per_video(tile_QC: Tensor, owners_Q: Tensor) -> tuple[Tensor, Tensor]:
    """The videos whose texts these are [G], and their best text's similarities [G, C]."""
    sets_G, numbers_Q = owners_Q.unique(return_inverse=True)
    best_GC = tile_QC.new_full((len(sets_G), tile_QC.shape[1]), float("-inf"))
    rows_QC = numbers_Q[:, None].expand_as(tile_QC)
    return sets_G, best_GC.scatter_reduce_(0, rows_QC, tile_QC, "amax")
