"""Jobs on a Ray cluster, over the HTTP of its dashboard: sent, followed, listed, stopped."""

import asyncio
import logging
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobDetails, JobSubmissionClient, JobType
from ray.util.state import list_nodes

from side4video.apps.jobs.nodes import Node
from side4video.apps.jobs.request import ADDRESS_NAMES, DEFAULT_ADDRESS, JobRequest
from side4video.core.errors import InputError, Side4VideoError
from side4video.tracking.redaction import redact_command, redact_text

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
"""How long a job API may take to say that it is there."""

AGENT_START_SECONDS = 60.0
"""How long after its start a head may have nobody yet who takes jobs."""

POLL_SECONDS = 0.5
"""How often a job is asked whether it has ended, when its log has."""

RECONNECTIONS = 20
"""How often a log that breaks off while its job runs is taken up again, with a second between."""

Show = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What the cluster says of a job, without secrets."""

    submission_id: str
    state: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    name: str
    """Of its document; empty, if it was not sent by `side4video submit`."""
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
        """Whether nothing will happen any more."""
        return self.state in ("STOPPED", "SUCCEEDED", "FAILED")

    @property
    def exit_code(self) -> int:
        """The command's: 0 it did what it should, 2 its input was wrong, 1 anything else, or it was stopped."""
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

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: Of the dashboard, `http://HOST:8265`.

        Raises:
            InputError: If nobody answers there, or it wants a token.
        """
        self.address = address
        _check_connection(address)
        # Ray takes an address from the environment rather than the one it is given.
        os.environ[ADDRESS_NAMES[0]] = address
        # They say on stderr what they pack and send.
        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            self._client = JobSubmissionClient(address)
        except AuthenticationError:
            raise _authentication_error(address) from None
        except Exception as error:  # each library below has its own kinds
            raise InputError(
                "--address",
                f"{redact_text(address)} is no Ray dashboard ({_one_line(error)})",
                allowed="http://HOST:8265",
                fix=f"`ray dashboard cluster.yaml` brings a cluster's to {DEFAULT_ADDRESS}",
            ) from None

    def nodes(self) -> list[Node]:
        """The machines that are alive.

        Raises:
            Side4VideoError: If the cluster does not say.
        """
        try:
            found: list[Any] = list_nodes(self.address, filters=[("state", "=", "ALIVE")], limit=10_000, detail=True)
        except Exception as error:
            raise Side4VideoError(f"the cluster does not say which nodes it has: {_one_line(error)}") from error
        return [Node(node.node_ip, bool(node.is_head_node), _numbers(node.resources_total)) for node in found]

    def submit(self, request: JobRequest) -> None:
        """Send a job; returns when the cluster has taken it.

        Raises:
            InputError: If there is a job of that name.
            Side4VideoError: If the cluster does not take it.
        """
        with tempfile.TemporaryDirectory(prefix="side4video-") as folder:
            request.files.copy_into(Path(folder))
            environment: dict[str, Any] = {"working_dir": folder}
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
        """Those that were submitted, the newest first."""
        found = [_job(each) for each in self._call(self._client.list_jobs) if each.type == JobType.SUBMISSION]
        return sorted(found, key=lambda job: -(job.started_s or float("inf")))

    def find(self, name: str) -> Job:
        """A job by its id, or by the beginning of one.

        Raises:
            InputError: If there is none, or there are several.
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
        """What is known of a job now."""
        return _job(self._call(lambda: self._client.get_job_info(submission_id)))

    def logs(self, submission_id: str) -> str:
        """What a job has said so far, without secrets."""
        return redact_command(self._call(lambda: self._client.get_job_logs(submission_id)))

    def stop(self, submission_id: str, *, seconds: float = 60.0) -> Job:
        """End a job, and wait until it has ended, but no longer than so many seconds."""
        self._call(lambda: self._client.stop_job(submission_id))
        return self.wait(submission_id, seconds=seconds)

    def wait(self, submission_id: str, *, seconds: float = float("inf")) -> Job:
        """The job when it has ended, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while not (job := self.details(submission_id)).is_over and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return job

    def follow(self, submission_id: str, show: Show) -> Job:
        """Show what a job says, from its beginning, until it has ended.

        Args:
            submission_id: The job.
            show: Gets pieces of its log, of whole lines, without secrets.

        Raises:
            Side4VideoError: If the cluster is lost.
        """
        view = _LogReader(show)
        for _ in range(RECONNECTIONS):
            try:
                asyncio.run(view.read(self._client.tail_job_logs(submission_id)))
            except Exception as error:  # of aiohttp and of Ray
                log.info("the log of %s broke off: %s", submission_id, _one_line(error))
            if (job := self.wait(submission_id, seconds=2 * POLL_SECONDS)).is_over:
                if not view.shown:  # it was quick to end, and gone before its log was followed
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
    """A log that is shown once, however often it is read from its beginning."""

    def __init__(self, show: Show) -> None:
        self._show, self.shown = show, 0

    async def read(self, pieces: AsyncIterator[str]) -> None:
        """Show what was not shown yet."""
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


def _check_connection(address: str) -> None:
    """Ask with a limit of time, which Ray's client has not."""
    try:
        urllib.request.urlopen(f"{address}/api/version", timeout=ANSWER_SECONDS).close()  # noqa: S310 - http(s) by check
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
        f"{redact_text(address)} wants a token, and has none, or another one, of this command",
        fix="export RAY_AUTH_MODE=token, and have the cluster's token in ~/.ray/auth_token or RAY_AUTH_TOKEN",
    )


def _numbers(resources: Any) -> dict[str, float]:
    return {name: float(value) for name, value in dict(resources or {}).items() if isinstance(value, int | float)}


def _one_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return redact_text(lines[-1][:300]) if lines else type(error).__name__
