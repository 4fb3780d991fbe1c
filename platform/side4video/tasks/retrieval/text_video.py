"""Text-video retrieval: the trained module, the loss, and the collector of an evaluation.

Legend: B clips of a batch, Q texts, W tokens of a text, T frames, E channels, G clips of all workers' batches.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.core.errors import InputError
from side4video.core.metric import MetricSpec
from side4video.engine.process_group import ProcessGroup, gather_rows
from side4video.models.layers.precision import autocast_off
from side4video.models.networks.contract import Descriptions
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.tasks.retrieval.matching import Embeddings, Matching
from side4video.tasks.retrieval.metrics import METRICS
from side4video.tasks.retrieval.pair_scores import PairScores
from side4video.tasks.retrieval.summed import SummedMatching

TOKEN_CACHE_SIZE = 200_000
"""Maximum number of texts whose tokens are cached: tokenising a text is the slowest step here."""


@dataclass(frozen=True)
class Texts:
    """The captions of a batch, as tokens."""

    tokens_QW: Tensor
    owners_Q: Tensor
    """The clip of the batch that each text belongs to."""
    captions: tuple[str, ...] = ()
    descriptions: Descriptions | None = None
    """Sentences about each clip, where the method reads them."""
    clips_B: Tensor | None = None
    """The index of each clip in the list, where the task reads it."""


def check_captions(features: Any, targets: Texts) -> None:
    """Check that each clip of a training batch has a caption.

    Raises:
        InputError: One has none.
    """
    clips, texts = len(features.video_BTCHW), len(targets.tokens_QW)
    if texts != clips:
        raise InputError(
            "data.dataset",
            f"a batch of {clips} training clips with {texts} captions",
            allowed="retrieval: a caption for each clip",
            fix="name the captions, or leave out clips without one",
        )


class LogitScale(nn.Module):
    """CLIP's learned factor from cosines to logits."""

    is_pretrained = True
    """Marks a pretrained weight, which can have its own learning rate."""

    def __init__(self, logarithm: Tensor, largest: float) -> None:
        super().__init__()
        self.logarithm, self.largest = nn.Parameter(logarithm.clone()), math.log(largest)

    def forward(self) -> Tensor:
        """The factor, limited to `largest`, with the gradient of the unlimited one (the authors clamp the weight)."""
        limited = self.logarithm + (self.logarithm.clamp(max=self.largest) - self.logarithm).detach()
        return limited.exp()


class LogitBias(nn.Module):
    """SigLIP's learned summand of the logits."""

    is_pretrained = True
    """Marks a pretrained weight, which can have its own learning rate."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(value))

    def forward(self, logits: Tensor) -> Tensor:
        """The logits plus the summand."""
        return logits + self.bias


class RetrievalModule(nn.Module):
    """A network for texts and videos, a matching, and the scale of the logits.

    In training it returns the logits of all workers' texts and videos, in evaluation the embeddings of both.
    """

    def __init__(
        self,
        network: nn.Module,
        matching: Matching,
        *,
        logit_scale: Tensor,
        largest_logit_scale: float,
        process: ProcessGroup,
        logit_bias: float | None = None,
    ) -> None:
        """Combine them.

        `logit_scale` is the logarithm of the initial scale; `largest_logit_scale` is the maximum of the scale.
        `logit_bias` is the initial value of a learned summand of the logits; None for none.
        """
        super().__init__()
        self.network, self.matching = network, matching
        self.scale, self.process = LogitScale(logit_scale, largest_logit_scale), process
        self.bias = None if logit_bias is None else LogitBias(logit_bias)

    def forward(self, features: Any, targets: Texts) -> Any:
        """Logits [G, G], or embeddings of texts and videos.

        Of a matching that is a sum, the logits of each summand [K, G, G].

        Raises:
            InputError: In training, a clip has no caption.
        """
        if self.training:
            check_captions(features, targets)
        frames_BTE, words_QWE, mask_BT = self.read(features, targets)
        matching: Matching = self.matching
        with autocast_off(frames_BTE.device.type):
            texts = matching.embed_texts(words_QWE, targets.tokens_QW)
            videos = matching.embed_videos(frames_BTE, mask_BT)
            if not self.training:
                return texts, videos
            texts, videos = (tuple(gather_rows(each, self.process) for each in side) for side in (texts, videos))
            if isinstance(matching, SummedMatching):
                similarities = torch.stack(matching.compare_each(texts, videos))
            else:
                similarities = matching.compare(texts, videos)
            logits = similarities * self.scale() if matching.is_scaled else similarities
            return logits if self.bias is None else self.bias(logits)

    def read(self, features: Any, targets: Texts) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features of frames [B, T, E] and of words [Q, W, E], and a mask [B, T] of the frames, or None for no mask."""
        if targets.descriptions is not None:
            return self.network(features, targets.tokens_QW, targets.descriptions)
        frames_BTE, words_QWE = self.network(features, targets.tokens_QW)
        return frames_BTE, words_QWE, features.frame_mask_BT

    def embed_texts(self, tokens_QW: Tensor) -> Embeddings:
        """Embeddings of texts."""
        words_QWE = self.network.text(tokens_QW)  # type: ignore[operator, union-attr]
        with autocast_off(words_QWE.device.type):
            return self.matching.embed_texts(words_QWE, tokens_QW)


