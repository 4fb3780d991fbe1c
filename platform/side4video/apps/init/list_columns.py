"""Reads a list of videos as it is, and recognises what its columns mean.

A list is a table (commas, tabs or spaces), a JSON file with a list of objects, or JSON Lines.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from side4video.apps.init.found_data import VIDEO_ENDINGS, is_video_name
from side4video.core.bounded_files import MAX_JSON_BYTES, check_size
from side4video.core.errors import InputError
from side4video.data.annotations.json_files import read_json, read_json_lines
from side4video.data.annotations.tables import CLIPS, plain_column_name, read_text, shorten_list

Form = Literal["table", "json lines", "json"]
Role = Literal["path", "label", "caption", "split", "group"]

_SYNONYMS = {name: frozenset((name, *others)) for name, others in CLIPS.synonyms}
NAMES: Mapping[Role, frozenset[str]] = {
    "path": _SYNONYMS["path"],
    "label": _SYNONYMS["label"],
    "caption": frozenset(
        ("caption", "captions", "description", "descriptions", "sentence", "sentences", "text", "texts")
    ),
    "split": _SYNONYMS["split"],
    "group": _SYNONYMS["group"]
    | {"sourcevideo", "sourceid", "subject", "subjectid", "person", "personid", "actor", "actorid", "youtubeid"},
}
"""Names of columns, in lower case without `_`, `-` and spaces."""
LOOKED_AT = 200
"""Rows from which the meaning of a column is guessed, if its name does not say it."""
_IGNORED = frozenset(("start", "end", "reversed", "starttime", "endtime", "index", "id", "frames"))


@dataclass(frozen=True)
class VideoList:
    """A list as it is."""

    path: Path
    form: Form
    columns: tuple[str, ...]
    """Names of the columns or fields; empty for a table without a header."""
    rows: Sequence[Mapping[str, Any]]
    """Values by column; of a table without a header, by `0`, `1` and so on."""
    delimiter: str = ""
    """Of a table: comma, tab or space."""

    def values(self, column: str) -> list[str]:
        """The values of a column as text; an absent one is empty."""
        return ["" if (cell := row.get(column)) is None else str(cell).strip() for row in self.rows]


def read_list(path: Path) -> VideoList:
    """Read a file that lists videos.

    Raises:
        InputError: It cannot be read, or it is no list.
    """
    if is_video_name(path.name):
        raise InputError(
            str(path), "a video, not a list", allowed="a folder with videos, or a list of them", fix=f"{path.parent}"
        )
    if path.suffix.lower() in (".json", ".jsonl"):
        check_size(path, MAX_JSON_BYTES, "a list")
        return _read_objects(path)
    return _read_table(path)


def _read_objects(path: Path) -> VideoList:
    if path.suffix.lower() == ".jsonl":
        entries, form = [value for _, value in read_json_lines(path)], "json lines"
    else:
        entries, form = read_json(path), "json"
    if not isinstance(entries, list) or not entries or not all(isinstance(each, dict) for each in entries):
        found = "nothing in it" if not entries else "no list of objects"
        raise InputError(
            str(path), found, allowed='a list of objects, such as [{"path": "a.mp4", "label": "jump"}]', fix=_FORMS
        )
    columns = dict.fromkeys(name for entry in entries[:LOOKED_AT] for name in entry)
    return VideoList(path, "json lines" if form == "json lines" else "json", tuple(columns), entries)


_FORMS = "see docs/your-own-videos.md for the forms of lists"


def _read_table(path: Path) -> VideoList:
    text = read_text(path)
    head = next((line for line in text.split("\n") if line.strip()), "")
    if not head:
        raise InputError(str(path), "the list is empty", fix="it needs one line for each video: path and label")
    delimiter = "tab" if "\t" in head else "comma" if "," in head else "space"
    cells = [cell.strip() for cell in head.split(";")]
    if len(cells) > 1 and any(is_video_name(cell) or plain_column_name(cell) in NAMES["path"] for cell in cells):
        raise InputError(str(path), "its columns are divided by semicolons", fix="divide them by commas or tabs")
    cells = _cells(path, text, delimiter)
    first, body = cells[0], cells[1:]
    has_header = not any(is_video_name(cell) for cell in first) and (
        bool({plain_column_name(cell) for cell in first} & NAMES["path"])
        or any(is_video_name(cell) for row in body[:LOOKED_AT] for cell in row)
    )
    columns = tuple(first) if has_header else ()
    keys = columns or tuple(map(str, range(len(first))))
    rows = [dict(zip(keys, row, strict=False)) for row in (body if has_header else cells)]
    found = VideoList(path, "table", columns, rows, delimiter)
    if not has_header and not any(is_video_name(value) for value in found.values("0")[:LOOKED_AT]):
        endings = ", ".join(VIDEO_ENDINGS[:4])
        raise InputError(
            str(path),
            f"no list of videos: {head.strip()!r:.60} names none",
            allowed=f"lines with a path ({endings}, ...) and a label, or a header that names the columns",
            fix=_FORMS,
        )
    if has_header and not rows:
        raise InputError(str(path), "the list has a header and no videos", fix="it needs one line for each video")
    return found


def _cells(path: Path, text: str, delimiter: str) -> list[list[str]]:
    if delimiter == "space":
        return [line.rsplit(maxsplit=1) for line in text.split("\n") if line.strip()]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if delimiter == "tab" else ",", strict=True)
    try:
        found = [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise InputError(str(path), f"not a table: {error}", fix="check the quotes") from error
    return [row for row in found if any(row)]


def recognise(listed: VideoList, given: Mapping[str, str]) -> dict[Role, str]:
    """The columns of a list by what they mean; `given` has those that the user named.

    Raises:
        InputError: Two columns may be the same thing, or none has the paths.
    """
    if not listed.columns:
        return {"path": "0", "label": "1"} if "1" in listed.rows[0] else {"path": "0"}
    found: dict[Role, str] = {}
    for role, names in NAMES.items():
        if role in given:
            if given[role] not in listed.columns:
                raise InputError(
                    f"data.dataset.columns.{role}",
                    f"{listed.path} has no column {given[role]!r}",
                    allowed=shorten_list(listed.columns),
                )
            found[role] = given[role]
            continue
        alike = [name for name in listed.columns if plain_column_name(name) in names and name not in given.values()]
        if role in alike:
            alike = [role]
        if len(alike) > 1 and role in ("path", "label", "caption"):
            alike = _by_content(listed, role, alike)
        if len(alike) > 1 and role != "group":
            both = " and ".join(map(repr, alike))
            raise InputError(
                str(listed.path),
                f"{both} may both be the {role}",
                fix=f"say which one it is: --set data.dataset.columns.{role}={alike[0]}",
            )
        if alike:
            found[role] = alike[0]
    return _guess(listed, found)


def _by_content(listed: VideoList, role: Role, alike: list[str]) -> list[str]:
    """Of columns that may be the same, the one whose cells name videos; the others as they are."""
    if role != "path":
        return alike
    holding = [name for name in alike if names_videos(listed, name)]
    return holding if len(holding) == 1 else alike


def names_videos(listed: VideoList, column: str) -> bool:
    """Whether most cells of a column are names of video files."""
    values = listed.values(column)[:LOOKED_AT]
    return sum(map(is_video_name, values)) > 0.8 * len(values)


def _guess(listed: VideoList, found: dict[Role, str]) -> dict[Role, str]:
    """Adds the column of paths, and that of labels or captions, by what the other columns contain."""
    free = [
        name
        for name in listed.columns
        if name and name not in found.values() and plain_column_name(name) not in _IGNORED
    ]
    if "path" not in found:
        holding = [name for name in free if names_videos(listed, name)]
        if len(holding) != 1:
            raise InputError(
                str(listed.path),
                f"no column with the paths of videos among {shorten_list(listed.columns)}",
                fix="name it path, or say which one it is: --set data.dataset.columns.path=NAME",
            )
        found["path"] = holding[0]
        free.remove(holding[0])
    if "label" not in found and "caption" not in found and len(free) == 1:
        words = [len(value.split()) for value in listed.values(free[0])[:LOOKED_AT]]
        values = set(listed.values(free[0]))
        is_caption = sum(words) > 4 * len(words) and len(values) > len(listed.rows) / 2
        if is_caption or 1 < len(values) <= max(2, len(listed.rows) // 2):
            found["caption" if is_caption else "label"] = free[0]
    return found
