"""Retrieval in BLIP's form (Li et al., 2022, arXiv 2201.12086, section 3.2): a contrast of both encoders, and matching.

The contrast compares a text and a video with the momentum encoder's features of the batch and of a queue of earlier
batches; its labels are softened by what the momentum encoder finds similar. Matching classifies pairs: each text with
its video, with a hard negative video, and each video with a hard negative text.

Legend: B clips of this worker, G clips of all workers' batches, K = G + queue, T frames, S tokens of a clip, W tokens
of a text, D width, E channels of the shared space.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.engine.process_group import ProcessGroup, gather_rows
from side4video.models.layers.precision import autocast_off
from side4video.models.networks.contract import Pairs
from side4video.tasks.retrieval.matching import Embeddings, MeanMatching
from side4video.tasks.retrieval.pair_ranking import PairRescorer
from side4video.tasks.retrieval.pair_scores import PairScores
from side4video.tasks.retrieval.ranking import Rescorer
from side4video.tasks.retrieval.text_video import LogitScale, Texts, TextVideo, check_captions

NO_CLIP = -1
"""The clip of a row of the queue that no batch has filled."""


class PairOutputs(NamedTuple):
    """The outputs of a training step."""

    to_texts_BK: Tensor
    """Logits of each video with all texts."""
    to_videos_BK: Tensor
    """Logits of each text with all videos."""
    labels_of_videos_BK: Tensor
    """Soft labels of `to_texts_BK`."""
    labels_of_texts_BK: Tensor
    """Soft labels of `to_videos_BK`."""
    pairs_X2: Tensor
    """Logits of pairs; the first B are of each text with its own video."""


class FeatureQueue(nn.Module):
    """The momentum encoder's features of earlier batches, the newest first; random directions until it is full."""

    videos_KE: Tensor
    texts_KE: Tensor
    clips_K: Tensor
    """The clip of each row, by its index in the list."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        for name in ("videos_KE", "texts_KE"):
            self.register_buffer(name, F.normalize(torch.randn(size, width), dim=-1))
        self.register_buffer("clips_K", torch.full((size,), NO_CLIP))

    def behind(self, videos_GE: Tensor, texts_GE: Tensor, clips_G: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of a batch, and those of the queue behind them."""
        kept = (self.videos_KE, self.texts_KE, self.clips_K)
        videos, texts, clips = (
            torch.cat([new, old]) for new, old in zip((videos_GE, texts_GE, clips_G), kept, strict=True)
        )
        return videos, texts, clips

    @torch.no_grad()
    def keep(self, videos_KE: Tensor, texts_KE: Tensor, clips_K: Tensor) -> None:
        """Keep the first of these rows, as many as the queue has."""
        size = len(self.clips_K)
        for kept, rows in ((self.videos_KE, videos_KE), (self.texts_KE, texts_KE), (self.clips_K, clips_K)):
            kept.copy_(rows[:size])


