"""Tar shards as WebDataset has them: files that share a name up to the first dot are one sample.

    dataset:
      kind: webdataset
      root: s3://bucket/clips                 or a folder here
      train: train-{000000..000099}.tar       or a pattern: train-*.tar
      test: test-*.tar

A sample holds a video (`a.mp4`), and its label or captions: `a.cls` (a class or its position), `a.txt` (a caption a
line), or `a.json` with `label`, `class`, `caption` or `captions`. Shards are read at random, member by member, so they
are not compressed; a remote one needs a server that gives parts of files.
"""

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from side4video.core.bounded_files import MAX_LABEL_BYTES, parse_json
from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import ADDED_LATER, PathText
from side4video.core.units import format_bytes
from side4video.data.annotations.class_names import infer_classes, label_position, read_class_names
from side4video.data.annotations.flip_labels import FlipByNameSpec, FlipLabels, flipped_labels
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.storage import file_size, join_address, list_folder, read_bytes, root_address
from side4video.data.tar_members import Member, is_hidden, list_members, split_member_name

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAX_SHARDS = 1_000_000
_ABOUT = ("cls", "txt", "json")
"""Fields with the label or the captions of a sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The files of a shard that share a name."""

    name: str
    origin: str
    """The shard, and the name of the sample in it."""
    video: str
    """Address of the video's bytes."""
    label: str
    """Empty if there is none."""
    captions: tuple[str, ...]


