"""BIKE's classifier (Wu et al., 2023, arXiv 2301.00182): the words of a class choose frames of the video.

Legend: B clips, T frames, C classes, W tokens of a text, E channels of the space shared with texts, G clips of all
workers' batches.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.data.streams.batch import NO_LABEL
from side4video.engine.process_group import ProcessGroup, gather_rows
from side4video.models.layers.precision import autocast_off
from side4video.models.towers.text_tower import TextFeatures

MAX_SIMILARITIES = 1 << 24
"""Maximum number of similarities of words with frames in memory, outside of training."""
TARGET_SHARPNESS = 10.0
"""Factor of the indicators of equal labels inside the softmax of the targets (the authors' code)."""

UNLABELLED = -1e4
"""Logit of a clip without a label: its share is zero."""


class BatchLogits(NamedTuple):
    """Training outputs: how similar each clip of the batch is to the text of each clip's class."""

    logits_GG: Tensor
    labels_G: Tensor


class SpottingHead(nn.Module):
    """Similarities of clips with classes, whose frames are weighted by their similarity to the words of the class.

    The weights are the mean over all places of a text, those after its end too, of a softmax over the frames (the
    authors' code). The weighted sum of frames is not normalised again. The scale is trained, and used in training
    alone.
    """

    is_pretrained = True
    words_CWE: Tensor
    features_CE: Tensor

    def __init__(self, texts: TextFeatures, *, temperature: float) -> None:
        """`texts` hold the features of all words; `temperature` is that of the softmax over frames.

        Raises:
            ValueError: The texts have no features of words.
        """
        super().__init__()
        if texts.words_CWE is None:
            raise ValueError("the classifier reads the words of the classes' texts")
        self.temperature = temperature
        self.register_buffer("words_CWE", F.normalize(texts.words_CWE.float(), dim=-1))
        self.register_buffer("features_CE", F.normalize(texts.features_CE.float(), dim=-1))
        self.logit_scale = nn.Parameter(texts.logit_scale.detach().float().clone())

    def forward(self, frames_BTE: Tensor) -> Tensor:
        """Frame features to similarities of clips and classes [B, C], in fp32 and without the scale."""
        with autocast_off(frames_BTE.device.type):
            frames_BTE = F.normalize(frames_BTE.to(self.features_CE.dtype), dim=-1)
            of_one_class = self.words_CWE.shape[1] * frames_BTE.shape[0] * frames_BTE.shape[1]
            size = max(1, MAX_SIMILARITIES // max(1, of_one_class))
            parts = zip(self.words_CWE.split(size), self.features_CE.split(size), strict=True)
            return torch.cat([self._similarities(frames_BTE, *part) for part in parts], dim=1)

    def of_labels(self, frames_GTE: Tensor, labels_G: Tensor) -> Tensor:
        """Scaled similarities [G, G] of clips with the texts of labels."""
        with autocast_off(frames_GTE.device.type):
            frames_GTE = F.normalize(frames_GTE.to(self.features_CE.dtype), dim=-1)
            rows_G = labels_G.clamp(min=0)
            similarities_GG = self._similarities(frames_GTE, self.words_CWE[rows_G], self.features_CE[rows_G])
            return similarities_GG * self.logit_scale.exp()

    def _similarities(self, frames_BTE: Tensor, words_CWE: Tensor, features_CE: Tensor) -> Tensor:
        of_words_CWBT = torch.einsum("cwe,bte->cwbt", words_CWE, frames_BTE) / self.temperature
        weights_CBT = of_words_CWBT.softmax(dim=-1).mean(dim=1)
        return torch.einsum("cbt,bte,ce->bc", weights_CBT, frames_BTE, features_CE)


class SpottingModule(nn.Module):
    """A network that gives frame features, and the head. In training, clips meet the texts of the whole batch."""

    def __init__(self, network: nn.Module, head: SpottingHead, process: ProcessGroup) -> None:
        """`network` maps frozen features to frame features [B, T, E]."""
        super().__init__()
        self.network, self.head, self.process = network, head, process

    def forward(self, features: Any, targets: Any = None) -> Tensor | BatchLogits:
        """Similarities with all classes [B, C]; in training, those with the texts of the batch."""
        frames_BTE = self.network(features)
        if not self.training:
            return self.head(frames_BTE)
        frames_GTE, labels_G = (gather_rows(each, self.process) for each in (frames_BTE, targets))
        return BatchLogits(self.head.of_labels(frames_GTE, labels_G), labels_G)


def batch_loss(outputs: BatchLogits, clips: int) -> Tensor:
    """The divergence of the batch's softmaxes from those of equal labels, mean of both directions, times `clips`.

    Clips without a label are left out.
    """
    labels_G = outputs.labels_G
    labelled_G = labels_G != NO_LABEL
    # Finite, so that a share of zero times it is zero.
    logits_GG = outputs.logits_GG.float().masked_fill(~(labelled_G & labelled_G[:, None]), UNLABELLED)
    same_GG = (labels_G[:, None] == labels_G).float()
    targets_GG = (TARGET_SHARPNESS * same_GG).masked_fill(~labelled_G, UNLABELLED).softmax(dim=-1)
    total = logits_GG.new_zeros(())
    for each_GG in (logits_GG, logits_GG.t()):
        rows_G = F.kl_div(each_GG.log_softmax(dim=-1), targets_GG, reduction="none").sum(dim=-1)
        total = total + (rows_G * labelled_G).sum()
    return total / (2 * labelled_G.sum().clamp(min=1)) * clips
