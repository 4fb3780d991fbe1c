"""Class names, and the class that a label means."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from side4video.core.bounded_files import MAX_NAME_LENGTH
from side4video.core.errors import InputError
from side4video.data.annotations.json_files import as_object, read_json
from side4video.data.annotations.tables import plain_column_name, read_text, shorten_list

MAX_LABEL = 99_999
"""A larger whole-number label is a mistaken column (a frame count, an id), not a class."""

MISSING_VALUES = frozenset({"nan", "none", "null", "n/a", "na", "<na>", "nil"})
"""What programs write for a value that is not there, in lower case."""

_NUMBER_COLUMNS = frozenset({"id", "index", "classid", "classindex", "labelid", "labelindex", "label", "position"})
_NAME_COLUMNS = frozenset(
    {"name", "names", "class", "classes", "classname", "label", "labels", "labelname", "category"}
)

_WHOLE_NUMBER = re.compile(r"-?\d+")
_NUMBER = re.compile(r"-?\d+(\.\d*)?")


def read_class_names(path: Path, field: str = "data.dataset.class_names.path") -> tuple[str, ...]:
    """The names in the order of their positions.

    Args:
        path: UTF-8 text, one name per line; CSV with a header `id,name` and ids from 0 without gaps; or `.json`, an
            object of names and their positions, as that of Something-Something v2.
        field: Where the document names the file, for messages.

    Raises:
        InputError: The file is missing or empty, or a name appears twice; the line is named.
    """
    if path.suffix == ".json" and path.is_file():
        return _read_positions(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(field, f"{path} cannot be read: {error.strerror}", fix="check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(str(path), "not UTF-8 text", fix="save the file as UTF-8 (iconv can)") from error
    names = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if names and _is_numbered(path, names):
        names = [
            (number, _parse_numbered_name(path, number, text, position))
            for position, (number, text) in enumerate(names[1:])
        ]
    if not names:
        raise InputError(str(path), "no class name in it", fix="one name per line, or CSV with a header id,name")
    seen: dict[str, int] = {}
    for number, name in names:
        check_name_length(name, f"{path}:{number}")
        if name in seen:
            raise InputError(f"{path}:{number}", f"the class {name!r} is in line {seen[name]} already")
        seen[name] = number
    return tuple(seen)


def select_classes(path: Path, names: Sequence[str], field: str) -> tuple[str, ...]:
    """The classes in a file, in its order; `names` has all classes of the data set.

    Raises:
        InputError: The file is missing or wrong (`field` is where the document names it), or a name is no class; the
            line is named.
    """
    chosen = read_class_names(path, field)
    known = set(names)
    for name in chosen:
        if name not in known:
            lines = read_text(path).split("\n")
            line = next((number for number, text in enumerate(lines, 1) if name in text), 1)
            near = difflib.get_close_matches(name, names, 1)
            raise InputError(
                f"{path}:{line}",
                f"{name!r} is no class of the data set",
                allowed=shorten_list(list(names)),
                fix=f"did you mean {near[0]!r}?" if near else "remove the line, or is it the file of another data set?",
            )
    return chosen


def _is_numbered(path: Path, lines: Sequence[tuple[int, str]]) -> bool:
    """Whether the first line is a header of numbers and names.

    Raises:
        InputError: It is another header, which would be a class and move the position of each other one.
    """
    number, first = lines[0]
    cells = [plain_column_name(cell.strip().strip('"')) for cell in first.split(",")]
    if len(cells) == 2 and cells[0] in _NUMBER_COLUMNS and cells[1] in _NAME_COLUMNS:
        return True
    are_numbered = len(lines) > 1 and all(re.match(r"\d+\s*,", text) for _, text in lines[1:])
    if (are_numbered and not re.match(r"\d+\s*,", first)) or (cells[0] in _NAME_COLUMNS - {"name"} and len(cells) == 1):
        raise InputError(
            f"{path}:{number}",
            f"{first!r} looks like a header, not like a class",
            allowed="one name per line without a header, or CSV with a header id,name",
            fix="write id,name" if are_numbered else "remove the line",
        )
    return False


def check_name_length(name: str, origin: str) -> None:
    """Refuse a class name that is no name.

    Raises:
        InputError: It has more than `MAX_NAME_LENGTH` characters; file and line are named.
    """
    if len(name) > MAX_NAME_LENGTH:
        found = f"a class name of {len(name):,} characters: {name[:40]!r}..."
        raise InputError(origin, found, allowed=f"at most {MAX_NAME_LENGTH}", fix="is it another column?")


def infer_classes(labels: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The classes that a list of labels implies: sorted names, or 0 to the largest whole number.

    Each label comes with its file and line.

    Raises:
        InputError: All are whole numbers, and one is out of range.
    """
    origins: dict[str, str] = {}
    for label, origin in labels:
        origins.setdefault(label, origin)
    for label, origin in origins.items():
        check_name_length(label, origin)
    others = [label for label in origins if not _WHOLE_NUMBER.fullmatch(label)]
    no_numbers = [label for label in others if not _NUMBER.fullmatch(label)]  # pandas writes 1.0 beside a nan
    if 0 < len(no_numbers) < len(origins) and all(label.lower() in MISSING_VALUES for label in no_numbers):
        raise InputError(
            origins[no_numbers[0]],
            f"the label is {no_numbers[0]!r}, and other labels are numbers",
            allowed="a number, or a name in every line",
            fix="fill it in, or remove the line",
        )
    if others:
        return tuple(sorted(origins))
    for label, origin in origins.items():
        if not 0 <= int(label) <= MAX_LABEL:
            raise InputError(
                origin, f"label {label} is out of range", allowed=f"0 to {MAX_LABEL}", fix="is it another column?"
            )
    return tuple(str(index) for index in range(max(map(int, origins)) + 1))


