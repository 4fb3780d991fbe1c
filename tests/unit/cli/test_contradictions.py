"""Options that contradict each other, or that another command has, are refused with what to write."""

import pytest
import yaml
from click.testing import CliRunner

import side4video
from side4video.cli.main import cli
from side4video.core.errors import InputError
from tiny import DOCUMENT

SWEEP = {"name": "s", "base": DOCUMENT, "grid": {"method.layers": [1, 2]}}


@pytest.fixture
def files(tmp_path, home):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(DOCUMENT))
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    return tmp_path


def refused(*words):
    done = CliRunner().invoke(cli, [str(each) for each in words])
    assert isinstance(done.exception, InputError), (done.output, done.exception)
    return str(done.exception)


def test_two_places(files):
    for command in ("run", "sweep"):
        said = refused(command, files / f"{command}.yaml", "--local", "--address", "http://x")
        assert said.startswith("--address: http://x, beside --local · allowed: one of them · fix: ")
    for function, document in ((side4video.run, DOCUMENT), (side4video.sweep, SWEEP)):
        with pytest.raises(InputError, match=r"^address: 'auto', beside local=True .* fix: add local=False"):
            function(document, address="auto")


def test_two_ways_to_continue(files):
    said = refused("run", files / "run.yaml", "--local", "--resume", "--go-on")
    assert said.startswith("--resume: beside --go-on · allowed: one of them · fix: leave out --resume")
    with pytest.raises(InputError, match=r"^resume: beside go_on"):
        side4video.run(DOCUMENT, resume=True, go_on=True)


@pytest.mark.parametrize(
    ("command", "option", "words"),
    [
        ("sweep", "--lr", "--set 'overrides.optimization.learning_rate=VALUE'"),
        ("sweep", "--epochs", "--set 'overrides.optimization.length={epochs: VALUE}'"),
        ("sweep", "--name", "--set 'name=VALUE'"),
        ("plan", "--lr", "--set 'optimization.learning_rate=VALUE'"),
        ("validate", "--frames", "--set 'data.frames=VALUE'"),
    ],
)
def test_an_option_of_run_names_the_field(files, command, option, words):
    done = CliRunner().invoke(cli, [command, str(files / "run.yaml"), option, "3"])
    assert done.exit_code == 2
    assert f"No such option '{option}'; `side4video run` has it. Write {words}." in done.output.replace("\n", " ")


def test_other_options_are_as_before(files):
    done = CliRunner().invoke(cli, ["sweep", str(files / "sweep.yaml"), "--reprt", "3"])
    assert done.exit_code == 2
    assert "'--report'" in done.output.replace("\n", " ")


def test_what_it_says_works(files):
    done = CliRunner().invoke(
        cli, ["validate", str(files / "sweep.yaml"), "--set", "overrides.optimization.learning_rate=inf"]
    )
    assert "optimization.learning_rate: 'inf'" in done.output


@pytest.mark.parametrize("value", ["inf", "nan", "1e999", "-inf"])
@pytest.mark.parametrize(
    "words",
    [
        ("plan", "run.yaml", "--sustained-teraflops"),
        ("predict", "any", "x.mp4", "--window-seconds"),
        ("predict", "any", "x.mp4", "--video-seconds"),
    ],
)
def test_options_take_finite_numbers(words, value):
    done = CliRunner().invoke(cli, [*words, value])
    assert done.exit_code == 2
    assert "Invalid value" in done.output
