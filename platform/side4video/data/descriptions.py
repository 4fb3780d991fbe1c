"""Sentences about videos, from a file: what a retrieval method may read beside the frames (Cap4Video)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from side4video.core.bounds import FewOrNone
from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import PathText, Spec
from side4video.data.annotations.json_files import as_list, as_object, as_text, read_json
from side4video.data.clip import Clip
from side4video.data.listing_once import listed_once

MAX_NAMED = 3
MAX_FOLDERS = 3
"""The most folders of a video that its name can begin with."""


class DescriptionsSpec(Spec):
    """Sentences about each video: a JSON object, from a video's file name without its ending to a list of texts."""

    file: PathText
    """A JSON file of sentences by video, the best first: `{"video0": ["a man cuts a tomato", "a kitchen"], ...}`. A
    video is named by its file name without the ending. Where two videos have one file name, put their folders before
    it: `"train/video0"`. A relative path starts at the folder that the command runs in."""
    as_captions: FewOrNone = 0
    """In training, how many of a video's first sentences are drawn like its captions (Cap4Video: 1)."""

    @listed_once
    def sentences(self) -> Mapping[str, tuple[str, ...]]:
        """The sentences by name.

        Raises:
            InputError: The file is missing or of another form.
        """
        path = Path(expand(self.file, "data.descriptions.file"))
        if not path.is_file():
            raise InputError(
                "data.descriptions.file",
                f"there is no file {path}",
                allowed='a JSON file: {"video0": ["a man cuts a tomato", ...], ...}',
                fix="check the path; a relative one starts at the folder that the command runs in",
            )
        found = {}
        for name, texts in as_object(read_json(path), str(path), ()).items():
            where = f"{path}:{name}"
            listed = [as_text(text, f"{where}[{place}]").strip() for place, text in enumerate(as_list(texts, where))]
            found[name] = tuple(text for text in listed if text)
        return found

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over names and sentences."""
        return hashlib.sha256(json.dumps(self.sentences(), sort_keys=True).encode()).hexdigest()

    def check(self, clips: Iterable[Clip]) -> None:
        """Look up each clip.

        Raises:
            InputError: A clip has no sentence, or one name stands for two videos.
        """
        sentences, checked = self.sentences(), list(clips)
        bare = [clip for clip in checked if not sentences_of(clip, sentences)]
        if bare:
            names = ", ".join(clip_name(clip) for clip in bare[:MAX_NAMED])
            raise InputError(
                "data.descriptions.file",
                f"no sentence about {len(bare)} of {len(checked)} videos: {names}"
                f"{', ...' if len(bare) > MAX_NAMED else ''}",
                allowed="a sentence or more about each video, by its file name without ending",
                fix=f"add them to {self.file}",
            )
        named: dict[str, str] = {}
        for clip in checked:
            key, path = _key_of(clip, sentences), str(PurePosixPath(clip.path))
            if named.setdefault(key, path) != path:
                both = (PurePosixPath(each).with_suffix("").parts[-2:] for each in (named[key], path))
                longer = ", ".join("/".join(parts) for parts in both)
                raise InputError(
                    "data.descriptions.file",
                    f"the name {key!r} stands for two videos: {named[key]} and {path}",
                    allowed="names that tell videos apart",
                    fix=f"name their folders too: {longer}",
                )


def clip_name(clip: Clip) -> str:
    """The shortest name by which a clip's sentences are found: its file name without ending."""
    return PurePosixPath(clip.path).stem


def _key_of(clip: Clip, sentences: Mapping[str, tuple[str, ...]]) -> str:
    """The longest name of a clip that has sentences: with its folders, or its file name alone."""
    parts = PurePosixPath(clip.path).with_suffix("").parts
    names = ("/".join(parts[start:]) for start in range(max(0, len(parts) - MAX_FOLDERS - 1), len(parts)))
    return next((name for name in names if name in sentences), clip_name(clip))


def sentences_of(clip: Clip, sentences: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The sentences about a clip; empty if there are none."""
    return sentences.get(_key_of(clip, sentences), ())
