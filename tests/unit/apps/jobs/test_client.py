"""The job API's client against a stand-in for a dashboard: what is refused, what is shown, how a job ends."""

import asyncio
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import ray
from ray.job_submission import JobDetails, JobSubmissionClient

from side4video.apps.jobs.client import JobCluster
from side4video.core.errors import InputError, Side4VideoError
from side4video.tracking.redaction import HIDDEN

VERSION = {"version": "4", "ray_version": ray.__version__, "ray_commit": "x", "session_name": "s"}


def details(name, state="RUNNING", **more):
    return {
        "type": "SUBMISSION",
        "submission_id": name,
        "status": state,
        "entrypoint": f"side4video run {name}.yaml --set tracking.uri=http://me:hunter2@host",
        "start_time": int(1000 * (time.time() - 90)),
        "metadata": {"name": name, "kind": "run", "digest": "d"},
        **more,
    }


class Dashboard(ThreadingHTTPServer):
    """Answers by path; a path that it does not know is 404."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = {"/api/version": VERSION}
        self.status = 200
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.server.answers.get(self.path.partition("?")[0])
        status = self.server.status if found is not None else 404
        body = json.dumps(found).encode() if status == 200 else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def dashboard(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://192.0.2.1:1")
    server = Dashboard()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


# ---- connecting


def test_nobody_there_is_one_line_with_the_way_out(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(
        InputError, match=r"^--address: .* does not answer .*ray dashboard cluster\.yaml.*RAY_AUTH_MODE"
    ):
        JobCluster(address)


def test_one_that_accepts_and_says_nothing():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(InputError, match="does not answer"):
            JobCluster(f"http://127.0.0.1:{silent.getsockname()[1]}", answer_seconds=0.3)
    assert time.monotonic() - started < 5


def test_a_wrong_token_is_said_so(dashboard):
    dashboard.status = 401
    with pytest.raises(InputError, match=r"requires a token.*fix: export RAY_AUTH_MODE=token"):
        JobCluster(dashboard.address)


def test_another_server_is_no_dashboard(dashboard):
    dashboard.answers = {}
    with pytest.raises(InputError, match=r"^--address: .* is not a Ray dashboard"):
        JobCluster(dashboard.address)


def test_the_address_that_was_given_is_the_one_asked(dashboard):
    dashboard.answers["/api/jobs/"] = []
    assert JobCluster(dashboard.address).jobs() == []


# ---- jobs


def test_jobs_are_listed_without_secrets_and_without_others(dashboard):
    dashboard.answers["/api/jobs/"] = [
        details("old", "SUCCEEDED", driver_exit_code=0, start_time=1000),
        details("new", message="HF_TOKEN=hunter2 is wrong"),
        details("driver", type="DRIVER"),
    ]
    found = JobCluster(dashboard.address).jobs()
    assert [(job.submission_id, job.name, job.state) for job in found] == [
        ("new", "new", "RUNNING"),
        ("old", "old", "SUCCEEDED"),
    ]
    assert "hunter2" not in str(found)
    assert HIDDEN in found[0].entrypoint
    assert 89 < found[0].age_s < 120


def test_a_job_by_the_beginning_of_its_name(dashboard):
    dashboard.answers["/api/jobs/"] = [details("ab-1"), details("ab-2"), details("ab")]
    cluster = JobCluster(dashboard.address)
    assert cluster.find("ab-1").submission_id == "ab-1"
    assert cluster.find("ab").submission_id == "ab"
    for name, found in (("a", "3 jobs"), ("x", "no jobs"), ("", "no jobs")):
        with pytest.raises(InputError, match=rf"^job: {found} are called `{name}` · allowed: ab"):
            cluster.find(name)


@pytest.mark.parametrize(
    ("state", "driver", "code"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 2, 2),
        ("FAILED", 1, 1),
        ("FAILED", 137, 1),
        ("FAILED", None, 1),
        ("STOPPED", None, 1),
    ],
)
def test_the_exit_code_is_the_drivers(dashboard, state, driver, code):
    dashboard.answers["/api/jobs/a"] = details("a", state, driver_exit_code=driver)
    job = JobCluster(dashboard.address).details("a")
    assert job.is_over
    assert job.exit_code == code


def test_a_job_that_is_gone_is_a_failure_and_no_traceback(dashboard):
    cluster = JobCluster(dashboard.address)
    with pytest.raises(Side4VideoError, match="404"):
        cluster.details("gone")


# ---- logs


def with_log(*attempts, end=""):
    """Ray's client for logs that break off and start again in other pieces; the job runs until the last of them."""
    attempts = list(attempts)

    class Client(JobSubmissionClient):
        async def tail_job_logs(self, _):
            for piece in attempts.pop(0):
                if piece is None:
                    raise RuntimeError("broke off")
                yield piece
                await asyncio.sleep(0)

        def get_job_info(self, name):
            if not end:
                return super().get_job_info(name)
            return JobDetails(**details(name, "RUNNING" if attempts else end))

    return Client


def test_a_log_that_breaks_off_is_shown_once(dashboard):
    client = with_log(
        ["one\n", "two\n", None],
        ["one\ntwo\nthr", "ee\nHF_TOKEN=hunter2\n"],
        end="SUCCEEDED",
    )
    cluster = JobCluster(dashboard.address, poll_seconds=0.01, connect=client)
    shown = []
    assert cluster.follow("a", shown.append).state == "SUCCEEDED"
    assert "".join(shown) == f"one\ntwo\nthree\nHF_TOKEN={HIDDEN}\n"


def test_a_job_that_ended_before_it_was_followed_is_told_whole(dashboard):
    dashboard.answers["/api/jobs/a"] = details("a", "FAILED", driver_exit_code=2)
    dashboard.answers["/api/jobs/a/logs"] = {"logs": "error: a.yaml: wrong\n"}
    cluster = JobCluster(dashboard.address, connect=with_log([]))
    shown = []
    assert cluster.follow("a", shown.append).exit_code == 2
    assert shown == ["error: a.yaml: wrong\n"]
