"""Shell completion: the script asks the command for words, and the command knows commands, choices and options."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from side4video.cli.completion import COMPLETION_VARIABLE
from side4video.cli.main import cli
from side4video.cli.plan import plan
from side4video.cli.sweep import sweep
from side4video.cli.validate import validate


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_asks_the_command(shell):
    answer = CliRunner().invoke(cli, ["completion", shell])
    assert answer.exit_code == 0
    assert f"{COMPLETION_VARIABLE}={shell}_complete" in answer.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [("side4video ev", "evaluate"), ("side4video list m", "methods"), ("side4video run --go", "--go-on")],
)
def test_words_are_completed(words, expected):
    environment = {
        **os.environ,
        COMPLETION_VARIABLE: "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    done = subprocess.run(
        [sys.executable, "-m", "side4video"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [f"plain,{expected}"]


@pytest.mark.parametrize(
    ("incomplete", "expected"),
    [
        ("quickstart-r", ["quickstart-retrieval", "quickstart-retrieval-sweep"]),
        ("ssv1/vitb", ["ssv1/vitb16", "ssv1/vitb16-16f", "ssv1/vitb16-8f"]),
        ("my-", ["my-"]),  # the shell itself completes files
    ],
)
@pytest.mark.parametrize("command", [plan, sweep, validate])
def test_presets_and_files_are_completed(command, incomplete, expected):
    argument = next(each for each in command.params if isinstance(each, click.Argument))
    found = argument.shell_complete(click.Context(command), incomplete)
    assert [each.value for each in found] == expected
    assert {each.type for each in found} == {"file" if expected == ["my-"] else "plain"}
