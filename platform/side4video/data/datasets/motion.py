"""The built-in data set: short clips whose classes only the order of their frames tells apart.

Five pairs of classes. Both clips of a pair show the same scene: the second one's frames are the first one's in
reverse. The files are H.264 with every frame coded for itself, so even after decoding the two hold exactly the same
pictures, and a model that does not see the order can name the pair but not the class.

Made on first use, in seconds, under `$SIDE4VIDEO_HOME/data`; the same spec gives the same bytes.
"""

import csv
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from side4video.core.paths import home
from side4video.core.spec import Spec
from side4video.data.annotations.fingerprint import fingerprint_of
from side4video.data.clip import Clip, Split

PAIRS = (
    ("left", "right"),
    ("up", "down"),
    ("approach", "recede"),
    ("appear", "vanish"),
    ("clockwise", "anticlockwise"),
)
"""Each class and the one that is the same film run backwards."""

CLASSES = tuple(name for pair in PAIRS for name in pair)

GENERATOR_VERSION = 3
"""Raised whenever the same spec would give other bytes."""

COLUMNS = ("path", "label", "split", "group", "captions")
CAPTION_DIVIDER = " | "

Motion = Literal["left", "up", "approach", "appear", "clockwise"]
"""A pair of classes, by its forward class."""


class MotionSpec(Spec):
    """Textured objects that move over textured backgrounds; each class is another one reversed in time."""

    kind: Literal["motion"] = "motion"
    motions: Annotated[tuple[Motion, ...], Field(min_length=1)] = ("left", "up", "approach", "appear", "clockwise")
    """The pairs of classes, each by its forward class. Turning is by far the hardest: which way a part moves says
    nothing without where it is on the object."""
    train_clips: PositiveInt = 500
    """Clips for training, as many of each class."""
    test_clips: PositiveInt = 200
    """Held-out clips, as many of each class: objects, textures and colours in combinations that training has not."""
    frames: Annotated[int, Field(ge=4, le=256)] = 16
    """Frames of a clip."""
    size: Annotated[int, Field(ge=32, le=512, multiple_of=2)] = 64
    """Pixels of a side."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Draws the scenes."""

    @model_validator(mode="after")
    def motions_differ(self) -> Self:
        """No pair stands twice."""
        if len(set(self.motions)) < len(self.motions):
            raise ValueError(
                f"motions {', '.join(self.motions)} name a pair twice · allowed: each once · fix: remove one"
            )
        return self

    @model_validator(mode="after")
    def clips_share_out_evenly(self) -> Self:
        """Every class has as many clips as any other."""
        classes = 2 * len(self.motions)
        for field in ("train_clips", "test_clips"):
            clips = getattr(self, field)
            if clips % classes:
                raise ValueError(
                    f"{field} {clips} do not share out over {classes} classes · allowed: multiples of {classes} · "
                    f"fix: use {max(1, round(clips / classes)) * classes}"
                )
        return self

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The chosen pairs of classes."""
        return tuple(pair for pair in PAIRS if pair[0] in self.motions)

    def folder(self) -> Path:
        """Where the clips are, or will be: named by the spec and the generator's version."""
        key = f"{GENERATOR_VERSION}:{self.model_dump_json()}"
        return home() / "data" / f"motion-{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    def classes(self) -> tuple[str, ...]:
        """The class names; a class and its reversal stand side by side."""
        return tuple(name for pair in self.pairs for name in pair)

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split; makes the set if it is not there yet."""
        self.prepare()
        folder, classes = self.folder(), self.classes()
        table = folder / "annotations.csv"
        with table.open(encoding="utf-8", newline="") as file:
            return [
                Clip(
                    path=str(folder / row["path"]),
                    label=classes.index(row["label"]),
                    captions=tuple(row["captions"].split(CAPTION_DIVIDER)),
                    group=row["group"],
                    origin=f"{table}:{line}",
                )
                for line, row in enumerate(csv.DictReader(file), 2)
                if row["split"] == split
            ]

    def fingerprint(self) -> str:
        """SHA-256 over classes and clips; see `fingerprint_clips`."""
        return fingerprint_of(self, str(self.folder()))

    def flipped_classes(self) -> Mapping[int, int]:
        """A flip exchanges left and right, clockwise and anticlockwise."""
        partner = {"left": "right", "right": "left", "clockwise": "anticlockwise", "anticlockwise": "clockwise"}
        classes = self.classes()
        return {index: classes.index(partner.get(name, name)) for index, name in enumerate(classes)}

    def check(self) -> None:
        """Nothing: the set is made when it is needed."""

    def is_made(self) -> bool:
        """Whether the set is there."""
        return (self.folder() / "annotations.csv").is_file()

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Make the set unless it is there; several processes may ask at once, one makes it.

        Args:
            progress: Called with clips done and clips in all.
        """
        folder = self.folder()
        if self.is_made():
            return
        from filelock import FileLock

        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not self.is_made():
                self._make(folder, progress)

    def _make(self, folder: Path, progress: Callable[[int, int], None] | None) -> None:
        from side4video.data.motion_render import MotionSet, render_motion_set

        shutil.rmtree(folder, ignore_errors=True)
        # Rendered elsewhere and renamed when whole: a killed process leaves no half set under the final name.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as scratch:
            made = Path(scratch) / "set"
            request = MotionSet(
                pairs=self.pairs,
                clips={"train": self.train_clips, "test": self.test_clips},
                frames=self.frames,
                size=self.size,
                seed=self.seed,
            )
            rows = render_motion_set(made, request, progress)
            with (made / "annotations.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows(
                    (row.path, row.label, row.split, row.group, CAPTION_DIVIDER.join(row.captions)) for row in rows
                )
            made.rename(folder)
