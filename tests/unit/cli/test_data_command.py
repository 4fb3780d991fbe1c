import json

import pytest
from click.testing import CliRunner

from side4video.cli.data import data
from side4video.core.errors import InputError

SMALL = ["--train-clips", "10", "--test-clips", "10", "--frames", "4", "--size", "32"]


def make(*options):
    return CliRunner().invoke(data, ["make", *options])


def test_the_set_is_made_once_and_said_where(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    first, again = (make(*SMALL, "--json") for _ in range(2))
    assert first.exit_code == 0, first.output
    answers = [json.loads(result.stdout) for result in (first, again)]
    assert answers[0]["folder"].startswith(str(tmp_path))
    assert answers[0]["fingerprint"] == answers[1]["fingerprint"]
    assert len(answers[0]["classes"]) == 10
    assert (tmp_path / "data").is_dir()
    assert len(list((tmp_path / "data").glob("*/train/*.mp4"))) == 10
    spoken = make(*SMALL)
    assert answers[0]["folder"] in spoken.stdout
    assert "10 clips for training" in spoken.stdout


def test_progress_goes_to_stderr(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    result = make(*SMALL)
    assert "20/20" in result.stderr
    assert "20/20" not in result.stdout


@pytest.mark.parametrize(("option", "value"), [("--train-clips", "55"), ("--size", "31"), ("--frames", "0")])
def test_a_wrong_number_names_its_option(option, value):
    result = make(option, value)
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{option}: {value}")