class ImageTextModule(nn.Module):
    """A network with a momentum copy, a queue, and the scale of the logits.

    In training it returns `PairOutputs`, in evaluation the embeddings of texts and videos: unit features [Q, E] and
    tokens [Q, W] of texts; unit features [B, E], tokens [B, S, D] and the mask [B, T] of videos, if there is one.
    """

    bias = None

    def __init__(
        self,
        network: nn.Module,
        matching: MeanMatching,
        *,
        logit_scale: Tensor,
        largest_logit_scale: float,
        process: ProcessGroup,
        queue: int,
        momentum: float,
        soft_labels: float,
    ) -> None:
        """Combine them.

        `logit_scale` is the logarithm of the scale, `queue` the number of earlier clips, `momentum` the share of the
        momentum encoder that stays in a step, `soft_labels` the share of what it finds similar in the labels.
        """
        super().__init__()
        self.network: Any = network
        self.matching, self.process = matching, process
        self.scale = LogitScale(logit_scale, largest_logit_scale)
        self.queue = FeatureQueue(queue, self.network.output_dim)
        self.kept_share, self.soft_labels = momentum, soft_labels

    def forward(self, features: Any, targets: Texts) -> Any:
        """See the class.

        Raises:
            InputError: In training, a clip has no caption.
        """
        if self.training:
            check_captions(features, targets)
            self.network.update_momentum(self.kept_share)
        seen_BTPD = self.network.see(features)
        video_BE = self._video(self.network.project(seen_BTPD), features)
        seen_BSD = seen_BTPD.flatten(1, 2)
        mask = () if features.frame_mask_BT is None else (features.frame_mask_BT,)
        if not self.training:
            return self.embed_texts(targets.tokens_QW), (video_BE, seen_BSD.float(), *mask)
        text_BE = self._text(self.network.text(targets.tokens_QW), targets.tokens_QW)
        contrast = self._contrast(video_BE, text_BE, features, targets)
        pairs = Pairs(targets.tokens_QW, torch.arange(len(seen_BSD), device=seen_BSD.device), seen_BSD, *mask)
        with autocast_off(video_BE.device.type):
            cosines_BB = text_BE.detach() @ video_BE.detach().t() * self.scale()
        return PairOutputs(*contrast, self.network.match(with_hard_negatives(pairs, cosines_BB)))

    def read(self, features: Any, targets: Texts) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features of frames [B, T, E] and of words [Q, W, E], and a mask [B, T] of the frames, or None for no mask."""
        frames_BTE, words_QWE = self.network(features, targets.tokens_QW)
        return frames_BTE, words_QWE, features.frame_mask_BT

    def embed_texts(self, tokens_QW: Tensor) -> Embeddings:
        """Unit features [Q, E] of texts, and their tokens."""
        return self._text(self.network.text(tokens_QW), tokens_QW), tokens_QW

    @torch.no_grad()
    def score_pairs(self, tokens_XW: Tensor, video: Embeddings) -> Tensor:
        """How much each text is about one video [X], fp32: a logit of the head. `video` has one row."""
        rows = torch.zeros(len(tokens_XW), dtype=torch.int64, device=tokens_XW.device)
        seen_BSD, *mask = video[1:]
        return self.network.match(Pairs(tokens_XW, rows, seen_BSD, *mask))[:, 1]

    def _contrast(
        self, video_BE: Tensor, text_BE: Tensor, features: Any, targets: Texts
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The first four of `PairOutputs`; the batch enters the queue."""
        own_B = torch.arange(len(video_BE), device=video_BE.device) if targets.clips_B is None else targets.clips_B
        with torch.no_grad():
            slow_video_BE = self._video(
                self.network.project(self.network.see(features, with_momentum=True), with_momentum=True), features
            )
            words_BWE = self.network.text(targets.tokens_QW, with_momentum=True)
            slow_text_BE = self._text(words_BWE, targets.tokens_QW)
            slow_video_GE, slow_text_GE, clips_G = (
                gather_rows(each, self.process) for each in (slow_video_BE, slow_text_BE, own_B)
            )
            videos_KE, texts_KE, clips_K = self.queue.behind(slow_video_GE, slow_text_GE, clips_G)
            is_own_BK = (own_B[:, None] == clips_K).float()
            hard_BK = is_own_BK / is_own_BK.sum(dim=1, keepdim=True)
        with autocast_off(video_BE.device.type):
            scale = self.scale()
            logits = (video_BE @ texts_KE.t() * scale, text_BE @ videos_KE.t() * scale)
            slow = (slow_video_BE @ texts_KE.t() * scale, slow_text_BE @ videos_KE.t() * scale)
            soft = [torch.lerp(hard_BK, each.detach().softmax(dim=1), self.soft_labels) for each in slow]
        self.queue.keep(videos_KE, texts_KE, clips_K)
        return *logits, soft[0], soft[1]

    def _video(self, frames_BTE: Tensor, features: Any) -> Tensor:
        with autocast_off(frames_BTE.device.type):
            return self.matching.embed_videos(frames_BTE, features.frame_mask_BT)[0]

    def _text(self, words_QWE: Tensor, tokens_QW: Tensor) -> Tensor:
        with autocast_off(words_QWE.device.type):
            return self.matching.embed_texts(words_QWE, tokens_QW)[0]


def with_hard_negatives(pairs: Pairs, logits_BB: Tensor) -> Pairs:
    """Each text with its own video; with another one; and each video with another text. One clip alone has no others.

    Others are drawn with probabilities proportional to the exponential of their logits with the text or the video.
    """
    clips = len(logits_BB)
    if clips == 1:
        return pairs
    is_own_BB = torch.eye(clips, dtype=torch.bool, device=logits_BB.device)
    others_BB = logits_BB.masked_fill(is_own_BB, float("-inf"))
    video_B, text_B = (torch.multinomial(each.softmax(dim=1), 1)[:, 0] for each in (others_BB, others_BB.t()))
    tokens_XW = torch.cat([pairs.tokens_XW, pairs.tokens_XW, pairs.tokens_XW[text_B]])
    videos_X = torch.cat([pairs.videos_X, video_B, pairs.videos_X])
    return pairs._replace(tokens_XW=tokens_XW, videos_X=videos_X)


class ImageTextVideo(TextVideo):
    """Text-video retrieval whose best candidates are scored again, pair by pair; a search compares cosines alone."""

    searched = 1

    def __init__(self, *, candidates: int, **options: Any) -> None:
        """`candidates` are scored again; `options` are those of `TextVideo`."""
        super().__init__(**options)
        self.candidates = candidates

    def targets(self, batch: Any) -> Texts:
        """The batch's captions as tokens, and which clips of the list it has."""
        return replace(super().targets(batch), clips_B=batch.indices_B)

    def loss(self, outputs: PairOutputs, targets: Texts) -> Tensor:
        """The mean contrastive loss of both directions plus the mean loss of pairs, times this worker's clips."""
        to_texts = F.cross_entropy(outputs.to_texts_BK, outputs.labels_of_videos_BK)
        to_videos = F.cross_entropy(outputs.to_videos_BK, outputs.labels_of_texts_BK)
        pairs, clips = outputs.pairs_X2, len(outputs.to_texts_BK)
        is_own_X = (torch.arange(len(pairs), device=pairs.device) < clips).long()
        return ((to_texts + to_videos) / 2 + F.cross_entropy(pairs, is_own_X)) * len(targets.tokens_QW)

    def collector(
        self, module: Any, videos: int, report_progress: Callable[[str, int, int], None] | None = None
    ) -> PairScores:
        """Collects embeddings, compares unit features, and scores the best candidates again."""

        def first_stage(gallery: Embeddings) -> tuple[Embeddings, Rescorer]:
            rescorer = PairRescorer(
                module.score_pairs, gallery, candidates=self.candidates, report_progress=report_progress
            )
            return gallery[:1], rescorer

        return PairScores(module, self, videos=videos, report_progress=report_progress, first_stage=first_stage)
