"""Videos with captions listed in one file: CSV, JSON, or one JSON object a line.

    dataset:
      kind: captions
      annotations: ${CLIPS}/captions.json
      columns: {path: video, caption: description, group: subject}
      split_by: {kind: group, test_fraction: 0.3}

A CSV has a header; `path` and `caption` are required, several lines of one path are several captions. JSON is a list of
objects whose fields are the columns; where the document gives no other name, `video` may stand for `path`, and
`captions`, with a text or a list of texts, for `caption`. Paths with different spans are different videos.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import PathText
from side4video.data.annotations.captioned import Caption, CaptionedSpec, ListedVideo
from side4video.data.annotations.json_files import as_cell, as_list, as_object, as_text, read_json, read_json_lines
from side4video.data.annotations.splits import (
    ColumnSplitSpec,
    FileSplitSpec,
    SplitBy,
    assign_splits,
    has_validation,
)
from side4video.data.annotations.tables import ColumnNamesSpec, Row, TableSchema, as_span, name_columns, read_rows
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Clip, Split
from side4video.data.listing_once import listed_once
from side4video.data.storage import resolve_inside

FORM = TableSchema(
    ("path", "caption", "start", "end", "group", "split"),
    required=("path", "caption"),
    may_be_empty=("caption",),
    needs_header=True,
)
OTHER_NAMES = {"path": "video", "caption": "captions"}
"""Names that JSON files often use for a column."""


class CaptionColumnsSpec(ColumnNamesSpec):
    """Names of the columns (CSV) or fields (JSON) in the file, where they differ from these."""

    path: str = "path"
    """Path of the video file, relative to `root`."""
    caption: str = "caption"
    """A caption of the video."""
    start: str = "start"
    """Start of the span, in seconds."""
    end: str = "end"
    """End of the span, in seconds."""
    group: str = "group"
    """Source of the clip, for example the id of the full video."""
    split: str = "split"
    """`train`, `val` or `test`."""


class CaptionsSpec(CaptionedSpec):
    """Videos with captions listed in a CSV, JSON or JSONL file."""

    kind: Literal["captions"] = "captions"
    annotations: Annotated[PathText, Field(min_length=1)]
    """Path of the file: `.json`, `.jsonl`, or a table with any other ending; may contain `${NAME}`. A relative path
    starts at the folder that the command runs in."""
    delimiter: Literal["comma", "tab"] = "comma"
    """Delimiter of the columns of a table."""
    columns: CaptionColumnsSpec = CaptionColumnsSpec()
    """Names of the columns in the file."""
    split_by: SplitBy = ColumnSplitSpec()
    """How videos are divided into training, validation and test."""

    def splits(self) -> tuple[Split, ...]:
        """Training, validation if videos are for it, and test."""
        is_possible = has_validation(self.split_by) or self.split_by.kind == "column"
        return SPLITS if is_possible and self._videos("val") else TRAIN_AND_TEST

    def _videos(self, split: Split) -> list[ListedVideo]:
        if isinstance(self.split_by, FileSplitSpec):
            if split == "train":
                return [video for _, video in self._read(self._annotations())]
            path, field = self.split_by.list_paths()[split]
            return [video for _, video in self._read(Path(expand(path, f"data.dataset.{field}")))]
        return self._assigned()[split]

    @listed_once
    def _assigned(self) -> dict[Split, list[ListedVideo]]:
        """The videos of each split, where one file lists all of them."""
        assert not isinstance(self.split_by, FileSplitSpec)  # noqa: S101
        listed = self._read(self._annotations())
        rows, videos = [row for row, _ in listed], [video for _, video in listed]
        # Split before videos are left out, so that a missing file does not change the split of the others.
        clips = [Clip(video.path, label=None, group=video.group) for video in videos]
        splits = assign_splits(self.split_by, rows, clips, self.columns.model_dump())
        found: dict[Split, list[ListedVideo]] = {split: [] for split in SPLITS}
        for video, split in zip(videos, splits, strict=True):
            found[split].append(video)
        return found

    def _read(self, path: Path) -> list[tuple[Row, ListedVideo]]:
        """Every video of a file, in the order in which they first appear, each with its first row."""
        found: dict[tuple[object, ...], list[Row]] = {}
        root = self._root()
        for row in self._rows(path):
            # `x.mp4`, `./x.mp4` and `/root/x.mp4` are one video: as two, each would be a wrong answer for the other's
            # captions.
            rows = found.setdefault((resolve_inside(root, row.values["path"], row.origin), *as_span(row)), [])
            rows.append(row)
            for column in ("group", "split"):
                own, first = row.values.get(column, ""), rows[0].values.get(column, "")
                if own != first:
                    raise InputError(
                        row.origin,
                        f"{column} is {own!r}, and {first!r} for the same video in {rows[0].origin}",
                        fix="write the same in both, or give the two different spans",
                    )
        return [(rows[0], _as_video(rows)) for rows in found.values()]

    def _rows(self, path: Path) -> Sequence[Row]:
        columns = self.columns.model_dump()
        if path.suffix == ".jsonl":
            entries = [(f"{path}:{number}", value) for number, value in read_json_lines(path)]
        elif path.suffix == ".json":
            values = as_list(read_json(path), str(path))
            entries = [(f"{path}:[{position}]", value) for position, value in enumerate(values)]
        else:
            return read_rows(path, delimiter=self.delimiter, columns=columns, form=FORM)
        if not entries:
            raise InputError(str(path), "the list is empty", fix="it needs one object per video: path and caption")
        return [row for origin, value in entries for row in _entry_rows(value, origin, columns)]


def _entry_rows(value: Any, origin: str, columns: Mapping[str, str]) -> list[Row]:
    """One row a caption; a video without any has one row, whose caption is empty."""
    entry = as_object(value, origin, ())
    names = dict(columns)
    for column, other in OTHER_NAMES.items():
        if names[column] == column and other in entry:
            if column in entry:
                raise InputError(origin, f"both {column!r} and {other!r}", fix="keep one of the two")
            names[column] = other
    header = name_columns(origin, list(entry), [names[column] for column in FORM.columns], FORM)
    fields = dict(zip(header, entry.values(), strict=True))
    captions = fields.pop("caption")
    cells = {name: as_cell(cell, origin, names[name]) for name, cell in fields.items() if name in FORM.columns}
    if not cells["path"]:
        raise InputError(origin, "the path is empty", fix="fill it in, or remove the entry")
    if isinstance(captions, str):
        return [Row(origin, cells | {"caption": as_text(captions, origin).strip()})]
    numbered = [(f"{origin}.{names['caption']}[{n}]", text) for n, text in enumerate(as_list(captions, origin))]
    rows = [Row(place, cells | {"caption": as_text(text, place).strip()}) for place, text in numbered]
    return rows or [Row(origin, cells | {"caption": ""})]


def _as_video(rows: Sequence[Row]) -> ListedVideo:
    start, end = as_span(rows[0])
    return ListedVideo(
        path=rows[0].values["path"],
        origin=rows[0].origin,
        captions=tuple(Caption(row.values["caption"], row.origin) for row in rows),
        start_seconds=start,
        end_seconds=end,
        group=rows[0].values.get("group", ""),
    )
