"""A job before it is submitted: command, files, environment, and the equivalent `ray job submit`.

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
from side4video.spec.arm import load_sweep
from side4video.spec.experiment import Experiment
from side4video.spec.load import is_sweep, load_experiment
from side4video.tracking.redaction import is_secret_name, redact_command, redact_text

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Job API of `ray start --head` and `ray dashboard`."""
ADDRESS_NAMES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that Ray reads: the first that is set takes precedence, also over an option."""
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class JobRequest:
    """A validated document, ready to be submitted."""

    kind: str
    """Command of the job: `run` or `sweep`."""
    name: str
    """The document's."""
    digest: str
    """Hash of the experiment or the sweep."""
    experiments: tuple[Experiment, ...]
    """All experiments of the document; of a search, its base."""
    files: JobFiles
    environment: Mapping[str, str]
    """Environment variables of the job."""
    words: tuple[str, ...]
    """The command."""
    submission_id: str

    @property
    def entrypoint(self) -> str:
        """The command as a shell line."""
        return shlex.join(self.words)

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata that the cluster stores with the job."""
        return {"name": self.name, "kind": self.kind, "digest": self.digest}

    def ray_command(self, address: str, folder: Path) -> str:
        """The `ray job submit` line for the same job; it reads secrets from the environment of the shell.

        The job's files are in `folder`.
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
    """Read and validate a spec or a sweep, and prepare its job. This does not contact the cluster.

    `options` are further options of `run` or `sweep`. `variables_given` are environment variables for the job, `NAME`
    as it is here or `NAME=VALUE`. An empty `submission_id` is made of the document's name, its hash and random digits.

    Raises:
        InputError: If the document is wrong, or has paths that are not valid on another machine.
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
    if submission_id and not _IDENTIFIER.fullmatch(submission_id):
        raise InputError("--submission-id", submission_id, allowed="letters, digits, dot, dash and underscore")
    settings = [word for override in overrides for word in ("--set", override)]
    named = dict.fromkeys(each.source for experiment in experiments for each in experiment.plugins)
    settings += [word for source in named for word in ("--plugin", source)]
    return JobRequest(
        kind=kind,
        name=name,
        digest=digest,
        experiments=experiments,
        files=files,
        environment=job_environment(experiments, variables_given, document=document),
        words=("side4video", kind, files.document, *settings, *options),
        submission_id=submission_id or f"{name}-{digest[:8]}-{uuid.uuid4().hex[:6]}",
    )


def job_environment(
    experiments: Iterable[Experiment], given: Sequence[str] = (), *, document: str = "spec"
) -> dict[str, str]:
    """Environment variables of a job: those that its documents name as `${NAME}`, the tracking URI, and those given.

    `given` are `NAME`, with its local value, or `NAME=VALUE`; `document` is the file, for errors.

    Raises:
        InputError: If a variable is not set here, or its name is invalid.
    """
    environment = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise InputError(f"--env {redact_command(entry)}", "not a variable name", allowed="NAME, or NAME=VALUE")
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
            f"{redact_text(address)} is not the address of a job API",
            allowed="http://HOST:8265, a Ray dashboard's",
            fix="`ray dashboard cluster.yaml` brings a cluster's to " + DEFAULT_ADDRESS,
        )
    return address.rstrip("/")


def _is_overridden(address: str) -> bool:
    """Whether an environment variable overrides the address in Ray's command."""
    set_here = [os.environ[name] for name in ADDRESS_NAMES if os.environ.get(name)]
    return bool(set_here) and set_here[0].rstrip("/") != address


def is_secret(name: str, value: str) -> bool:
    """Whether the value of a variable must not be shown."""
    return is_secret_name(name) or redact_text(value) != value


def job_folder(request: JobRequest) -> Path:
    """Copy the job's files into a permanent folder, for the command of a dry run; its name depends on their content."""
    folder = home() / "jobs" / f"{request.name}-{request.files.digest[:12]}"
    request.files.copy_into(folder)
    return folder


def _as_shell(environment: Mapping[str, str]) -> str:
    """The environment as a shell word; secrets are read from the shell's environment when the line is run."""
    secret = [name for name, value in environment.items() if is_secret(name, value)]
    shown = {name: value for name, value in environment.items() if name not in secret}
    if not secret:
        return shlex.quote(json.dumps({"env_vars": shown}))
    code = (
        "import json, os; print(json.dumps({'env_vars': "
        f"{{**{shown!r}, **{{name: os.environ[name] for name in {secret!r}}}}}}}))"
    )
    return f'"$(python3 -c {shlex.quote(code)})"'


def as_json(request: JobRequest, address: str) -> dict[str, Any]:
    """Description of a job as JSON values, without secrets."""
    return {
        "submission_id": request.submission_id,
        "address": redact_text(address),
        **request.metadata,
        "entrypoint": redact_command(request.entrypoint),
        "files": request.files.sizes,
        "environment": sorted(request.environment),
    }