class TextVideo:
    """Text-video retrieval in both directions."""

    main_metric = METRICS[0]
    """The metric that selects the best epoch."""
    searched: int | None = None
    """How many tensors of a video's embedding a search keeps; None for all."""

    def __init__(
        self,
        *,
        words: int,
        tokenizer: TextTokenizer,
        loss: str = "cross-entropy",
        rescoring: Any,
        keep: str,
        cache_size: int = TOKEN_CACHE_SIZE,
        extra_metrics: tuple[MetricSpec, ...] = (),
        described: int = 0,
    ) -> None:
        """Create the task.

        `words` is the number of tokens of a text, `loss` the training loss, `keep` the precision of the stored
        embeddings in an evaluation, `extra_metrics` those of plug-ins, `described` the maximum number of sentences
        about each clip that the network reads.
        """
        self.extra_metrics, self.described = extra_metrics, described
        self.cache_size = cache_size
        self.words, self.tokenizer, self.rescoring, self.keep = words, tokenizer, rescoring, keep
        self.loss_kind = loss
        self._tokens: dict[str, Tensor] = {}
        self.bank: tuple[str, ...] = ()
        """Training captions for the querybank."""

    def targets(self, batch: Any) -> Texts:
        """The batch's captions as tokens, on its device."""
        captions = tuple(caption for each in batch.captions for caption in each)
        owners = [row for row, each in enumerate(batch.captions) for _ in each]
        device = batch.labels_B.device
        owners_Q = torch.tensor(owners, dtype=torch.int64, device=device)
        return Texts(self.tokenize(captions).to(device), owners_Q, captions, self.descriptions_of(batch))

    def descriptions_of(self, batch: Any) -> Descriptions | None:
        """The sentences about each clip of a batch, filled up to the same number, on its device.

        None where the network reads none.
        """
        if not self.described:
            return None
        found: Sequence[tuple[str, ...]] = batch.descriptions or [()] * len(batch.labels_B)
        # At least one each: a clip without a sentence has an empty one.
        filled = [each[: self.described] or ("",) for each in found]
        most = max(map(len, filled), default=1)
        tokens_QW = self.tokenize(tuple(text for each in filled for text in (*each, *[""] * (most - len(each)))))
        mask_BM = torch.tensor([[n < len(each) for n in range(most)] for each in filled])
        device = batch.labels_B.device
        return Descriptions(tokens_QW.unflatten(0, (-1, most)).to(device), mask_BM.to(device))

    def tokenize(self, captions: tuple[str, ...]) -> Tensor:
        """Tokens [Q, W] of texts."""
        if missing := [caption for caption in dict.fromkeys(captions) if caption not in self._tokens]:
            if len(self._tokens) > self.cache_size:
                self._tokens.clear()
                missing = list(dict.fromkeys(captions))
            self._tokens |= zip(missing, self.tokenizer(missing, words=self.words), strict=True)
        rows = [self._tokens[caption] for caption in captions]
        return torch.stack(rows) if rows else torch.empty((0, self.words), dtype=torch.int64)

    def mock_targets(self, clips: int, device: torch.device | str) -> Texts:
        """Texts of the maximum length, for a dry run."""
        tokens = torch.ones((clips, self.words), dtype=torch.int64, device=device)
        tokens[:, -1] = 2  # the end token has the largest id
        owners_Q = torch.arange(clips, device=device)
        if not self.described:
            return Texts(tokens, owners_Q)
        tokens_BMW = tokens.unsqueeze(1).repeat(1, self.described, 1)
        mask_BM = torch.ones((clips, self.described), dtype=torch.bool, device=device)
        return Texts(tokens, owners_Q, (), Descriptions(tokens_BMW, mask_BM))

    def loss(self, outputs: Any, targets: Texts) -> Tensor:
        """The loss of a clip, averaged over all workers' clips, times this worker's number of clips.

        Either the mean of both directions' cross-entropies, or the sum of the sigmoid losses of a clip's pairs. Of a
        matching that is a sum, the mean loss of its summands, each counted by its own logits alone.

        `outputs` are logits [G, G], or [K, G, G] of K summands.
        """
        logits_GG: Tensor = outputs
        if logits_GG.ndim == 3:
            return torch.stack([self.loss(each_GG, targets) for each_GG in logits_GG]).mean()
        if self.loss_kind == "sigmoid":
            signs_GG = 2 * torch.eye(len(logits_GG), device=logits_GG.device) - 1
            return -F.logsigmoid(signs_GG * logits_GG).sum() / len(logits_GG) * len(targets.tokens_QW)
        own_G = torch.arange(len(logits_GG), device=logits_GG.device)
        both = F.cross_entropy(logits_GG, own_G) + F.cross_entropy(logits_GG.t(), own_G)
        return both / 2 * len(targets.tokens_QW)

    def collector(
        self, module: nn.Module, videos: int, report_progress: Callable[[str, int, int], None] | None = None
    ) -> PairScores:
        """Collects embeddings, and ranks them."""
        return PairScores(module, self, videos=videos, report_progress=report_progress)
