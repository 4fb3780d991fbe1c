"""Help: each line on a page of commands is whole at 80 columns, each command ends with examples that parse."""

import shlex

import click
import pytest

from doc_commands import parse_ours
from side4video.cli.main import cli
from side4video.terminal.options import example


def commands(command: click.Command = cli, name: str = "side4video"):
    """Each command with its full name."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from commands(found, f"{name} {each}")


ALL = dict(commands())
GROUPS = {name: command for name, command in ALL.items() if isinstance(command, click.Group)}


def help_page(name: str) -> str:
    return ALL[name].get_help(click.Context(ALL[name], info_name=name, terminal_width=80))


def cut_lines(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.endswith("...") and not line.startswith("Usage")]


@pytest.mark.parametrize("name", GROUPS)
def test_no_line_of_a_list_of_commands_is_cut(name):
    assert not cut_lines(help_page(name))


def test_a_long_line_would_be_found():
    group = click.Group("group", commands=[click.Command("one", help="Check " + "the files and " * 9 + "end.")])
    assert cut_lines(group.get_help(click.Context(group, terminal_width=80)))


@pytest.mark.parametrize("name", [name for name in ALL if name not in GROUPS])
def test_each_command_ends_with_an_example_that_parses(name):
    page = help_page(name)
    heading, *lines = page[page.index("Example") :].splitlines()
    assert heading in ("Example:", "Examples:")
    assert (heading == "Examples:") == (len(lines) > 1)
    for line in lines:
        program, *arguments = shlex.split(line.partition(" > ")[0])
        assert program == "side4video"
        parse_ours(arguments, name)
    assert any(line.strip().startswith(f"{name} ") or line.strip() == name for line in lines)


def test_each_line_of_an_example_stands_alone():
    command = click.Command("one", epilog=example("run a.yaml", "run b.yaml"))
    page = command.get_help(click.Context(command, terminal_width=80))
    assert page.endswith("Examples:\n    side4video run a.yaml\n    side4video run b.yaml")


@pytest.mark.parametrize("name", list(ALL))
def test_each_command_begins_with_a_verb(name):
    first = (ALL[name].help or "").split()[0]
    assert first[0].isupper()
    assert not first.endswith(("s", "ing", ":")), f"{name}: {first}"
