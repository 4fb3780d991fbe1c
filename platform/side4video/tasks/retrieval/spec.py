"""Text-video retrieval (section 3.4): the document of the task."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, PositiveFloat, model_validator

from side4video.core.bounds import Count, Few, Layers
from side4video.core.metric import MetricSpec
from side4video.core.spec import ADDED_LATER, Spec, wrong
from side4video.tasks.retrieval.metrics import METRICS

if TYPE_CHECKING:
    from torch import nn

    from side4video.models.towers.text_tower import TextTower
    from side4video.tasks.context import TaskContext
    from side4video.tasks.retrieval.image_text import ImageTextModule
    from side4video.tasks.retrieval.matching import Matching
    from side4video.tasks.retrieval.text_video import RetrievalModule, TextVideo


SIGLIP_BIAS = -10.0
"""Initial summand of the logits for `loss: sigmoid`, where the text tower has none (Zhai et al., 2023, section 3.2)."""


class MeanMatchingSpec(Spec):
    """The cosine of the text and the mean of the frames (CLIP4Clip's `meanP`)."""

    kind: Literal["mean"] = "mean"
    normalize_frames: Annotated[bool, ADDED_LATER] = True
    """Whether each frame has length one before the mean (CLIP4Clip), or not (STAN, Cap4Video's sentences)."""


class TokenMatchingSpec(Spec):
    """Each word with its best frame and each frame with its best word (section 3.4)."""

    kind: Literal["token-wise"] = "token-wise"
    weighted: bool = True
    """Whether the weights of words and frames are learned (the authors' code), or all equal."""
    padding: Literal["ignored", "zero"] = "ignored"
    """Tokens after a text's end: `ignored`, or similarity `zero` with every frame, which is then the minimum of a
    frame's best word (the authors' code)."""


class TightMatchingSpec(Spec):
    """Blocks over a text and the frames of a video together (CLIP4Clip's `tightTransf`)."""

    kind: Literal["tight"] = "tight"
    layers: Layers = 4
    """Blocks (authors: 4)."""


class QueryWeightedMatchingSpec(Spec):
    """Cosines of the text with each frame; frames that are more similar to the text count more (TS2-Net)."""

    kind: Literal["query-weighted"] = "query-weighted"


class TemporalAlignmentMatchingSpec(Spec):
    """CLIP2Video's: blocks over frames and the differences between them, and words and frames aligned to centres.

    Both similarities count half, and each has a loss of its own.
    """

    kind: Literal["temporal-alignment"] = "temporal-alignment"
    layers: Layers = 4
    """Blocks over frames and differences (authors: 4)."""
    centres: Few = 5
    """Learned centres that words and frames are aligned to (authors: 5)."""


class DescribedMatchingSpec(Spec):
    """Cap4Video's sum: the token-wise similarity with the frames, and the cosine with sentences about the video.

    Each has a loss of its own. The authors train two models, one for each, and add their similarities.
    """

    kind: Literal["described"] = "described"
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.27
    """Share of the sentences in the sum (authors: 0.27 on MSR-VTT)."""


class ImageTextMatchingSpec(Spec):
    """BLIP's: cosines rank, and the best candidates are scored again by an encoder that sees text and video together.

    Both have a loss of their own. Cosines are compared with the features of a momentum encoder, also of earlier
    batches; labels are softened by what it finds similar. Pairs are right ones, and one hard negative in each
    direction.
    """

    kind: Literal["image-text-matching"] = "image-text-matching"
    candidates: Count = 128
    """Videos of each text, and texts of each video, that are scored again in an evaluation (authors: 128 or 256)."""
    queue: Count = 57_600
    """Earlier clips whose features are compared too (authors: 57,600)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Share of the momentum encoder that stays in a step (authors: 0.995)."""
    soft_labels: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of the momentum encoder's similarities in the labels (authors: 0.4)."""


MatchingSpec = Annotated[
    MeanMatchingSpec
    | TokenMatchingSpec
    | TightMatchingSpec
    | QueryWeightedMatchingSpec
    | TemporalAlignmentMatchingSpec
    | DescribedMatchingSpec
    | ImageTextMatchingSpec,
    Field(discriminator="kind"),
]


class NoRescoring(Spec):
    """Similarities are ranked unchanged."""

    kind: Literal["none"] = "none"


class DualSoftmaxSpec(Spec):
    """Each similarity times its softmax over all the queries (Cheng et al., 2021, arXiv 2109.04290).

    It uses the whole test set at once, so its metrics are not comparable with others.
    """

    kind: Literal["dual-softmax"] = "dual-softmax"
    temperature: PositiveFloat = 100.0
    """Factor of the similarities inside the softmax."""


class QuerybankSpec(Spec):
    """Text-to-video similarities normalised by those of training captions (Bogolin et al., 2022, arXiv 2112.12777)."""

    kind: Literal["querybank"] = "querybank"
    captions: Count = 5000
    """Maximum number of training captions in the bank, evenly spaced in their list."""
    temperature: PositiveFloat = 20.0
    """Factor of the similarities inside the exponential (authors: 20)."""

    def select(self, captions: Sequence[str]) -> tuple[str, ...]:
        """The bank: captions evenly spaced in their list."""
        size = min(self.captions, len(captions))
        return tuple(captions[number * len(captions) // size] for number in range(size))


Rescoring = Annotated[NoRescoring | DualSoftmaxSpec | QuerybankSpec, Field(discriminator="kind")]


class RetrievalSpec(Spec):
    """Text-video retrieval: symmetric cross-entropy over the whole batch, recall at 1, 5 and 10.

    Each step has one caption per video. All other videos of the batch, on all workers, are negatives.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    """The metrics of an evaluation, from texts to videos and from videos to texts; the first one selects the best
    epoch."""
    method_output: ClassVar[str] = "retrieval"
    """It takes methods that are defined for this task."""
    kind: Literal["retrieval"] = "retrieval"
    words: Annotated[int, Field(ge=3, le=77)] = 32
    """Tokens of a text, start and end included (authors: 32); longer texts are cut."""
    matching: MatchingSpec = TokenMatchingSpec()
    """How the similarity of a text and a video is computed."""
    text: Literal["as-authors", "trained", "frozen"] = "as-authors"
    """Whether the text tower is trained: `as-authors` as the method's authors do (`side4video`, `clip4clip`: yes)."""
    loss: Annotated[Literal["cross-entropy", "sigmoid"], ADDED_LATER] = "cross-entropy"
    """`cross-entropy`: each text against all videos of the batch, and each video against all texts (the authors);
    `sigmoid`: each pair of a text and a video by itself, with a learned summand of the logits (SigLIP: Zhai et al.,
    2023, arXiv 2303.15343)."""
    largest_logit_scale: PositiveFloat = 100.0
    """Maximum of the learned factor from cosines to logits (CLIP and the authors: 100; SigLIP's weights begin above
    it)."""
    rescoring: Rescoring = NoRescoring()
    """A change of an evaluation's similarities before they are ranked; its metrics have names of their own."""
    keep: Literal["fp32", "fp16"] = "fp32"
    """Precision of the stored features of test videos and texts in an evaluation."""

    @model_validator(mode="after")
    def pairs_have_a_loss_of_their_own(self) -> Self:
        """BLIP's matching has its own loss and its own second score, and its text encoder is frozen."""
        if self.matching.kind != "image-text-matching":
            return self
        for name, found, allowed in (
            ("loss", self.loss, "cross-entropy"),
            ("rescoring", self.rescoring.kind, "none"),
            ("text", self.text, "as-authors"),
        ):
            if found != allowed:
                raise wrong(
                    f"task.{name}",
                    f"{found}, and the matching is image-text-matching",
                    allowed=allowed,
                    fix="leave it out",
                )
        return self

    def assemble(self, context: "TaskContext") -> "tuple[TextVideo, RetrievalModule | ImageTextModule]":
        """The task and its trainable module, initialised from torch's current generator."""
        if isinstance(self.matching, ImageTextMatchingSpec):
            return self._assemble_pairs(context, self.matching)
        from side4video.tasks.retrieval.text_video import RetrievalModule, TextVideo

        text = context.text_tower()
        is_trained = context.method.trains_text if self.text == "as-authors" else self.text == "trained"
        text.requires_grad_(is_trained)
        matching = self._matching(text, frames=context.frames)
        network = context.method.build_pair(context.tower, text, frames=context.frames)
        module = RetrievalModule(
            cast("nn.Module", network),
            matching,
            logit_scale=text.logit_scale,
            largest_logit_scale=self.largest_logit_scale,
            process=context.process,
            logit_bias=self._initial_bias(text),
        )
        module.scale.requires_grad_(is_trained and matching.is_scaled)
        if module.bias is not None:
            module.bias.requires_grad_(is_trained)
        if not any(parameter.requires_grad for parameter in module.network.parameters()):
            module.requires_grad_(False)  # zero-shot trains nothing, the matching included
        task = TextVideo(loss=self.loss, described=context.method.descriptions, **self._common(context, text))
        if isinstance(self.rescoring, QuerybankSpec):
            task.bank = self.rescoring.select(context.training_captions())
        return task, module

    def _assemble_pairs(
        self, context: "TaskContext", matching: ImageTextMatchingSpec
    ) -> "tuple[TextVideo, ImageTextModule]":
        from side4video.tasks.retrieval.image_text import ImageTextModule, ImageTextVideo
        from side4video.tasks.retrieval.matching import MeanMatching

        text = context.text_tower().requires_grad_(False)
        module = ImageTextModule(
            cast("nn.Module", context.method.build_pair(context.tower, text, frames=context.frames)),
            MeanMatching(text.tokenizer, normalizes_frames=False),
            logit_scale=text.logit_scale,
            largest_logit_scale=self.largest_logit_scale,
            process=context.process,
            queue=matching.queue,
            momentum=matching.momentum,
            soft_labels=matching.soft_labels,
        )
        module.scale.requires_grad_(False)
        return ImageTextVideo(candidates=matching.candidates, **self._common(context, text)), module

    def _common(self, context: "TaskContext", text: "TextTower") -> dict[str, Any]:
        """What every task of retrieval is created with."""
        return {
            "words": self.words,
            "tokenizer": text.tokenizer,
            "rescoring": self.rescoring,
            "keep": self.keep,
            "extra_metrics": context.extra_metrics,
        }

    def _initial_bias(self, text: "TextTower") -> float | None:
        if self.loss != "sigmoid":
            return None
        return SIGLIP_BIAS if text.logit_bias is None else text.logit_bias

    def _matching(self, text: "TextTower", *, frames: int) -> "Matching":
        from side4video.tasks.retrieval.described import DescribedMatching
        from side4video.tasks.retrieval.matching import MeanMatching, TightMatching, TokenMatching
        from side4video.tasks.retrieval.query_weighted import QueryWeightedMatching
        from side4video.tasks.retrieval.temporal_alignment import TemporalAlignmentMatching

        spec = self.matching
        if isinstance(spec, MeanMatchingSpec):
            return MeanMatching(text.tokenizer, normalizes_frames=spec.normalize_frames)
        if isinstance(spec, QueryWeightedMatchingSpec):
            return QueryWeightedMatching(text.tokenizer)
        if isinstance(spec, TemporalAlignmentMatchingSpec):
            return TemporalAlignmentMatching(text, layers=spec.layers, centres=spec.centres, frames=frames)
        if isinstance(spec, DescribedMatchingSpec):
            return DescribedMatching(text, frames=frames, share=spec.share)
        if isinstance(spec, TokenMatchingSpec):
            return TokenMatching(text.output_dim, text.tokenizer, weighted=spec.weighted, padding=spec.padding)
        if isinstance(spec, TightMatchingSpec):
            return TightMatching(text, layers=spec.layers, frames=frames)
        raise TypeError(f"the matching {spec.kind} has a module of its own")
