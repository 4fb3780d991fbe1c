"""Some of a data set's classes, and a few training clips of each: base-to-novel transfer and few-shot learning.

    data: {dataset: {kind: ucf101, ...}, classes: base, shots: 16, seed: 0}

Base classes are the half with more training clips, novel classes the other half (ViFi-CLIP: Rasheed et al., 2023,
arXiv 2212.03640, section 4.1). With an odd number of classes, base has one more. Among classes of as many clips, those
that the data set names first are base.

The clips of a class are ordered by a hash of `data.seed` and their names, and `shots` takes the first ones. So the
clips of `shots: 2` are among those of `shots: 4`, and a draw depends on neither workers nor folders.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from side4video.core.counts import counted
from side4video.core.errors import InputError
from side4video.core.seeds import derive_seed
from side4video.data.clip import Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.storage import common_root, relative_path

ChosenClasses = Literal["all", "base", "novel"]
"""Which half of the classes is taken: that with more training clips, the other one, or both."""
DIVIDER = "+"
"""Between the fingerprint of a data set and the name of a selection."""


@dataclass(frozen=True)
class SelectedClips:
    """A data set reduced to some classes, and to a few training clips of each class."""

    dataset: DatasetSpec
    chosen: ChosenClasses
    shots: int | None
    """Training clips of each class; None: all."""
    seed: int
    """Seed of the draw."""

    @property
    def kind(self) -> str:
        """The data set's kind."""
        return str(getattr(self.dataset, "kind", ""))

    def classes(self) -> tuple[str, ...]:
        """Names of the chosen classes, in the data set's order."""
        names = self.dataset.classes()
        return tuple(names[position] for position in self._positions())

    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Classes of the heads, all of them: only `classes` are reduced."""
        return self.dataset.heads()

    def flipped_heads(self) -> tuple[Mapping[int, int], ...] | None:
        """As in the data set."""
        return self.dataset.flipped_heads()

    def splits(self) -> tuple[Split, ...]:
        """The splits of the data set."""
        return self.dataset.splits()

    def clips(self, split: Split) -> list[Clip]:
        """The clips of the chosen classes, in the data set's order; of training those that were drawn.

        Raises:
            InputError: As the data set; a clip has no class, or a class has fewer training clips than `shots`.
        """
        from dataclasses import replace

        positions = {old: new for new, old in enumerate(self._positions())}
        clips = self._labelled(split)
        if split == "train" and self.shots is not None:
            clips = _draw(clips, self.dataset.classes(), positions, shots=self.shots, seed=self.seed)
        return [
            replace(
                clip,
                label=positions[label],
                labels=clip.labels and tuple(positions[each] for each in clip.labels if each in positions),
            )
            for clip, label in clips
            if label in positions
        ]

    def clip_counts(self) -> dict[Split, int]:
        """Number of clips of each split. The built-in data set is not rendered for it."""
        chosen = self._positions()
        found: dict[Split, int] = {}
        for split in self.splits():
            of_classes = self.dataset.clips_of_classes(split)
            found[split] = sum(of_classes.get(position, 0) for position in chosen)
        if self.shots is not None:
            found["train"] = self.shots * len(chosen)
        return found

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label.

        None if the data set has no mapping, or the mirror image of a chosen class is not chosen.
        """
        flipped = self.dataset.flipped_classes()
        if flipped is None:
            return None
        positions = {old: new for new, old in enumerate(self._positions())}
        pairs = {old: flipped.get(old, old) for old in positions}
        if any(mirrored not in positions for mirrored in pairs.values()):
            return None
        return {positions[old]: positions[mirrored] for old, mirrored in pairs.items()}

    def fingerprint(self) -> str:
        """The data set's fingerprint and the name of the selection, for example `1f3a...+base, 16 shots, seed 0`."""
        return self.name_fingerprint(self.dataset.fingerprint())

    def name_fingerprint(self, fingerprint: str) -> str:
        """A fingerprint of the whole data set with the name of the selection."""
        shots = [f"{self.shots} shots", f"seed {self.seed}"] if self.shots is not None else []
        return DIVIDER.join([fingerprint, ", ".join([self.chosen, *shots])])

    def check(self) -> None:
        """Read all lists, check that files exist, and that each class has enough clips.

        Raises:
            InputError: As the data set, or as `clips`.
        """
        self.dataset.check()
        counts, names = self.dataset.clips_of_classes("train"), self.dataset.classes()
        if self.shots is not None:
            for position in self._positions():
                _check_shots(names[position], counts.get(position, 0), self.shots)

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Prepare the data set."""
        self.dataset.prepare(progress)

    def _labelled(self, split: Split) -> list[tuple[Clip, int]]:
        found = []
        for clip in self.dataset.clips(split):
            if clip.label is None:
                field = "shots" if self.shots is not None else "classes"
                has_classes = bool(self.dataset.classes())
                raise InputError(
                    f"data.{field}",
                    f"given, and a clip has no class: {clip.origin or clip.path}"
                    if has_classes
                    else f"given, and the data set {self.kind} has no classes",
                    allowed="with data sets whose clips have one class each",
                    fix=f"remove data.{field}" + (", or give each clip its class" if has_classes else ""),
                )
            found.append((clip, clip.label))
        return found

    def _candidates(self) -> list[int]:
        """Positions of the classes that a clip can have as its one class.

        Where clips have several labels too, a class may occur among these alone.
        """
        every = range(len(self.dataset.classes()))
        if getattr(getattr(self.dataset, "columns", None), "labels", "") == "":
            return list(every)
        found = {position for split in self.splits() for position in self.dataset.clips_of_classes(split)}
        return [position for position in every if position in found]

    def _positions(self) -> list[int]:
        """Positions of the chosen classes in the data set."""
        candidates = self._candidates()
        count = len(candidates)
        if self.chosen == "all":
            return candidates
        if count < 2:
            raise InputError(
                "data.classes",
                f"{self.chosen}, and the data set has {counted(count, 'class', 'classes')}",
                allowed="all",
                fix="remove it",
            )
        clips = self.dataset.clips_of_classes("train")
        by_clips = sorted(candidates, key=lambda position: (-clips.get(position, 0), position))
        base = (count + 1) // 2
        return sorted(by_clips[:base] if self.chosen == "base" else by_clips[base:])


def class_count(classes: int, chosen: ChosenClasses) -> int:
    """Number of chosen classes of a data set with `classes` classes."""
    return {"all": classes, "base": (classes + 1) // 2, "novel": classes // 2}[chosen]


def _draw(
    clips: Sequence[tuple[Clip, int]], names: Sequence[str], chosen: Mapping[int, int], *, shots: int, seed: int
) -> list[tuple[Clip, int]]:
    """The first `shots` clips of each class in the order of their hashes, in the order of the list."""
    members: dict[int, list[int]] = defaultdict(list)
    for position, (_, label) in enumerate(clips):
        members[label].append(position)
    root = common_root([clip.path for clip, _ in clips])  # the draw must not depend on where that is

    def rank(position: int) -> tuple[int, int]:
        clip = clips[position][0]
        name = clip.name or relative_path(clip.path, root)
        return derive_seed(seed, "shots", f"/{name}", str(clip.start_seconds), str(clip.end_seconds)), position

    kept: list[int] = []
    for label in chosen:
        _check_shots(names[label], len(members[label]), shots)
        kept += sorted(members[label], key=rank)[:shots]
    return [clips[position] for position in sorted(kept)]


def _check_shots(name: str, clips: int, shots: int) -> None:
    if clips < shots:
        raise InputError(
            "data.shots",
            f"{shots}, and the class {name!r} has {counted(clips, 'training clip')}",
            allowed=("1" if clips == 1 else f"1 to {clips}") if clips else "classes that have training clips",
            fix=f"set it to {clips}" if clips else "remove the class from the data set",
        )