class WebdatasetSpec(DatasetSpec):
    """Videos with labels or captions in uncompressed tar shards, as WebDataset writes them."""

    kind: Literal["webdataset"] = "webdataset"
    root: Annotated[PathText, Field(min_length=1)]
    """Folder of the shards, or an address such as `s3://bucket/clips`; may contain `${NAME}`."""
    train: Annotated[str, Field(min_length=1)] = "train-*.tar"
    """The shards of the training clips: a name with a range of numbers (`a-{000..012}.tar`), or a pattern with `*`."""
    test: Annotated[str, Field(min_length=1)] = "test-*.tar"
    """The shards of the test clips."""
    val: Annotated[str, ADDED_LATER] = ""
    """The shards of the validation clips. Empty: there is no validation split."""
    videos: Annotated[tuple[Annotated[str, Field(pattern=r"^[\w.]+$")], ...], Field(min_length=1)] = (
        *("mp4", "webm", "mkv", "avi", "mov", "video"),
    )
    """Extensions of videos, without the dot. If a sample has several, the first one in this list is used."""
    label: Annotated[str, Field(min_length=1)] = "label"
    """Field of a sample's JSON file with its class, or the index of its class."""
    class_names: PathText = ""
    """Path of a file of class names: one per line, CSV with a header `id,name`, or JSON `{name: index}`; may contain
    `${NAME}`. Empty: the classes are the labels of the training shards."""
    mirror: FlipLabels = FlipByNameSpec()
    """How labels change when clips are flipped horizontally."""

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices; empty if samples have captions only."""
        if self.class_names:
            where = "data.dataset.class_names"
            return read_class_names(Path(expand(self.class_names, where)), where)
        labelled = [(sample.label, sample.origin) for sample in self._samples("train") if sample.label]
        return infer_classes(labelled) if labelled else ()

    def splits(self) -> tuple[Split, ...]:
        """Training, validation if the document names its shards, and test."""
        return SPLITS if self.val else TRAIN_AND_TEST

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split in the order of its shards.

        Raises:
            InputError: A shard is missing or compressed, a sample has neither label nor caption, or none is there.
        """
        positions = {name: index for index, name in enumerate(self.classes())}
        clips = []
        for sample in self._samples(split):
            if positions and not sample.label:
                raise InputError(
                    sample.origin, "it has no label, and others have", fix=f"add {sample.name}.cls, or {self.label!r}"
                )
            label = label_position(sample.label, positions, sample.origin) if positions else None
            if label is None and not sample.captions:
                allowed = f"a .cls, a .txt, or a .json with {self.label!r}, 'class', 'caption' or 'captions'"
                raise InputError(sample.origin, "neither a label nor a caption", allowed=allowed)
            clips.append(Clip(sample.video, label, sample.captions, name=sample.name, origin=sample.origin))
        if not clips:
            raise InputError(f"{self._root()} ({split})", "no sample with a video", allowed=", ".join(self.videos))
        return clips

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label; None if labels contain left or right and no mapping is known."""
        return flipped_labels(self.mirror, self.classes())

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """The same as `check`, with progress for each shard: reading all headers takes a while."""
        shards = [shard for split in self.splits() for shard in self._shards(split)]
        for done, shard in enumerate(shards, 1):
            list_members(shard)
            if progress:
                progress(done, len(shards))
        self.check()

    def _root(self) -> str:
        return root_address(self.root, "data.dataset.root")

    def _shards(self, split: Split) -> list[str]:
        root, pattern = self._root(), {"train": self.train, "val": self.val, "test": self.test}[split]
        if "/" in pattern or "\\" in pattern or pattern.startswith("."):
            raise InputError(f"data.dataset.{split}", repr(pattern), allowed="names of files in `root`")
        if "*" not in pattern and "?" not in pattern:
            return [join_address(root, name) for name in expand_braces(pattern, f"data.dataset.{split}")]
        found = [entry.name for entry in list_folder(root) if not entry.is_folder]
        shards = [join_address(root, name) for name in found if fnmatch.fnmatchcase(name, pattern)]
        if not shards:
            held = f"{len(found)} files, such as {found[0]}" if found else "no file"
            raise InputError(f"data.dataset.{split}", f"no shard {pattern!r} in {root}; it holds {held}")
        return shards

    def _samples(self, split: Split) -> list[Sample]:
        return [
            sample
            for shard in self._shards(split)
            for sample in _read_samples(shard, list_members(shard), self.videos, self.label)
        ]


def expand_braces(pattern: str, field: str) -> list[str]:
    """`a-{08..11}.tar` as its names.

    Raises:
        InputError: The braces run backwards, or to too many names.
    """
    found = _BRACES.search(pattern)
    if not found:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    if not first <= last < first + _MAX_SHARDS:
        raise InputError(field, f"{pattern!r} names {max(0, last - first + 1)} shards", allowed="numbers that rise")
    numbers = [f"{number:0{len(found[1])}d}" for number in range(first, last + 1)]
    after = expand_braces(pattern[found.end() :], field)
    return [f"{pattern[: found.start()]}{number}{end}" for number in numbers for end in after]


@lru_cache(maxsize=4096)
def _read_samples(shard: str, members: tuple[Member, ...], videos: tuple[str, ...], label: str) -> tuple[Sample, ...]:
    """The samples of a shard that have a video, in its order."""
    fields: dict[str, dict[str, str]] = {}
    for member in members:
        if not is_hidden(member.name):
            name, field = split_member_name(member.name)
            held = fields.setdefault(name, {})
            if field in held:
                raise InputError(f"{shard}:{member.name}", "the name appears twice in the shard")
            held[field] = member.address
    return tuple(_parse_samples(shard, fields, videos, label))


def _parse_samples(
    shard: str, fields: Mapping[str, Mapping[str, str]], videos: tuple[str, ...], label: str
) -> Iterator[Sample]:
    for name, held in fields.items():
        origin = f"{shard}:{name}"
        video = next((held[field] for field in videos if field in held), None)
        _refuse_dots(name, held, videos, origin)
        if video is None:
            _refuse_without_video(held, videos, origin)
            continue
        about = _read_metadata(held["json"], origin) if "json" in held else {}
        said = about.get(label, about.get("class", ""))
        captions = about.get("captions", about.get("caption", ()))
        if "cls" in held:
            said = _read_text(held["cls"], origin)
        if "txt" in held:
            captions = _read_text(held["txt"], origin).splitlines()
        captions = (captions,) if isinstance(captions, str) else captions
        if isinstance(said, bool) or not isinstance(said, str | int) or not _are_texts(captions):
            raise InputError(origin, "a label or a caption is neither text nor number", allowed="label, captions")
        texts = tuple(caption.strip() for caption in captions if caption.strip())
        yield Sample(name, origin, video, str(said).strip(), texts)


def _refuse_dots(name: str, held: Mapping[str, str], videos: tuple[str, ...], origin: str) -> None:
    """Refuse a sample that is two, or another one: `b.1.mp4` and `b.1.cls` are fields of `b`, and would be left out.

    A field such as `thumb.mp4`, beside a video and without a label of its own, is left out as all other fields are.

    Raises:
        InputError: A field is a video behind another dot.
    """
    for field in held:
        before, dot, last = field.rpartition(".")
        is_sample = any(f"{before}.{ending}" in held for ending in _ABOUT) or not any(each in held for each in videos)
        if dot and last in videos and field not in videos and is_sample:
            raise InputError(
                f"{origin}.{field}",
                f"names are divided at the first dot, so this is the field {field!r} of the sample {name!r}, no video",
                allowed="no dot in the name of a sample",
                fix=f"rename it, and all of its sample: {name}_{before.replace('.', '_')}.{last}",
            )


def _refuse_without_video(held: Mapping[str, str], videos: tuple[str, ...], origin: str) -> None:
    """Refuse a sample without a video that has a label or a caption: it would be left out without a word.

    A text or a JSON file alone, such as a `README.txt`, and a file without either are no samples.

    Raises:
        InputError: It has a label, or a caption and another file.
    """
    others = held.keys() - {"json", "txt"}
    if "cls" in held or (others and len(held) > 1):
        fix = "add the ending of its video to data.dataset.videos, or remove the sample"
        raise InputError(
            origin, f"no video; its fields are {', '.join(sorted(held))}", allowed=", ".join(videos), fix=fix
        )


def _are_texts(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


def _read_metadata(address: str, origin: str) -> dict[str, Any]:
    try:
        about = parse_json(_read_text(address, origin))
    except ValueError as error:
        raise InputError(f"{origin}.json", f"not JSON: {error}") from error
    return about if isinstance(about, dict) else {}


def _read_text(address: str, origin: str) -> str:
    try:
        if (size := file_size(address) or 0) > MAX_LABEL_BYTES:
            found = f"its label or caption has {format_bytes(size)}"
            raise InputError(origin, found, allowed=f"at most {format_bytes(MAX_LABEL_BYTES)}")
        return read_bytes(address).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(origin, f"it cannot be read: {error}", allowed="text in UTF-8") from error
