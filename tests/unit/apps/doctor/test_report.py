"""All checks together: each one's failure is one line, nothing hangs, and the report is private."""

import json
import time

import pytest

from pool_jobs import check_by_name
from side4video.apps.doctor.finding import Finding, failed, note, ok
from side4video.apps.doctor.private_text import environment, without_private
from side4video.apps.doctor.report import CHECKS, Check, bug_report, is_healthy, run_check, run_checks, run_in_processes
from side4video.core.errors import Side4VideoError
from side4video.core.worker_pool import JobFailed


def runner_of(answers):
    """A runner with these answers, in the reverse order."""

    def run(names, seconds):
        yield from ((name, answers[name]) for name in reversed(names))

    return run


def test_answers_come_in_the_order_of_the_checks():
    checks = run_checks(["Python", "Ray"], runner=runner_of({"Python": ok("a"), "Ray": note("b")}))
    assert checks == [Check("Python", ok("a")), Check("Ray", note("b"))]


def test_a_check_that_hangs_or_dies_is_one_failed_line():
    answers = {
        "Ray": JobFailed("no answer within 30 s; a decoder may hang on it"),
        "PyAV": JobFailed("the process that read it died (exit code -11)"),
        "decord": JobFailed("the process that read it died (exit code -11)"),
        "Python": ok("fine"),
    }
    found = {check.name: check.finding for check in run_checks(list(answers), runner=runner_of(answers))}
    assert found["Ray"].text == "no answer within 30 s"
    assert found["PyAV"].text == "the process of this check died (exit code -11)"
    assert [found[name].status for name in answers] == ["failed", "failed", "note", "ok"]
    assert found["Ray"].fix
    assert found["PyAV"].fix


def test_what_cannot_be_started_is_told():
    def run(names, seconds):
        yield "Python", ok("fine")
        raise Side4VideoError("a process could not start; out of memory?")

    checks = run_checks(["Python", "torch"], runner=run)
    assert [check.finding.status for check in checks] == ["ok", "failed"]
    assert "out of memory" in checks[1].finding.text


@pytest.mark.parametrize(
    "error", [ImportError("no\nmodule"), OSError("lib.so: cannot open"), SystemExit(3), ValueError()]
)
def test_whatever_a_check_raises_is_a_line(monkeypatch, error):
    def broken():
        raise error

    monkeypatch.setattr("side4video.apps.doctor.machine_checks.check_python", broken)
    found = run_check("Python")
    assert found.status == "failed"
    assert "\n" not in found.text
    assert type(error).__name__ in found.text


def test_a_module_that_cannot_be_imported_is_a_line(monkeypatch):
    monkeypatch.setitem(CHECKS, "Ray", "nowhere.check_ray")  # type: ignore[arg-type]
    assert "nowhere" in run_check("Ray").text


def test_every_check_is_there():
    for place in CHECKS.values():
        module, _, function = place.partition(".")
        assert callable(getattr(__import__(f"side4video.apps.doctor.{module}", fromlist=["x"]), function))


def test_in_processes_nothing_hangs():
    """The real processes, with a check that hangs and one that dies."""
    begin = time.monotonic()
    checks = run_checks(
        ["Ray", "PyAV", "home", "Python"],
        seconds=2,
        runner=lambda names, seconds: run_in_processes(names, seconds, check_by_name),
    )
    assert time.monotonic() - begin < 60
    assert [check.finding.status for check in checks] == ["failed", "failed", "ok", "ok"]
    assert "no answer within 2 s" in checks[0].finding.text
    assert "died (exit code 9)" in checks[1].finding.text


def test_health():
    assert is_healthy([Check("a", ok("a")), Check("b", note("b"))])
    assert not is_healthy([Check("a", ok("a")), Check("b", failed("b", "do"))])


# ---- what a bug report says


def test_secrets_homes_and_names_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("USER", "alice")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://alice:pa55word@mlflow.example.org/?token=abc123")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pa55word")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    monkeypatch.setenv("RAY_TMPDIR", "/scratch/alice/ray")
    monkeypatch.setenv("MY_OWN_SECRET", "unheard-of")
    checks = [
        Check("home", ok("/home/alice/.side4video: 5.0 GiB free")),
        Check("run store", failed("https://alice:pa55word@host/ does not answer", "see /home/bob/x or /Users/carol/y")),
        Check("packages", ok("side4video 0.1.0 in /data/alice/clips")),
    ]
    text = json.dumps(bug_report(checks))
    for private in ("alice", "bob", "carol", "pa55word", "abc123", "hf_abc", "unheard-of", "MY_OWN"):
        assert private not in text, private
    assert "~/.side4video: 5.0 GiB free" in text
    assert "mlflow.example.org" in text
    assert json.loads(text)["healthy"] is False
    assert "alice" in json.dumps([check.as_json() for check in checks])  # the twin: nothing else hides it


def test_homes_are_not_cut_out_of_other_paths():
    def plain(text, home="/root", user="root"):
        return without_private(text, home=home, user=user)

    assert plain("/root/a and /root") == "~/a and ~"
    assert plain("/rooted/a, /data/root/b") == "/rooted/a, /data/root/b"
    assert plain("/a", home="/", user="") == "/a"
    assert plain({"a": ["/root/x"], "n": 3}) == {"a": ["~/x"], "n": 3}


def test_only_variables_that_change_a_run_are_told(monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", "/data/runs")
    monkeypatch.setenv("SECRET_PLAN", "x")
    assert environment()["SIDE4VIDEO_HOME"] == "/data/runs"
    assert "SECRET_PLAN" not in environment()


def test_as_json():
    assert Check("a", Finding("note", "b", "c")).as_json() == {"check": "a", "status": "note", "text": "b", "fix": "c"}


def test_each_answer_is_told_as_soon_as_it_is_known():
    told = []

    def run(names, seconds):
        for number, name in enumerate(reversed(names)):
            assert len(told) == number  # those before were told before this check ends
            yield name, ok(name)
        raise OSError("no more processes")

    checks = run_checks(["Python", "Ray", "torch"], runner=run, on_check=lambda check: told.append(check.name))
    assert told == ["torch", "Ray", "Python"]
    assert [check.name for check in checks] == ["Python", "Ray", "torch"]


def test_what_could_not_be_started_is_told_too():
    told = []

    def run(names, seconds):
        yield names[0], ok("a")
        raise OSError("no more processes")

    run_checks(["Python", "Ray"], runner=run, on_check=lambda check: told.append((check.name, check.finding.status)))
    assert told == [("Python", "ok"), ("Ray", "failed")]
