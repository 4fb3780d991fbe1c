"""A job before it is sent: what it runs, what it takes along, what it is told, and Ray's command for the same.

Importing this does not import Ray.
"""

import json
import os
import re
import shlex
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from side4video.apps.jobs.files import LIMIT_MEBIBYTES, JobFiles, collect_files
from side4video.apps.jobs.nodes import TRACKING
from side4video.core.errors import InputError
from side4video.core.paths import home, variables
from side4video.runs.sweep import sweep_key
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment
from side4video.spec.load_sweep import is_sweep, load_sweep
from side4video.tracking.redaction import is_secret_name, redact_command, redact_text

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Where `ray start --head` and `ray dashboard` put the job API."""

ADDRESS_NAMES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Of environment variables, as Ray reads them: the first that is set wins, over an option too."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class JobRequest:
    """A checked document on its way to a cluster."""

    kind: str
    """`run` or `sweep`: the command that the job runs."""
    name: str
    """The document's."""
    digest: str
    """The experiment's hash, or what the sweep is known by."""
    experiments: tuple[Experiment, ...]
    """All that the document stands for; of a search, its base."""
    files: JobFiles
    environment: Mapping[str, str]
    """Variables that the job is given."""
    words: tuple[str, ...]
    """The command."""
    submission_id: str

    @property
    def entrypoint(self) -> str:
        """The command as a shell's line."""
        return shlex.join(self.words)

    @property
    def metadata(self) -> dict[str, str]:
        """What the cluster keeps beside the job."""
        return {"name": self.name, "kind": self.kind, "digest": self.digest}

    def ray_command(self, address: str, folder: Path) -> str:
        """The line that submits the same job with Ray's own command; secrets come from the shell's environment.

        Args:
            address: Of the job API.
            folder: Where the job's files lie.
        """
        before = [f"{name}={shlex.quote(address)}" for name in ADDRESS_NAMES[:1] if _is_overridden(address)]
        line = [*before, "ray job submit", f"--address {shlex.quote(address)}"]
        line += [f"--working-dir {shlex.quote(str(folder))}", f"--submission-id {shlex.quote(self.submission_id)}"]
        line += [f"--metadata-json {shlex.quote(json.dumps(self.metadata))}"]
        if self.environment:
            line.append(f"--runtime-env-json {_as_shell(self.environment)}")
        return redact_command(" ".join([*line, "--", self.entrypoint]))


def read_request(
    document: str,
    overrides: Sequence[str] = (),
    *,
    options: Sequence[str] = (),
    variables_given: Sequence[str] = (),
    submission_id: str = "",
    limit_mebibytes: float = LIMIT_MEBIBYTES,
) -> JobRequest:
    """Read a spec or a sweep, check it, and make a job of it; the cluster is not asked.

    Args:
        document: The file.
        overrides: `path=value` each, as `run` and `sweep` take them.
        options: Further options of `run` or `sweep`.
        variables_given: Environment variables for the job, `NAME` as it is here or `NAME=VALUE`.
        submission_id: What the job is called; empty: a name with the document's, its hash, and chance.
        limit_mebibytes: The most that the job may take along.

    Raises:
        InputError: If the document is wrong, or means something else on another machine.
    """
    base: str | None = None
    if is_sweep(document):
        sweep = load_sweep(document, tuple(overrides))
        kind, name, digest = "sweep", sweep.spec.name, sweep_key(sweep)
        experiments = tuple(arm.experiment for arm in sweep.arms) or (sweep.base_experiment,)
        base = sweep.spec.base if isinstance(sweep.spec.base, str) else None
    else:
        experiment = load_experiment(document, overrides)
        kind, name, digest, experiments = "run", experiment.name, experiment.digest(), (experiment,)
    files = collect_files(document, base, experiments, limit_mebibytes=limit_mebibytes)
    settings = [word for override in overrides for word in ("--set", override)]
    return JobRequest(
        kind=kind,
        name=name,
        digest=digest,
        experiments=experiments,
        files=files,
        environment=job_environment(experiments, variables_given, document=document),
        words=("side4video", kind, files.document, *settings, *options),
        submission_id=_checked_id(submission_id) or f"{name}-{digest[:8]}-{uuid.uuid4().hex[:6]}",
    )


