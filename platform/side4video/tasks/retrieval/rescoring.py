"""Similarities normalised over other queries: dual softmax and querybank normalisation.

In float64: a softmax at a high temperature underflows to equal zeros in float32.

Legend: Q texts of a block, V videos, C videos of a chunk, K blocks of all workers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from side4video.tasks.retrieval.matching import Embeddings
from side4video.tasks.retrieval.ranking import Rescorer, Search

ROUNDING = 1e-12
"""Relative difference below which two scores tie: equal similarities can be rounded differently."""


class DualSoftmax(Rescorer):
    """Each similarity times its softmax over the queries (Cheng et al., 2021, section 3.3)."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature
        self._by_text: list[Tensor] = []
        self._by_video_V = torch.empty(0)

    def tie_threshold(self, own: Tensor) -> Tensor:
        """Up to rounding; scores are small and can be negative."""
        return own - ROUNDING * own.abs()

    def prepare(self, search: Search) -> None:
        """The softmaxes' denominators, over all videos for each text, and over all texts for each video."""
        self._by_text = []
        by_block: list[tuple[int, Tensor]] = []
        for block in search.blocks:
            texts = search.on_device(block.texts)
            over_videos, over_texts = [], []
            for _, tile_QC in search.tiles(texts):
                logits_QC = tile_QC.double() * self.temperature
                over_videos.append(logits_QC.logsumexp(dim=1))
                over_texts.append(logits_QC.logsumexp(dim=0))
            self._by_text.append(torch.stack(over_videos).logsumexp(dim=0))
            by_block.append((int(block.owners_Q.min()), torch.cat(over_texts).cpu()))
        # In the order of the gallery, independent of the number of workers.
        gathered = sorted((each for part in search.process.gather(by_block) for each in part), key=lambda each: each[0])
        stacked_KV = torch.stack([each for _, each in gathered])
        self._by_video_V = stacked_KV.logsumexp(dim=0).to(search.process.device)

    def for_texts(self, tile_QC: Tensor, block: int, first: int) -> Tensor:  # noqa: ARG002
        """Similarities times the softmax over texts."""
        over_C = self._by_video_V[first : first + tile_QC.shape[1]]
        return tile_QC.double() * (tile_QC.double() * self.temperature - over_C).exp()

    def for_videos(self, tile_QC: Tensor, block: int, first: int) -> Tensor:  # noqa: ARG002
        """Similarities times the softmax over videos."""
        return tile_QC.double() * (tile_QC.double() * self.temperature - self._by_text[block][:, None]).exp()


class Querybank(Rescorer):
    """The dynamic inverted softmax (Bogolin et al., 2022, section 3.3), from texts to videos.

    A video that is the best match of some caption of the bank may be a hub. If a text's best match is such a video, its
    similarities are divided by the bank's. The direction from videos to texts is unchanged.
    """

    def __init__(self, temperature: float, bank: Sequence[Embeddings]) -> None:
        """Set the bank.

        `temperature` is the factor inside the exponential; `bank` has embeddings of the bank's captions, in chunks.
        """
        self.temperature, self.bank = temperature, bank
        self._over_V = torch.empty(0)
        self._is_rescored: list[Tensor] = []

    def tie_threshold(self, own: Tensor) -> Tensor:
        """Up to rounding; scores are logarithms."""
        return own - ROUNDING * (1 + own.abs())

    def prepare(self, search: Search) -> None:
        """The bank's similarities of each video, and which texts are rescored."""
        device = search.process.device
        over, hubs = [], set()
        for texts in self.bank:
            on_device = search.on_device(texts)
            rows_QV = torch.cat([tile_QC for _, tile_QC in search.tiles(on_device)], dim=1)
            over.append((rows_QV.double() * self.temperature).logsumexp(dim=0))
            best = rows_QV.max(dim=1)
            hubs |= set(best.indices[best.values > float("-inf")].tolist())
        self._over_V = torch.stack(over).logsumexp(dim=0)
        is_hub_V = torch.zeros(search.videos, dtype=torch.bool, device=device)
        is_hub_V[sorted(hubs)] = True
        self._is_rescored = []
        for block in search.blocks:
            tiles = search.tiles(search.on_device(block.texts))
            tops = [(tile_QC.max(dim=1), first) for first, tile_QC in tiles]
            values = torch.stack([top.values for top, _ in tops])
            places = torch.stack([top.indices + first for top, first in tops])
            chosen = values.argmax(dim=0, keepdim=True)
            self._is_rescored.append(is_hub_V[places.gather(0, chosen)[0]])

    def for_texts(self, tile_QC: Tensor, block: int, first: int) -> Tensor:
        """The logarithm of the normalised similarities, for the texts that are rescored."""
        over_C = self._over_V[first : first + tile_QC.shape[1]]
        tile_QC = tile_QC.double()
        return torch.where(self._is_rescored[block][:, None], tile_QC * self.temperature - over_C, tile_QC)
