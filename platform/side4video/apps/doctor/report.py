"""Runs all checks, each in a process of its own and for seconds only, and describes the machine for a bug report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from side4video.apps.doctor.finding import Finding, failed
from side4video.apps.doctor.private_text import environment, without_private
from side4video.apps.doctor.versions import versions
from side4video.core.errors import Side4VideoError
from side4video.core.worker_pool import JobFailed, WorkerPool

SECONDS = 30.0
"""Longest time of a check. On a busy machine, importing torch alone takes ten seconds."""
PROCESSES = 2

CHECKS: Mapping[str, str] = {
    "Python": "machine_checks.check_python",
    "packages": "machine_checks.check_packages",
    "torch": "machine_checks.check_gpu",
    "cores": "machine_checks.check_cores",
    "Ray": "library_checks.check_ray",
    "PyAV": "library_checks.check_pyav",
    "decord": "library_checks.check_decord",
    "torchcodec": "library_checks.check_torchcodec",
    "home": "machine_checks.check_home",
    "temporary": "machine_checks.check_temporary_folder",
    "shared": "machine_checks.check_shared_memory",
    "weights": "library_checks.check_weights",
    "run store": "store_check.check_store",
}
"""Module and function of each check, in the order in which they are shown. A check imports its module itself, so that a
broken library is one failed line."""
FIXES = {
    "torch": "install it again, in the build for this machine: pytorch.org",
    "Ray": "install it again: pip install --force-reinstall 'ray[default,train,tune]'",
    "PyAV": "install it again: pip install --force-reinstall av",
}
OPTIONAL = frozenset({"decord", "torchcodec", "shared", "weights"})
"""Checks that may fail, and training works all the same."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its answer."""

    name: str
    finding: Finding

    def as_json(self) -> dict[str, str]:
        """JSON values."""
        return {"check": self.name, "status": self.finding.status, "text": self.finding.text, "fix": self.finding.fix}


Runner = Callable[[Sequence[str], float], Iterator[tuple[str, "Finding | JobFailed"]]]
"""Runs checks by name, each within so many seconds; yields each answer, in any order."""


def run_checks(
    names: Sequence[str] = tuple(CHECKS),
    *,
    seconds: float = SECONDS,
    runner: Runner | None = None,
    on_check: Callable[[Check], object] | None = None,
) -> list[Check]:
    """Run checks. A check that fails, hangs or dies is one failed line; the others go on.

    Args:
        names: Of `CHECKS`.
        seconds: Longest time of one check.
        runner: What runs them; processes of their own by default.
        on_check: Called with each answer as soon as it is known, in any order.

    Returns:
        The answers in the order of `names`.
    """
    found: dict[str, Check] = {}

    def keep(name: str, finding: Finding) -> None:
        found[name] = Check(name, finding)
        if on_check is not None:
            on_check(found[name])

    try:
        for name, answer in (runner or run_in_processes)(names, seconds):
            keep(name, _as_failure(name, answer.reason) if isinstance(answer, JobFailed) else answer)
    except (Side4VideoError, OSError) as error:
        reason = f"no process could be started for it ({error})"
        for name in names:
            if name not in found:
                keep(name, _as_failure(name, reason))
    return [found[name] for name in names]


def run_in_processes(
    names: Sequence[str], seconds: float, job: Callable[[str], Finding] | None = None
) -> "Iterator[tuple[str, Finding | JobFailed]]":
    """See `Runner`. `job` runs one check, by default `run_check`."""
    with WorkerPool(PROCESSES) as pool:
        yield from pool.map_unordered(job or run_check, names, limit_seconds=seconds, chunk_size=1)


def run_check(name: str) -> Finding:
    """The answer of a check; what it raises is a failure in one line."""
    module, _, function = CHECKS[name].partition(".")
    try:
        return getattr(import_module(f"side4video.apps.doctor.{module}"), function)()
    except BaseException as error:
        return _as_failure(name, f"{type(error).__name__}: {error}")


def _as_failure(name: str, reason: str) -> Finding:
    text = " ".join(reason.partition("; a decoder may hang")[0].replace("that read it", "of this check").split())[:300]
    fix = FIXES.get(name, "see the message; docs/troubleshooting.md has more")
    return Finding("note", text, fix) if name in OPTIONAL else failed(text, fix)


def is_healthy(checks: Sequence[Check]) -> bool:
    """Whether no needed check failed."""
    return all(check.finding.status != "failed" for check in checks)


def bug_report(checks: Sequence[Check]) -> dict[str, Any]:
    """A document for a bug report: the checks, versions and environment, without secrets, homes and user names."""
    return without_private(
        {
            "healthy": is_healthy(checks),
            "checks": [check.as_json() for check in checks],
            "versions": versions(),
            "environment": environment(),
        }
    )
