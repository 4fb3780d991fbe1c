"""Commands in documentation: taken apart, parsed without running, run, and their output compared with what is shown."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from doc_blocks import Block, BlockError
from side4video.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
OTHERS = {
    "make",
    "curl",
    "ray",
    "source",
    "export",
    "pip",
    "kubectl",
    "createuser",
    "createdb",
    "mlflow",
    "echo",
    "chmod",
    "sbatch",
    "git",
    "ssh",
    "cat",
    "ls",
    "python",
    "docker",
    "ffmpeg",
}
"""Programs that the documentation may name beside our own."""

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A line of a block, and what is shown below it."""

    place: str
    environment: dict[str, str]
    words: tuple[str, ...]
    shown: str
    line: str

    @property
    def program(self) -> str:
        """The first word, without the environment's folder."""
        return self.words[0].removeprefix(".venv/bin/") if self.words else ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The others."""
        return self.words[1:]


def commands_of(block: Block) -> list[Command]:
    """The commands of a console (`$ command`, output) or of a shell (a command a line).

    Raises:
        BlockError: There is none, or a line cannot be taken apart.
    """
    text = block.text.replace("\\\n", " ")
    found: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        if block.language == "console":
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
            elif line.strip():
                raise BlockError(f"{block.place}: output stands before the first `$ command`")
        elif line.strip() and not line.lstrip().startswith("#"):
            found.append((line.strip(), []))
    if not found:
        raise BlockError(f"{block.place}: no command in it")
    return [_command(block.place, line, "\n".join(shown).strip("\n")) for line, shown in found]


def _command(place: str, line: str, shown: str) -> Command:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise BlockError(f"{place}: {line!r}: {error}") from None
    environment = {}
    while words and _SETTING.fullmatch(words[0]):
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    return Command(place, environment, tuple(words), shown, line)


def parse(command: Command) -> None:
    """Take a command's line apart without running it: our own by click, a target of make by the Makefile.

    Raises:
        BlockError: There is no such command, option, target or file of `experiments/`.
    """
    if not command.words:
        return
    if command.program == "side4video":
        parse_ours(command.arguments, command.place)
    elif command.program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        asked = [word for word in command.arguments if "=" not in word]
        if missing := [word for word in asked if word not in targets]:
            raise BlockError(f"{command.place}: make has no target {missing}")
    elif command.program not in OTHERS:
        raise BlockError(f"{command.place}: {command.program!r} is no program that the documentation may name")
    for word in command.words:
        is_ours = word.startswith("experiments/") and word.endswith((".yaml", ".sh"))
        if is_ours and not (ROOT / word).is_file():
            raise BlockError(f"{command.place}: there is no {word}")


def parse_ours(arguments: Sequence[str], place: str) -> None:
    """Take our own command's line apart, group by group, and call nothing.

    Raises:
        BlockError: click refuses it.
    """
    command: click.Command = cli
    context: click.Context | None = None
    rest = list(arguments)
    name = "side4video"
    try:
        while True:
            context = command.make_context(name, rest, parent=context)
            if not isinstance(command, click.Group):
                return
            rest = [*context._protected_args, *context.args]
            if not rest:
                return
            name, found, rest = command.resolve_command(context, rest)
            if found is None or name is None:
                raise BlockError(f"{place}: no command {rest}")
            command = found
    except click.exceptions.NoArgsIsHelpError:
        return
    except click.ClickException as error:
        raise BlockError(f"{place}: side4video {' '.join(arguments)}: {error.format_message()}") from None
    except click.exceptions.Exit:
        return


def name_ours(words: Sequence[str], place: str) -> None:
    """Look whether a command that a text names is there, with its options; what it is given may be left out or a word.

    Raises:
        BlockError: There is no such command, or it has no such option.
    """
    command: click.Command = cli
    for word in words:
        if word in (">", "|", "--"):
            return
        if word.startswith("-"):
            if not any(
                word in (*each.opts, *each.secondary_opts) for each in command.get_params(click.Context(command))
            ):
                raise BlockError(f"{place}: {command.name} has no option {word}")
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            if found is None:
                raise BlockError(f"{place}: no command {word}")
            command = found


def is_as_shown(shown: str, printed: str) -> bool:
    """Whether an output is what a page shows: `...` stands for anything, spaces at the ends of lines for nothing."""
    lines = [line.rstrip() for line in printed.strip("\n").split("\n")]
    pattern = ""
    for line in shown.strip("\n").split("\n"):
        line = line.rstrip()
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r".*".join(re.escape(part) for part in line.split("...")) + r"\n"
    return re.fullmatch(pattern, "\n".join(lines) + "\n") is not None
