"""What the document of every backbone has: how its weights are held, and how the tower is built from it."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from side4video.core.bounds import Frames
from side4video.core.errors import InputError
from side4video.core.spec import Spec, wrong
from side4video.models.backbones.shape import TowerShape

if TYPE_CHECKING:
    from side4video.models.towers.frozen_tower import FrozenTower
    from side4video.models.towers.load import TowerWeights
    from side4video.models.towers.text_tower import TextFeatures, TextTower
    from side4video.models.towers.trunk import Trunk


class BackboneSpec(Spec):
    """The base of the backbones' documents. A subclass has `kind`, `weights`, `shape()` and `build_trunk()`."""

    precision: Literal["fp32", "bf16", "8-bit"] = "bf16"
    """Precision of the frozen weights and of the tokens; `8-bit` stores the blocks' matrices in 8 bits and computes in
    bf16."""
    chunk_frames: Frames | Literal["auto", "all"] = "auto"
    """Frames that pass through a block at a time. Fewer need less memory; the tokens are the same up to rounding.
    `auto`: as many as keep a block's intermediate results under 192 MiB."""
    kept_tokens: Literal["own-precision", "8-bit"] = "own-precision"
    """How the tokens that a student reads are stored until its backward: in the tower's precision, or in eight bits."""

    @property
    def has_text_tower(self) -> bool:
        """Whether the backbone has a text tower."""
        return self.most_words > 0

    @property
    def reads_other_languages(self) -> bool:
        """Whether its text tower was made for other languages than English, too."""
        return False

    @property
    def most_words(self) -> int:
        """Maximum number of tokens of a text; 0 without a text tower."""
        return 0

    @property
    def exact_words(self) -> int:
        """Tokens that every text must have, because the tower reads the last position; 0 if there may be fewer."""
        return 0

    @property
    def has_causal_texts(self) -> bool:
        """Whether a token of a text sees only those before it, as in CLIP."""
        return True

    @property
    def has_cross_attention(self) -> bool:
        """Whether the text encoder can attend to the tokens of frames, as BLIP's."""
        return False

    @property
    def without_texts(self) -> str:
        """Why there is no text tower, where the library has one that cannot be used; else empty."""
        return ""

    @property
    def library_model(self) -> str:
        """The library's name of the model, by which its pretrained weights are found; empty if it has none."""
        return getattr(self, "model", "")

    def shape(self) -> TowerShape:
        """The tower's sizes and conventions, without torch."""
        raise NotImplementedError

    def build_trunk(self) -> "Trunk":
        """The tower's blocks on the meta device, without weights."""
        raise NotImplementedError

    def text_config(self) -> dict[str, Any]:
        """The configuration of the text tower, as open_clip writes it.

        Raises:
            InputError: There is none.
        """
        raise InputError(
            "backbone", f"{getattr(self, 'kind', '')} has no text tower", fix="use backbone.kind open-clip"
        )

    def check(self, where: str = "backbone") -> None:
        """Check on this machine that the file of weights exists.

        Raises:
            InputError: It does not, or a variable in its path is not set.
        """
        self._weights.check(f"{where}.weights")

    def build(self, device: str = "cpu", given: "TowerWeights | None" = None) -> "FrozenTower":
        """The tower on `cpu`, `cuda` or `meta` (sizes without weights).

        `given` are weights from `read_weights`; if it is None, they are read.

        Raises:
            InputError: The weights are missing, unreadable, another tower's, or cannot be downloaded.
        """
        from side4video.models.towers.load import load_tower

        return load_tower(
            self.build_trunk(),
            self.shape(),
            weights=self._weights,
            model=self.library_model,
            precision=self.precision,
            chunk_frames=self.chunk_frames,
            kept_tokens=self.kept_tokens,
            device=device,
            given=given,
        )

    def read_weights(self) -> "TowerWeights":
        """The tower's weights on the CPU, to be shared with other processes.

        Raises:
            InputError: The weights are missing, unreadable, another tower's, or cannot be downloaded.
        """
        from side4video.models.towers.load import read_weights

        return read_weights(
            self.build_trunk(), self.shape(), self._weights, model=self.library_model, precision=self.precision
        )

    def encode_texts(self, texts: Sequence[str], device: str = "cpu", *, with_words: bool = False) -> "TextFeatures":
        """The text tower's features of some texts; with `with_words`, those of all places too.

        Raises:
            InputError: There is no text tower, or the weights are missing, unreadable or hold none.
        """
        from side4video.models.towers.text_tower import encode_texts

        return encode_texts(
            self.text_config(),
            texts,
            weights=self._weights,
            model=self.library_model,
            device=device,
            with_words=with_words,
        )

    def build_text_tower(self, device: str = "cpu") -> "TextTower":
        """The text tower.

        Raises:
            InputError: There is no text tower, or the weights are missing, unreadable or hold none.
        """
        from side4video.models.towers.text_tower import load_text_tower

        return load_text_tower(self.text_config(), weights=self._weights, model=self.library_model, device=device)

    @property
    def _weights(self) -> Any:
        """Every subclass has a field `weights`, each with its own kinds."""
        return getattr(self, "weights")  # noqa: B009 - the field is the subclass's


def check_model(
    name: str, models: Collection[str], refused: Mapping[str, str], *, library: str, listed_by: str, allowed: str
) -> None:
    """Check that a library has a model, and that the blocks of its image tower can be walked.

    `models` and, with reasons, `refused` are the library's. For errors: `library` is its name with its version,
    `listed_by` the function that lists its models, `allowed` which models are taken.

    Raises:
        ValueError: It has not, or they cannot.
    """
    if reason := refused.get(name, ""):
        raise ValueError(f"{name} · allowed: {allowed} · fix: take another; {reason}")
    if name not in models:
        near = difflib.get_close_matches(name, models, n=3)
        raise ValueError(
            f"{name!r}, which is no vision transformer of {library} · allowed: {len(models)} models · fix: "
            f"{'did you mean ' + ', '.join(near) + '?' if near else f'see {listed_by}'}"
        )


def check_frame_size(image_size: int, patch_size: int, model: str) -> None:
    """Check that patches tile a frame.

    Raises:
        PydanticCustomError: `image_size` is no multiple of `patch_size`.
    """
    if image_size % patch_size:
        nearest = max(1, round(image_size / patch_size)) * patch_size
        raise wrong(
            "backbone.image_size",
            f"{image_size}, and the patches of {model} have {patch_size} pixels",
            allowed=f"multiples of {patch_size}",
            fix=f"set it, and data.size, to {nearest}",
        )
