"""The experiment files that come with the package. Each has a name: its path in `experiments`, without `.yaml`.

The files are in the folder `experiments` at the top of the repository. The wheel holds that folder inside the package.
`presets.json` beside this module says what each file is, and what it takes; `make reference` writes it.
"""

import difflib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from side4video.core.errors import InputError

SUFFIX = ".yaml"
FOLDER = "experiments"
DESCRIPTIONS = "presets.json"
MAX_NEAR = 5
"""Near names in an error."""


@dataclass(frozen=True)
class PresetDescription:
    """What a preset is, and what it takes on one worker."""

    command: str
    """`run` for an experiment, `sweep` for a sweep."""
    title: str
    """The first sentence of the file's comment."""
    paper: str
    """Table and row of the paper; empty for what is not in it."""
    needs: tuple[str, ...]
    """Environment variables that name the folders of data and weights."""
    arms: int
    """Distinct arms of a sweep, those that Optuna proposes included; 1 for an experiment."""
    trainable_parameters: int
    """Of a sweep's largest arm."""
    peak_memory_gib: float
    """Planned peak of one worker; of a sweep's largest pack."""
    key: str
    """Hash of the document that the figures were planned for."""


def experiments_folder() -> Path:
    """The folder of the experiment files: inside the package if it is installed, at the top of a checkout if not."""
    package = Path(__file__).resolve().parents[1]
    inside = package / FOLDER
    return inside if inside.is_dir() else package.parents[1] / FOLDER


def preset_names() -> tuple[str, ...]:
    """All names, those without a folder first."""
    folder = experiments_folder()
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob(f"*{SUFFIX}")]
    return tuple(sorted(names, key=lambda name: ("/" in name, name)))


def is_preset(name: str) -> bool:
    """Whether a preset has exactly this name."""
    folder = experiments_folder()
    file = folder / f"{name}{SUFFIX}"
    is_inside = file.is_relative_to(folder) and ".." not in file.parts
    return is_inside and file.relative_to(folder).as_posix() == f"{name}{SUFFIX}" and file.is_file()


def preset_file(name: str) -> Path:
    """The file of a preset.

    Raises:
        InputError: No preset has this name. The error lists near names.
    """
    if not is_preset(name):
        near = near_presets(name)
        raise InputError(
            name,
            "no preset has this name",
            allowed=", ".join(near) or "the names that `side4video presets` lists",
            fix=_advice(name, near, "choose one: side4video presets"),
        )
    return experiments_folder() / f"{name}{SUFFIX}"


def spec_file(given: str | Path) -> Path:
    """The file that a command is given: the file of this path, or else of the preset of this name.

    Raises:
        InputError: There is neither. The error lists near names.
    """
    path = Path(given)
    if path.is_file():
        return path
    return preset_file(str(given)) if is_preset(str(given)) else _refuse(path)


def base_file(sweep: Path, base: str) -> Path:
    """The file of a sweep's base: that of a path relative to the sweep's file, or else of the preset of this name.

    Raises:
        InputError: There is neither.
    """
    path = (sweep.parent / base).resolve()
    if path.is_file():
        return path
    return preset_file(base) if is_preset(base) else _refuse(path, called=base)


def near_presets(given: str) -> list[str]:
    """Presets that a text may mean: of the same last part, in a folder of this name, or of another spelling."""
    names = preset_names()
    asked = given.removeprefix("./").removesuffix(SUFFIX).removesuffix(".yml").rpartition(f"{FOLDER}/")[2].rstrip("/")
    if asked in names:
        return [asked]
    similar = difflib.get_close_matches(asked, names, n=MAX_NEAR, cutoff=0.6)
    last = _last_part(asked)
    spellings = difflib.get_close_matches(last, {_last_part(name) for name in names}, n=2, cutoff=0.75)
    related = [name for name in names if _last_part(name) == last or name.startswith(f"{asked}/")]
    related += [name for spelling in spellings for name in names if _last_part(name) == spelling]
    found = [*similar, *related] if "/" in asked else [*related, *similar]
    return list(dict.fromkeys(found))[:MAX_NEAR]


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def _advice(given: str, near: list[str], otherwise: str) -> str:
    """What to write instead of a name."""
    if not near:
        return otherwise
    is_one_of_several = len(near) > 1 and "/" not in given and "/" in near[0]
    return "write the whole name" if is_one_of_several else f"did you mean {near[0]}?"


@cache
def descriptions() -> dict[str, PresetDescription]:
    """What is known of the presets, by name. A file that was added since `make reference` is missing."""
    file = Path(__file__).with_name(DESCRIPTIONS)
    document = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: PresetDescription(**{**row, "needs": tuple(row["needs"])}) for name, row in document.items()}


def _refuse(path: Path, called: str = "") -> Path:
    """Say that a path is no file and no preset, with near files, or else with near presets."""
    found = "a folder, not a file" if path.is_dir() else "no such file"
    near = difflib.get_close_matches(path.name, [each.name for each in path.parent.glob("*.y*ml")], n=1)
    if near:
        allowed, fix = "a YAML file, or a preset", f"did you mean {path.parent / near[0]}?"
        raise InputError(str(path), found, allowed=allowed, fix=fix)
    presets = near_presets(called or str(path))
    raise InputError(
        str(path),
        f"{found}, and no preset has this name",
        allowed=f"a YAML file, or a preset: {', '.join(presets)}" if presets else "a YAML file, or a preset",
        fix=_advice(called or str(path), presets, "check the path; `side4video presets` lists the names"),
    )
