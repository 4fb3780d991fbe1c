"""Jobs of a Ray cluster: submit, follow, list and stop them with Ray's `JobSubmissionClient`.

Added here: time limits, redaction of secrets, and logs that continue after a disconnection.
"""

import asyncio
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobDetails, JobSubmissionClient, JobType
from ray.util.state import list_nodes

from side4video.apps.jobs.nodes import Node
from side4video.apps.jobs.request import ADDRESS_NAMES, DEFAULT_ADDRESS, JobRequest
from side4video.core.errors import InputError, Side4VideoError
from side4video.core.temporary import temporary_folder
from side4video.tracking.redaction import redact_command, redact_text

log = logging.getLogger(__name__)
ANSWER_SECONDS = 10.0
"""Limit of the time for the first answer of the job API."""
AGENT_START_SECONDS = 60.0
"""After the start of a head node, its job agent may not be ready for so long."""
POLL_SECONDS = 0.5
"""Interval at which the state of a job is read after the end of its log."""
RECONNECTIONS = 20
"""Number of times that an interrupted log of a running job is reopened, a second apart."""
Show = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """The state of a job, without secrets."""

    submission_id: str
    state: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    name: str
    """Of its document; empty if it was not submitted by `side4video submit`."""
    kind: str
    digest: str
    entrypoint: str
    message: str
    started_s: float | None
    """Since the epoch."""
    ended_s: float | None
    driver_exit_code: int | None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("STOPPED", "SUCCEEDED", "FAILED")

    @property
    def exit_code(self) -> int:
        """0: succeeded; 2: wrong input; 1: another error, or stopped."""
        if self.state == "SUCCEEDED":
            return 0
        return 2 if self.driver_exit_code == InputError.exit_code else 1

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return max(0.0, time.time() - self.started_s) if self.started_s else 0.0

    @property
    def duration_s(self) -> float:
        """Seconds from its start to its end, or to now."""
        return max(0.0, (self.ended_s or time.time()) - self.started_s) if self.started_s else 0.0