def job_environment(
    experiments: Iterable[Experiment], given: Sequence[str] = (), *, document: str = "spec"
) -> dict[str, str]:
    """The variables that a job needs: those that its documents name as `${NAME}`, the tracking server, those given.

    Args:
        experiments: All that the document stands for.
        given: `NAME`, with its value here, or `NAME=VALUE`.
        document: The file, for errors.

    Raises:
        InputError: If one is not set here, or is no name.
    """
    environment = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise InputError(f"--env {redact_command(entry)}", "no variable's name", allowed="NAME, or NAME=VALUE")
        environment[name] = value if equals else _local_value(name, f"--env {name}")
    used = dict.fromkeys(name for each in experiments for name in variables(json.dumps(each.resolved())))
    for name in used:
        if name not in environment:
            environment[name] = _local_value(name, f"{document}: ${{{name}}}")
    if os.environ.get(TRACKING):
        environment.setdefault(TRACKING, os.environ[TRACKING])
    return environment


def _local_value(name: str, where: str) -> str:
    if value := os.environ.get(name):
        return value
    fix = f"export {name}=..., or --env {name}=... with the cluster's value"
    raise InputError(where, f"the environment variable {name} is not set here", fix=fix)


def job_address(given: str = "") -> str:
    """The address of the job API: the one given, else the environment's, else the usual one of this machine.

    Raises:
        InputError: If the one given is no http address.
    """
    if given:
        return _http(given, "--address")
    for name in ADDRESS_NAMES:
        if value := os.environ.get(name):
            if name == ADDRESS_NAMES[0] or urlsplit(value).scheme in ("http", "https"):
                return _http(value, name)
            break
    return DEFAULT_ADDRESS


def _http(address: str, where: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            where,
            f"{redact_text(address)} is no address of a job API",
            allowed="http://HOST:8265, a Ray dashboard's",
            fix="`ray dashboard cluster.yaml` brings a cluster's to " + DEFAULT_ADDRESS,
        )
    return address.rstrip("/")


def _is_overridden(address: str) -> bool:
    """Whether Ray's command would take another address, from the environment."""
    set_here = [os.environ[name] for name in ADDRESS_NAMES if os.environ.get(name)]
    return bool(set_here) and set_here[0].rstrip("/") != address


def is_secret(name: str, value: str) -> bool:
    """Whether a variable's value is not to be shown."""
    return is_secret_name(name) or redact_text(value) != value


def job_folder(request: JobRequest) -> Path:
    """The job's files in a folder that stays, for a command that is run by hand; the same files, the same folder."""
    folder = home() / "jobs" / f"{request.name}-{request.files.digest[:12]}"
    request.files.copy_into(folder)
    return folder


def _as_shell(environment: Mapping[str, str]) -> str:
    """The environment as a word of a shell; what is secret is read from the shell's own when the line is run."""
    secret = [name for name, value in environment.items() if is_secret(name, value)]
    shown = {name: value for name, value in environment.items() if name not in secret}
    if not secret:
        return shlex.quote(json.dumps({"env_vars": shown}))
    code = (
        "import json, os; print(json.dumps({'env_vars': "
        f"{{**{shown!r}, **{{name: os.environ[name] for name in {secret!r}}}}}}}))"
    )
    return f'"$(python3 -c {shlex.quote(code)})"'


def _checked_id(submission_id: str) -> str:
    if submission_id and not _IDENTIFIER.fullmatch(submission_id):
        raise InputError("--submission-id", submission_id, allowed="letters, digits, dot, dash and underscore")
    return submission_id


def as_json(request: JobRequest, address: str) -> dict[str, Any]:
    """What is to be said of a job, as JSON values without secrets."""
    return {
        "submission_id": request.submission_id,
        "address": redact_text(address),
        **request.metadata,
        "entrypoint": redact_command(request.entrypoint),
        "files": request.files.sizes,
        "environment": sorted(request.environment),
    }
