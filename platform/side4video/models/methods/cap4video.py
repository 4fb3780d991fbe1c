"""Cap4Video (Wu et al., 2023, arXiv 2301.00184): sentences about each video help to find it.

The sentences come from a file (`data.descriptions`); the authors generated them with ZeroCap. They are used in three
ways: frames attend to them, texts are compared with them too (`scores`), and one of them can be a training caption
(`data.descriptions.as_captions`).
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from side4video.core.bounds import Layers
from side4video.models.method import MethodSpec

if TYPE_CHECKING:
    from side4video.models.networks.cap4video import Cap4Video
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.text_tower import TextTower

Scores = Literal["video", "sentences", "both"]
MATCHINGS: dict[Scores, tuple[str, ...]] = {
    "video": ("query-weighted", "mean", "token-wise"),
    "sentences": ("mean",),
    "both": ("described",),
}
"""The kinds of `task.matching` that are defined for each value of `scores`."""
MOST_SENTENCES = 30
"""Sentences of a video (the authors' code)."""


class FrozenCap4VideoSpec(MethodSpec):
    """Cap4Video beside a frozen image tower, whose final norm and projection are trained (the authors train it all)."""

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)
    kind: Literal["cap4video-frozen"] = "cap4video-frozen"
    scores: Scores = "video"
    """What a text is compared with. `video`: the frames, which attend to the sentences. `sentences`: the sentences
    alone, with `task.matching: {kind: mean, normalize_frames: false}`. `both`: the sum of the two in one model, with
    `task.matching: {kind: described}`; the authors train a model for each."""
    layers: Layers = 4
    """Blocks over the frames (the authors: 4)."""
    sentence_layers: Layers = 2
    """Transformer layers over the sentences, for `sentences` and `both` (the authors: 2)."""

    @property
    def matchings(self) -> tuple[str, ...]:
        """Those of `scores`."""
        return MATCHINGS[self.scores]

    @property
    def matching_reason(self) -> str:
        """`scores` decides."""
        return f"method.scores is {self.scores}"

    @property
    def matching_fix(self) -> str:
        """Sentences alone are compared without normalising each of them (the authors' code)."""
        return "{kind: mean, normalize_frames: false}" if self.scores == "sentences" else super().matching_fix

    @property
    def descriptions(self) -> int:
        """30."""
        return MOST_SENTENCES

    def build_pair(self, tower: "FrozenTower", text: "TextTower", *, frames: int) -> "Cap4Video":
        """The networks of `scores`."""
        from side4video.models.networks.cap4video import Cap4Video, DescribedFrames, SentenceEncoder

        width, has_video = tower.shape.output_dim, self.scores != "sentences"
        own = DescribedFrames(text, layers=self.layers, frames=frames) if has_video else None
        sentences = SentenceEncoder(width, layers=self.sentence_layers) if self.scores != "video" else None
        return Cap4Video(self._frames(tower, text), text, frames=own, sentences=sentences)

    def _frames(self, tower: "FrozenTower", text: "TextTower") -> Any:  # noqa: ARG002
        from side4video.models.networks.pair import FrozenFrames

        return FrozenFrames(tower)


class Cap4VideoSpec(FrozenCap4VideoSpec):
    """Cap4Video: both towers are trained, except for their embeddings and the norm before the first block.

    The recipe is CLIP4Clip's.
    """

    packable: ClassVar[bool] = False
    tower_precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    kind: Literal["cap4video"] = "cap4video"  # type: ignore[assignment] the union selects by it
    scores: Scores = "video"
    """As in `cap4video-frozen`."""
    layers: Layers = 4
    """As in `cap4video-frozen`."""
    sentence_layers: Layers = 2
    """As in `cap4video-frozen`."""

    def _frames(self, tower: "FrozenTower", text: "TextTower") -> Any:
        from side4video.models.networks.clip4clip import TrainedFrames, freeze_entrance

        freeze_entrance(text)
        return TrainedFrames(tower)