def label_position(label: str, positions: Mapping[str, int], origin: str) -> int:
    """The position of the class that a label means: by its name, or a whole number.

    Raises:
        InputError: It is no class; file and line are named.
    """
    if label in positions:
        return positions[label]
    if _WHOLE_NUMBER.fullmatch(label):
        if 0 <= int(label) < len(positions):
            return int(label)
        raise InputError(
            origin,
            f"label {label} is out of range",
            allowed=f"0 to {len(positions) - 1}",
            fix=f"correct the label, or name all classes: there are {len(positions)} now",
        )
    near = difflib.get_close_matches(label, positions, 1)
    fix = f"did you mean {near[0]!r}?" if near else "correct the label, or add it to the names of the classes"
    raise InputError(origin, f"label {label!r} is no class", allowed=shorten_list(list(positions)), fix=fix)


def _read_positions(path: Path) -> tuple[str, ...]:
    positions: dict[int, str] = {}
    for name, value in as_object(read_json(path), str(path)).items():
        if isinstance(value, bool) or not str(value).isdecimal() or not name.strip('" '):
            raise InputError(f"{path}:{name}", f"found {value!r:.60}", allowed="a name and its position from 0")
        if int(value) in positions:
            raise InputError(f"{path}:{name}", f"position {value} is that of {positions[int(value)]!r} already")
        positions[int(value)] = name.strip('" ')  # some files keep the quotes of the CSV that they were made from
    if sorted(positions) != list(range(len(positions))) or not positions:
        gap = next(position for position in range(len(positions) + 1) if position not in positions)
        raise InputError(str(path), f"no class has position {gap}", fix="positions must run from 0 without gaps")
    names = tuple(positions[position] for position in range(len(positions)))
    for name in names:
        check_name_length(name, str(path))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(str(path), f"the class {repeated[0]!r} appears twice")
    return names


def _parse_numbered_name(path: Path, number: int, text: str, position: int) -> str:
    identifier, _, name = text.partition(",")
    if identifier.strip() != str(position) or not name.strip():
        raise InputError(
            f"{path}:{number}", f"found {text!r}", allowed=f"{position},a name", fix="ids must run from 0 without gaps"
        )
    return name.strip().strip('"')
