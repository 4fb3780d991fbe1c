"""Options for the fields that people change most: each is the override that it names."""

import json
import shlex

import click
import pytest
from click.testing import CliRunner

from side4video.cli.run import run
from side4video.core.errors import InputError
from side4video.spec.load import apply_override, parse_experiment
from side4video.terminal.options import overrides
from side4video.terminal.usual_fields import USUAL_FIELDS, usual_fields
from tiny import DOCUMENT, merged

VALUES = ("another", 5, 0.002, 4, 7, 2, 1, 128, 2, 1)


@click.command()
@usual_fields
@overrides
def shown(overrides):
    click.echo("\n".join(overrides))


def test_there_are_ten_and_run_has_them():
    assert len(USUAL_FIELDS) == len(VALUES) == 10
    assert {flag for flag, *_ in USUAL_FIELDS} <= {name for option in run.params for name in option.opts}


@pytest.mark.parametrize(("field", "value"), list(zip(USUAL_FIELDS, VALUES, strict=True)))
def test_an_option_is_its_override(field, value):
    flag, form, kind, _ = field
    printed = CliRunner().invoke(shown, [flag, str(value)])
    assert printed.output.strip() == form.format(json.dumps(value) if kind == "TEXT" else value)
    document = merged(DOCUMENT, {})
    apply_override(document, printed.output.strip())
    assert parse_experiment(document) != parse_experiment(DOCUMENT)


@pytest.mark.parametrize("name", ["5", "2024", "1e5", "on", "null", "x"])
def test_a_name_is_text(name):
    document = merged(DOCUMENT, {})
    apply_override(document, CliRunner().invoke(shown, ["--name", name]).output.strip())
    assert parse_experiment(document).name == name


@pytest.mark.parametrize("name", ["", "a: b", "[x]", "é"])
def test_a_name_that_cannot_be_one(name):
    document = merged(DOCUMENT, {})
    apply_override(document, CliRunner().invoke(shown, ["--name", name]).output.strip())
    with pytest.raises(InputError, match=r"name: '.*' · allowed: 1 to 80 of A-Z"):
        parse_experiment(document)


def test_a_warmup_that_is_too_long_says_the_words_that_work(tmp_path):
    """Of a recipe with 30 epochs, four of them warm-up."""
    document = merged(DOCUMENT, {})
    document["optimization"] = {"recipe": "ssv2-vitb16", "batch_size": 8}
    apply_override(document, "optimization.length={epochs: 4}")  # --epochs 4
    with pytest.raises(InputError, match="warmup of 4 epochs is not shorter") as found:
        parse_experiment(document)
    words = shlex.split(found.value.fix.partition("add ")[2].partition(" to the command")[0])
    assert words[0] == "--set"
    apply_override(document, words[1])
    assert parse_experiment(document).optimization.warmup_steps(40, 10) == 4


def test_set_comes_last_and_wins():
    printed = CliRunner().invoke(shown, ["--seed", "1", "--set", "seed=2"])
    assert printed.output.split() == ["seed=1", "seed=2"]


def test_nothing_given_changes_nothing():
    assert CliRunner().invoke(shown, []).output.strip() == ""
