"""`side4video presets`: the experiment files that come with the package; list, show and copy them."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from side4video import __version__
from side4video.core.errors import InputError
from side4video.core.files import write_atomically
from side4video.core.units import GIB, format_bytes, format_count
from side4video.spec.presets import (
    FOLDER,
    SUFFIX,
    PresetDescription,
    descriptions,
    is_preset,
    preset_file,
    preset_names,
)
from side4video.terminal.options import as_json, example, table_console
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from rich.console import Group

    from side4video.terminal.tables import FittedTable

_SCHEMA = re.compile(r"(?m)^# yaml-language-server: \$schema=\S*?(\w+\.schema\.json)$")
_BASE = re.compile(r"(?m)^base: (\S+)$")
_MENTIONED = re.compile(rf"\b{FOLDER}/([\w./-]+){re.escape(SUFFIX)}")
NOTE = (
    "trained: parameters, of a sweep's largest arm. peak: planned memory of one worker, as the file is; of a sweep, "
    "that of its largest pack."
)

preset_name = click.argument("name")


@click.group(
    short_help="List, show and copy the experiment files that come with side4video.",
    invoke_without_command=True,
    epilog=example("presets", "presets copy ssv2/vitb16 -o my.yaml"),
)
@as_json
@click.pass_context
def presets(context: click.Context, as_json: bool) -> None:
    """List the experiment files that come with side4video.

    Commands that take a YAML file also take the name of a preset: `side4video plan ssv2/vitb16`. If a file has the same
    path as a name, the file is used.
    """
    if context.invoked_subcommand is None:
        _list(as_json=as_json)


@presets.command(short_help="Print the file of a preset.", epilog=example("presets show quickstart > my.yaml"))
@preset_name
def show(name: str) -> None:
    """Print the file of the preset NAME as it is."""
    for line in preset_file(name).read_text(encoding="utf-8").splitlines():
        print_text(line)


@presets.command(
    short_help="Copy a preset into a file of your own.", epilog=example("presets copy ssv2/vitb16 -o my.yaml")
)
@preset_name
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="The file to write. Default: the last part of the name, in this folder.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def copy(name: str, out: Path | None, force: bool) -> None:
    """Copy the preset NAME into a file, to change it.

    The base of a sweep becomes the name of a preset, so that the copy works in any folder.
    """
    file = preset_file(name)
    target = out or Path(file.name)
    if target.is_dir():
        raise InputError("--out", f"{target} is a folder", allowed="a file", fix=f"--out {target / file.name}")
    if (target.exists() or target.is_symlink()) and not force:
        raise InputError("--out", f"{target} exists", fix="name another file: --out FILE, or replace it: --force")
    text = copied_text(name, file.read_text(encoding="utf-8"), target)
    try:
        write_atomically(target, text)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(
            "--out", f"{error.filename}: {error.strerror}", allowed="a file that can be written"
        ) from error
    print_text(f"written: {target}")


def copied_text(name: str, text: str, target: Path) -> str:
    """The text of a preset's file as it stands in a copy: nothing in it depends on the place of the original."""
    schemas = Path(__file__).resolve().parents[1] / "spec" / "schemas"

    def mention(match: re.Match[str]) -> str:
        if match[1] == name:
            return str(target)
        return match[1] if is_preset(match[1]) else match[0]

    head = f"# A copy of the preset {name} of side4video {__version__}.\n"
    text = _MENTIONED.sub(mention, text)
    text = _BASE.sub(lambda match: f"base: {_base_name(name, match[1])}", text)
    schema = _SCHEMA.search(text)
    if schema is None:
        return head + text
    first = f"# yaml-language-server: $schema={(schemas / schema[1]).as_uri()}\n"
    return first + head + _SCHEMA.sub("", text, count=1).lstrip("\n")


def _base_name(name: str, base: str) -> str:
    """The name of the preset that a sweep's `base` means: a path from the sweep's own folder."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), base)).removesuffix(SUFFIX)


def _list(*, as_json: bool) -> None:
    known = descriptions()
    rows = [(name, known.get(name)) for name in preset_names()]
    if as_json:
        print_json([{"name": name, **(_as_json(row) if row else {})} for name, row in rows])
        return
    console = table_console()
    console.print(tables(rows))
    console.print("\nTo change one: side4video presets copy NAME -o FILE", highlight=False)


def _as_json(row: PresetDescription) -> dict[str, object]:
    return {field: value for field, value in asdict(row).items() if field != "key"}


def tables(rows: Sequence[tuple[str, PresetDescription | None]]) -> "Group":
    """A table of experiments and one of sweeps.

    A preset without a description, a file that was added to a checkout, has empty cells among the experiments.
    """
    from rich.console import Group
    from rich.text import Text

    runs = [(name, row) for name, row in rows if row is None or row.command == "run"]
    sweeps = [(name, row) for name, row in rows if row is not None and row.command == "sweep"]
    experiments = replace(_table(runs), title="Experiments: side4video run NAME")
    arms = {"arms": [str(row.arms) for _, row in sweeps]}
    return Group(
        experiments, Text(), replace(_table(sweeps, arms), title="Sweeps: side4video sweep NAME", caption=f"\n{NOTE}")
    )


def _table(
    rows: Sequence[tuple[str, PresetDescription | None]], further: Mapping[str, Sequence[str]] | None = None
) -> "FittedTable":
    from side4video.terminal.tables import fitted

    columns = {
        "name": [name for name, _ in rows],
        "in the paper": [row.paper if row else "" for _, row in rows],
        **(further or {}),
        "trained": [format_count(row.trainable_parameters) if row else "" for _, row in rows],
        "peak": [format_bytes(row.peak_memory_gib * GIB) if row else "" for _, row in rows],
    }
    return fitted(columns, texts=("name", "in the paper"))
