"""Shell completion: the script asks the command for words, and the command knows commands, choices and options."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from side4video.cli.completion import COMPLETION_VARIABLE
from side4video.cli.main import cli


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
