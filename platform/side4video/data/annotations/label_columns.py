"""Columns of several labels: all classes of a clip in one cell, and a class for each named head.

    path,labels,verb_class,noun_class
    a.mp4,holding a cup;drinking,take,cup
    b.mp4,,put,cup                             no class of `labels`

A cell of several classes has `;` between them, or is a JSON list, which allows `;` in a name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from side4video.core.bounded_files import parse_json
from side4video.core.errors import InputError
from side4video.data.annotations.class_names import label_position
from side4video.data.annotations.tables import CLIPS, Row, TableSchema
from side4video.data.clip import Clip

LABELS = "labels"
"""The column of all classes of a clip, as rows name it."""
DIVIDER = ";"
ALL_HEADS = "action"
"""What metrics of all heads together are called (`action_top1`), so that no head has this name."""


def head_column(head: str) -> str:
    """The column of a head's classes, as rows name it."""
    return f"label of {head}"


def table_form(*, has_labels: bool, heads: Iterable[str]) -> TableSchema:
    """The form of a list with these columns. `label` is then not required, and always has its own name."""
    own = (*([LABELS] if has_labels else []), *map(head_column, heads))
    if not own:
        return CLIPS
    return replace(
        CLIPS,
        columns=(*CLIPS.columns, *own),
        required=("path", *own),
        may_be_empty=(LABELS,),
        needs_header=True,
        lists=(LABELS,),
        synonyms=tuple((column, names) for column, names in CLIPS.synonyms if column != "label"),
    )


def split_labels(cell: str, origin: str) -> list[str]:
    """The classes that a cell names.

    Raises:
        InputError: One is empty or is named twice, or the cell is no JSON list of texts; file and line are named.
    """
    if not cell.strip():
        return []
    allowed = "classes with ; between them, a JSON list of texts, or nothing"
    if cell.lstrip().startswith("["):
        try:
            values = parse_json(cell)
        except ValueError as error:
            raise InputError(
                origin, f"labels are {cell!r:.80}, which is not JSON: {error}", allowed=allowed, fix='["one", "two"]'
            ) from error
        names = [str(value).strip() if isinstance(value, str | int) else "" for value in values]
    else:
        names = [name.strip() for name in cell.split(DIVIDER)]
    if not all(names):
        raise InputError(
            origin, f"labels are {cell!r:.80}, and one of them is empty", allowed=allowed, fix="remove the `;` too much"
        )
    if twice := next((name for name in names if names.count(name) > 1), ""):
        found = f"labels are {cell!r:.80}, and {twice!r} is named twice"
        raise InputError(origin, found, allowed="each class once", fix="remove one of the two, or correct it")
    return names


def label_positions(cell: str, positions: Mapping[str, int], origin: str) -> tuple[int, ...]:
    """The positions of all classes of a cell, ascending.

    Raises:
        InputError: One is no class; file and line are named.
    """
    return tuple(sorted({label_position(name, positions, origin) for name in split_labels(cell, origin)}))


def check_named_once(clips: Iterable[Clip]) -> None:
    """Refuse a video, or a span of one, whose lines name different classes: each would deny those of the other.

    Raises:
        InputError: There is one; both lines are named.
    """
    first: dict[object, Clip] = {}
    for clip in clips:
        other = first.setdefault((clip.path, clip.start_seconds, clip.end_seconds, clip.reversed), clip)
        if other.labels != clip.labels:
            raise InputError(
                clip.origin,
                f"the video is in {other.origin} too, with other labels",
                allowed="one line a video, or a span of it, with all its classes",
                fix="join the lines",
            )


def single_label(row: Row, positions: Mapping[str, int], *, is_needed: bool) -> int | None:
    """The position of a row's one class; None if the list has no such column.

    Raises:
        InputError: The cell is empty, or its text is no class; file and line are named.
    """
    if "label" not in row.values and not is_needed:
        return None
    if not row.values.get("label"):
        raise InputError(
            row.origin,
            "the label is empty",
            allowed="a class in each line, or no column `label`",
            fix="fill it in, or remove the column; only `labels` may be empty",
        )
    return label_position(row.values["label"], positions, row.origin)
