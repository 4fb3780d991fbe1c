"""What a check found of each file and clip, in one small file, so that the next one goes on where this one ended.

It lies under `$SIDE4VIDEO_HOME/checks`, one for each data set, and holds for each file its size and time of change:
what has changed is looked at again. The name is made of the data set's section and the folder its files are in, not of
its fingerprint, which changes with every file that is mended while all others stay what they are. It is written beside
its place and then moved there: it is whole, or it is the one from before.
"""

import hashlib
import json
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from side4video.apps.data_check.listing import ClipKey
from side4video.apps.data_check.probe import ClipFacts, FileVersion
from side4video.core.files import write_atomically
from side4video.core.paths import home
from side4video.data.clip import Clip
from side4video.data.spec import DataSpec
from side4video.data.storage import common_root

FORMAT = 1
"""Raised whenever files of before would be read wrongly."""
SAVE_EVERY_SECONDS = 30.0
"""What a check that is killed may lose."""


class SavedResults:
    """What is known of files (by path) and clips (by piece); leaving it as a context manager writes it."""

    def __init__(self, path: Path, data: DataSpec, *, save_every_seconds: float = SAVE_EVERY_SECONDS) -> None:
        """Nothing is read yet.

        Results of another way to decode than `data` describes are dropped.
        """
        self.path, self._save_every_seconds = path, save_every_seconds
        self.reading = [data.decoder, data.frames, data.sampling.model_dump_json()]
        self.notes: list[str] = []
        """What a person should know: why the file was not used, or not written."""
        self._digests: dict[str, tuple[FileVersion, str]] = {}
        self._facts: dict[ClipKey, tuple[FileVersion, ClipFacts]] = {}
        self._written, self._is_new = time.monotonic(), False

    def __enter__(self) -> "SavedResults":
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def digest(self, path: str, version: FileVersion) -> str | None:
        """The hash of a file as it is now; None if it is not known."""
        before, digest = self._digests.get(path, (None, None))
        return digest if before == version else None

    def facts(self, key: ClipKey, version: FileVersion) -> ClipFacts | None:
        """What decoding said of a clip of a file as it is now; None if it is not known."""
        before, facts = self._facts.get(key, (None, None))
        return facts if before == version else None

    def store_digest(self, path: str, version: FileVersion, digest: str) -> None:
        """Remember the hash of a file."""
        self._digests[path] = (version, digest)
        self._write_every_interval()

    def store_facts(self, key: ClipKey, version: FileVersion, facts: ClipFacts) -> None:
        """Remember what decoding said."""
        self._facts[key] = (version, facts)
        self._write_every_interval()

    def remove_others(self, paths: Collection[str]) -> None:
        """Forget files that are not listed any more."""
        for path in self._digests.keys() - paths:
            del self._digests[path]
        for key in [key for key in self._facts if key[0] not in paths]:
            del self._facts[key]

    def _read(self) -> None:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                return
            digests = {path: (FileVersion(*version), str(digest)) for path, version, digest in document["files"]}
            facts: dict[ClipKey, Any] = {
                tuple(key): (FileVersion(*version), ClipFacts(*facts)) for key, version, facts in document["clips"]
            }
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.notes.append(f"{self.path} cannot be read ({error}); the check begins anew")
            return
        self._digests, self._facts = digests, facts if document["reading"] == self.reading else {}

    def _write_every_interval(self) -> None:
        self._is_new = True
        if time.monotonic() - self._written > self._save_every_seconds:
            self._write()

    def _write(self) -> None:
        if not self._is_new:
            return
        document = {
            "format": FORMAT,
            "reading": self.reading,
            "files": [[path, astuple(version), digest] for path, (version, digest) in self._digests.items()],
            "clips": [[key, astuple(version), astuple(facts)] for key, (version, facts) in self._facts.items()],
        }
        try:
            write_atomically(self.path, json.dumps(document, separators=(",", ":")))
            self._written, self._is_new = time.monotonic(), False
        except OSError as error:
            self.notes.append(f"{self.path} could not be written ({error}); the next check begins anew")
            self._written = time.monotonic()


def saved_results_path(data: DataSpec, clips: Sequence[Clip]) -> Path:
    """The file for a data set."""
    key = f"{data.dataset.model_dump_json()}\n{common_root([clip.path for clip in clips])}"
    return home() / "checks" / f"{data.dataset.kind}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:12]}.json"
