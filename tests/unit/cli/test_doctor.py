"""`side4video doctor` as it is called: a line for each check, JSON, exit codes."""

import json

import pytest
from click.testing import CliRunner

from side4video.apps.doctor import report
from side4video.apps.doctor.finding import failed, note, ok
from side4video.apps.doctor.report import CHECKS, Check
from side4video.cli.doctor import doctor


@pytest.fixture
def answers(monkeypatch):
    found = {name: ok(f"{name} is well") for name in CHECKS}

    def run(on_check=None):
        checks = [Check(name, each) for name, each in found.items()]
        for check in checks:
            if on_check is not None:
                on_check(check)
        return checks

    monkeypatch.setattr(report, "run_checks", run)
    return found


def test_a_line_for_each_check(answers):
    answers["weights"] = note("none", "download them")
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == len(CHECKS)
    assert "weights     note    none · fix: download them" in done.stdout


def test_a_failed_check_is_exit_code_1(answers):
    answers["Ray"] = failed("no ports", "allow them")
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 1
    assert "FAILED  no ports · fix: allow them" in done.stdout
    done = CliRunner().invoke(doctor, ["--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["healthy"] is False


def test_what_a_check_says_controls_no_terminal(answers):
    answers["home"] = ok("a\x1b]0;title\x07\nsecond line")
    done = CliRunner().invoke(doctor)
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == len(CHECKS)


@pytest.mark.slow
def test_this_machine(tmp_path, monkeypatch):
    """The real checks, in processes; a store is not made."""
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(doctor, ["--json"])
    document = json.loads(done.stdout)
    found = {each["check"]: each["status"] for each in document["checks"]}
    assert list(found) == list(CHECKS)
    assert {name: found[name] for name in ("Python", "packages", "PyAV", "Ray", "run store")} == dict.fromkeys(
        ("Python", "packages", "PyAV", "Ray", "run store"), "ok"
    ) or found["Ray"] == "note"
    assert not (tmp_path / "home").exists()
