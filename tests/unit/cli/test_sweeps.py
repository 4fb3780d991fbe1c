"""`side4video sweeps`: status, add and stop of a sweep with seats."""

import json

import pytest

import sweeps as small
from seat_passes import LENGTH
from side4video.cli.main import cli

GRID = {"grid": {"optimization.learning_rate": [1e-3, 3e-3]}, "packing": {"seats": 1}}


@pytest.fixture(scope="module", autouse=True)
def finished():
    small.run(small.make_sweep("seats-cli", {**LENGTH, "seed": 91}, **GRID))


def call(runner, *words):
    answer = runner.invoke(cli, ["sweeps", *words])
    return answer.exit_code, answer.output


@pytest.fixture
def runner():
    from click.testing import CliRunner

    return CliRunner()


def test_status_says_who_ended_and_how_long_it_took(runner):
    code, text = call(runner, "status", "seats-cli")
    assert code == 0
    assert "ended after 8 epochs of the pass: 2 finished" in text
    code, text = call(runner, "status", "seats-cli", "--json")
    found = json.loads(text)
    (state,) = found["passes"].values()
    assert found["runs_now"] is False
    assert state["counts"] == {"finished": 2}


def test_an_arm_is_added_and_waits_for_the_command(runner):
    code, text = call(runner, "add", "seats-cli", "--arm", "method.dim: 128", "--label", "wide")
    assert code == 0
    assert "added: wide" in text
    assert "does not run now" in text
    code, text = call(runner, "status", "seats-cli")
    assert "1 request not taken yet" in text


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            ["add", "seats-cli", "--arm", "method.dim"],
            ["--arm", "allowed: fields and values", "fix: --arm 'method.dim: 96'"],
        ),
        (["add", "seats-cli", "--arm", "method.dim: 96"], ["multiples of 64"]),
        (["add", "seats-cli", "--arm", "data.frames: 2"], ["needs clips", "allowed:", "fix:"]),
        (["add", "seats-cli", "--arm", "optimization.learning_rate: 0.001"], ["has this arm already", "(finished)"]),
        (["stop", "seats-cli", "--arm", "learning_rate=0.001"], ["has ended: finished"]),
        (["stop", "seats-cli", "--arm", "nobody"], ["is no arm of the sweep"]),
        (["status", "no-such-sweep"], ["no run has this name"]),
    ],
)
def test_wrong_requests_are_one_line(runner, words, parts):
    answer = runner.invoke(cli, ["sweeps", *words])
    assert answer.exit_code != 0
    said = str(answer.exception)
    assert "\n" not in said
    for part in parts:
        assert part in said
