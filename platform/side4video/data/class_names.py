"""Files of class names."""

from pathlib import Path

from side4video.core.errors import InputError


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names in the order of their positions.

    Args:
        path: UTF-8 text, one name per line, or CSV with a header `id,name` and ids from 0 without gaps.

    Raises:
        InputError: The file is missing or empty, or a name stands twice; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(
            "data.dataset.class_names.path", f"{path} cannot be read: {error.strerror}", fix="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(str(path), "not UTF-8 text", fix="save the file as UTF-8 (iconv can)") from error
    names = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if names and names[0][1].replace(" ", "") == "id,name":
        names = [(number, _numbered(path, number, text, position)) for position, (number, text) in enumerate(names[1:])]
    if not names:
        raise InputError(str(path), "no class name in it", fix="one name per line, or CSV with a header id,name")
    seen: dict[str, int] = {}
    for number, name in names:
        if name in seen:
            raise InputError(f"{path}:{number}", f"the class {name!r} stands in line {seen[name]} already")
        seen[name] = number
    return tuple(seen)


def _numbered(path: Path, number: int, text: str, position: int) -> str:
    identifier, _, name = text.partition(",")
    if identifier.strip() != str(position) or not name.strip():
        raise InputError(
            f"{path}:{number}", f"found {text!r}", allowed=f"{position},a name", fix="ids must run from 0 without gaps"
        )
    return name.strip().strip('"')