class JobCluster:
    """The job API of one cluster."""

    def __init__(
        self,
        address: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        connect: Callable[[str], JobSubmissionClient] = JobSubmissionClient,
    ) -> None:
        """Connect.

        `address` is that of the dashboard, `http://HOST:8265`. `answer_seconds` is the time limit of its first answer;
        the state of a job is read every `poll_seconds`.

        Raises:
            InputError: If there is no job API, or it requires a token.
        """
        self.address, self._poll_seconds = address, poll_seconds
        _check_connection(address, answer_seconds)
        # The environment variable takes precedence over the argument in Ray.
        os.environ[ADDRESS_NAMES[0]] = address
        # They print to stderr what they upload.
        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            self._client = connect(address)
        except AuthenticationError:
            raise _authentication_error(address) from None
        except Exception as error:  # Ray and its HTTP libraries have various errors
            raise InputError(
                "--address",
                f"{redact_text(address)} is not a Ray dashboard ({_one_line(error)})",
                allowed="http://HOST:8265",
                fix=f"`ray dashboard cluster.yaml` brings a cluster's to {DEFAULT_ADDRESS}",
            ) from None

    def nodes(self) -> list[Node]:
        """The nodes that are alive.

        Raises:
            Side4VideoError: If the cluster does not list them.
        """
        try:
            found: list[Any] = list_nodes(self.address, filters=[("state", "=", "ALIVE")], limit=10_000, detail=True)
        except Exception as error:
            raise Side4VideoError(f"the cluster does not say which nodes it has: {_one_line(error)}") from error
        return [Node(node.node_ip, bool(node.is_head_node), _numbers(node.resources_total)) for node in found]

    def submit(self, request: JobRequest) -> None:
        """Submit a job; returns when the cluster has accepted it.

        Raises:
            InputError: If there is a job with that id.
            Side4VideoError: If the cluster does not accept it.
        """
        with temporary_folder() as scratch:
            folder = scratch / "working"
            folder.mkdir()
            request.files.copy_into(folder)
            environment: dict[str, Any] = {"working_dir": str(folder)}
            if request.environment:
                environment["env_vars"] = dict(request.environment)
            deadline = time.monotonic() + AGENT_START_SECONDS
            while True:
                try:
                    self._client.submit_job(
                        entrypoint=request.entrypoint,
                        submission_id=request.submission_id,
                        runtime_env=environment,
                        metadata=request.metadata,
                    )
                    return
                except (RuntimeError, OSError, RayError) as error:
                    if "already exists" in str(error):
                        raise InputError(
                            "--submission-id",
                            f"{request.submission_id} is a job of this cluster",
                            fix="choose another, or leave it out",
                        ) from None
                    if "No available agent" not in str(error) or time.monotonic() > deadline:
                        raise Side4VideoError(f"the cluster did not take the job: {_one_line(error)}") from error
                    time.sleep(2)

    def jobs(self) -> list[Job]:
        """The submitted jobs, newest first."""
        found = [_job(each) for each in self._call(self._client.list_jobs) if each.type == JobType.SUBMISSION]
        return sorted(found, key=lambda job: -(job.started_s or float("inf")))

    def find(self, name: str) -> Job:
        """Find a job by its id or a prefix of it.

        Raises:
            InputError: If no job matches, or several do.
        """
        jobs = self.jobs()
        found = [job for job in jobs if job.submission_id == name] or [
            job for job in jobs if name and job.submission_id.startswith(name)
        ]
        if len(found) == 1:
            return found[0]
        shown = ", ".join(job.submission_id for job in (found or jobs)[:5]) or "none has been submitted"
        raise InputError(
            "job", f"{len(found) or 'no'} jobs are called `{name}`", allowed=shown, fix="side4video jobs list"
        )

    def details(self, submission_id: str) -> Job:
        """The current state of a job."""
        return _job(self._call(lambda: self._client.get_job_info(submission_id)))

    def logs(self, submission_id: str) -> str:
        """The log of a job so far, without secrets."""
        return redact_command(self._call(lambda: self._client.get_job_logs(submission_id)))

    def stop(self, submission_id: str, *, seconds: float = 60.0) -> Job:
        """Stop a job and wait until it has ended, at most so many seconds."""
        self._call(lambda: self._client.stop_job(submission_id))
        return self.wait(submission_id, seconds=seconds)

    def wait(self, submission_id: str, *, seconds: float = float("inf")) -> Job:
        """Wait until a job has ended, at most so many seconds; returns its state."""
        deadline = time.monotonic() + seconds
        while not (job := self.details(submission_id)).is_over and time.monotonic() < deadline:
            time.sleep(self._poll_seconds)
        return job

    def follow(self, submission_id: str, show: Show) -> Job:
        """Print the log of a job from its beginning until it has ended.

        `show` is called with parts of the log (whole lines, no secrets).

        Raises:
            Side4VideoError: If the cluster cannot be reached any more.
        """
        view = _LogReader(show)
        for _ in range(RECONNECTIONS):
            try:
                asyncio.run(view.read(self._client.tail_job_logs(submission_id)))
            except Exception as error:  # of aiohttp and of Ray
                log.info("the log of %s broke off: %s", submission_id, _one_line(error))
            if (job := self.wait(submission_id, seconds=2 * self._poll_seconds)).is_over:
                if not view.shown:  # it ended before its log was opened
                    show(self.logs(submission_id))
                return job
            time.sleep(1)
        return self.wait(submission_id)

    def _call(self, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except AuthenticationError:
            raise _authentication_error(self.address) from None
        except (RuntimeError, OSError) as error:
            raise Side4VideoError(f"{redact_text(self.address)}: {_one_line(error)}") from error


class _LogReader:
    """Shows each character of a log once, also if the log is read from its beginning again."""

    def __init__(self, show: Show) -> None:
        self._show, self.shown = show, 0

    async def read(self, pieces: AsyncIterator[str]) -> None:
        """Show what has not been shown yet."""
        read = 0
        async for piece in pieces:
            new = piece[max(0, self.shown - read) :]
            read += len(piece)
            if new:
                self.shown += len(new)
                self._show(redact_command(new))


def _job(details: JobDetails) -> Job:
    metadata = details.metadata or {}
    return Job(
        submission_id=details.submission_id or "",
        state=str(getattr(details.status, "value", details.status)),
        name=metadata.get("name", ""),
        kind=metadata.get("kind", ""),
        digest=metadata.get("digest", ""),
        entrypoint=redact_command(details.entrypoint),
        message=redact_command(" ".join((details.message or "").split())),
        started_s=details.start_time / 1000 if details.start_time else None,
        ended_s=details.end_time / 1000 if details.end_time else None,
        driver_exit_code=details.driver_exit_code,
    )


def _check_connection(address: str, answer_seconds: float) -> None:
    """Connect with a time limit, which Ray's client does not have."""
    try:
        urllib.request.urlopen(f"{address}/api/version", timeout=answer_seconds).close()  # noqa: S310 - http(s) by check
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            "--address",
            f"{redact_text(address)} does not answer ({_one_line(reason)})",
            fix=f"`ray dashboard cluster.yaml` brings a cluster's job API to {DEFAULT_ADDRESS}, `ray start --head` "
            "starts one here; with a token export RAY_AUTH_MODE=token",
        ) from None


def _authentication_error(address: str) -> InputError:
    return InputError(
        "--address",
        f"{redact_text(address)} requires a token, and this command has none or another one",
        fix="export RAY_AUTH_MODE=token, and have the cluster's token in ~/.ray/auth_token or RAY_AUTH_TOKEN",
    )


def _numbers(resources: Any) -> dict[str, float]:
    return {name: float(value) for name, value in dict(resources or {}).items() if isinstance(value, int | float)}


def _one_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return redact_text(lines[-1][:300]) if lines else type(error).__name__
