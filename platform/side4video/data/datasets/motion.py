"""The built-in data set: generated clips whose classes differ only in the order of the frames.

It has five pairs of classes. Both clips of a pair show the same scene, one with the frames of the other in reverse
order. The files are H.264 with key frames only, so both contain exactly the same decoded frames. A model that ignores
the order can recognise the pair but not the class.

It is rendered on first use, in seconds, to `$SIDE4VIDEO_HOME/data`. The same spec gives the same bytes.
"""

import csv
import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from side4video.core.bounds import Count, Seed
from side4video.core.disk_errors import explaining_disk_errors
from side4video.core.paths import home
from side4video.core.whole_folder import whole_folder
from side4video.data.clip import Clip, Split
from side4video.data.dataset_spec import DatasetSpec

PAIRS = (
    ("left", "right"),
    ("up", "down"),
    ("approach", "recede"),
    ("appear", "vanish"),
    ("clockwise", "anticlockwise"),
)
"""Each class, and the class that is its reverse."""

CLASSES = tuple(name for pair in PAIRS for name in pair)

GENERATOR_VERSION = 3
"""Increased whenever the same spec would give different bytes."""

COLUMNS = ("path", "label", "split", "group", "captions")
CAPTION_DIVIDER = " | "

Motion = Literal["left", "up", "approach", "appear", "clockwise"]
"""A pair of classes, named by its forward class."""


class MotionSpec(DatasetSpec):
    """Generated clips of textured objects that move over textured backgrounds.

    Each class is another one reversed in time.
    """

    kind: Literal["motion"] = "motion"
    motions: Annotated[tuple[Motion, ...], Field(min_length=1)] = ("left", "up", "approach", "appear", "clockwise")
    """The pairs of classes, each named by its forward class. `clockwise` is by far the hardest: the direction in which
    a part moves depends on its position on the object."""
    train_clips: Count = 500
    """Number of training clips, equally many of each class."""
    test_clips: Count = 200
    """Number of test clips, equally many of each class. Their combinations of shape, texture and colour do not occur in
    training."""
    frames: Annotated[int, Field(ge=4, le=256)] = 16
    """Number of frames of each clip."""
    size: Annotated[int, Field(ge=32, le=512, multiple_of=2)] = 64
    """Height and width of the frames, in pixels."""
    seed: Seed = 0
    """Seed of the scenes."""

    @model_validator(mode="after")
    def motions_differ(self) -> Self:
        """No pair is given twice."""
        if len(set(self.motions)) < len(self.motions):
            raise ValueError(
                f"motions {', '.join(self.motions)} name a pair twice · allowed: each once · fix: remove one"
            )
        return self

    @model_validator(mode="after")
    def clips_share_out_evenly(self) -> Self:
        """All classes have the same number of clips."""
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
        """The selected pairs of classes."""
        return tuple(pair for pair in PAIRS if pair[0] in self.motions)

    def folder(self) -> Path:
        """Folder of the clips, named by the hash of the spec and the generator's version."""
        key = f"{GENERATOR_VERSION}:{self.model_dump_json()}"
        return home() / "data" / f"motion-{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    def _root(self) -> str:
        return str(self.folder())

    def classes(self) -> tuple[str, ...]:
        """The class names. A class and its reverse are neighbours."""
        return tuple(name for pair in self.pairs for name in pair)

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split. Renders the data set if it does not exist."""
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

    def clips_of_classes(self, split: Split) -> Mapping[int, int]:
        """Number of clips of each class in a split; nothing is rendered for it."""
        clips = {"train": self.train_clips, "test": self.test_clips}.get(split, 0)
        return dict.fromkeys(range(2 * len(self.motions)), clips // (2 * len(self.motions)))

    def flipped_classes(self) -> Mapping[int, int]:
        """A flip swaps left and right, clockwise and anticlockwise."""
        partner = {"left": "right", "right": "left", "clockwise": "anticlockwise", "anticlockwise": "clockwise"}
        classes = self.classes()
        return {index: classes.index(partner.get(name, name)) for index, name in enumerate(classes)}

    def check(self) -> None:
        """Nothing to check: the data set is rendered when it is needed."""

    def is_made(self) -> bool:
        """Whether the data set exists."""
        return (self.folder() / "annotations.csv").is_file()

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Render the data set if it does not exist.

        If several processes call this at once, one renders it and the others wait. `progress` is called with clips done
        and clips in all.

        Raises:
            InputError: The disk is full or cannot be written; nothing is left then.
        """
        folder = self.folder()
        if self.is_made():
            return
        from filelock import FileLock

        with explaining_disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                if not self.is_made():
                    self._make(folder, progress)

    def _make(self, folder: Path, progress: Callable[[int, int], None] | None) -> None:
        from side4video.data.motion_render import MotionSet, render_motion_set

        shutil.rmtree(folder, ignore_errors=True)
        with whole_folder(folder) as made:
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
