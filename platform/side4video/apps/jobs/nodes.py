"""Checks before a job is submitted to several nodes: checkpoints and runs must be stored where all nodes reach them.

A folder that a document names by an absolute path counts as shared by all nodes. A default, such as the folder of the
platform below the home folder, is local to each node.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from side4video.core.errors import InputError
from side4video.core.network import is_localhost
from side4video.data.storage import is_relative, is_remote
from side4video.spec.experiment import Experiment
from side4video.spec.load import SpecError
from side4video.spec.tracking import FilesTrackingSpec
from side4video.tracking.redaction import redact_text

TRACKING = "MLFLOW_TRACKING_URI"
HOME = "SIDE4VIDEO_HOME"
_SHARED = "a folder that all nodes share, by its absolute path"


@dataclass(frozen=True)
class Node:
    """A live node of a Ray cluster."""

    address: str
    is_head: bool
    resources: Mapping[str, float]
    """Its total resources."""


def needs_several_nodes(experiments: Iterable[Experiment], nodes: Sequence[Node]) -> bool:
    """Whether experiments use more than one node: there are several, or one is too small and the cluster must grow."""
    if len(nodes) != 1:
        return len(nodes) > 1
    has = nodes[0].resources
    return any(
        each.cluster.max_workers * each.cluster.min_cpus_in_total > has.get("CPU", 0)
        or each.cluster.max_workers * each.cluster.min_gpus > has.get("GPU", 0)
        or (each.cluster.decoding.kind == "ray-data" and each.cluster.decoding.resource not in ("", *has))
        for each in experiments
    )


def check_shared_storage(
    experiments: Iterable[Experiment], nodes: Sequence[Node], environment: Mapping[str, str], *, is_sweep: bool
) -> list[str]:
    """Check that all nodes reach what the experiments read and write.

    `environment` is that of the job. The fields of a sweep are set under `overrides`.

    Returns:
        Notes about assumptions.

    Raises:
        InputError: They do not; one line for each field.
    """
    experiments = list(experiments)
    if not needs_several_nodes(experiments, nodes):
        return []
    head = next((node.address for node in nodes if node.is_head), "HEAD")
    problems: dict[str, InputError] = {}
    assumed: dict[str, None] = {}
    for each in experiments:
        storage = _storage(each, environment, is_sweep=is_sweep)
        tracking = _tracking(each, environment, head=head, is_sweep=is_sweep)
        for problem in (storage, tracking):
            if problem is not None:
                problems.setdefault(problem.where, problem)
        assumed |= dict.fromkeys(_folders(each, environment))
    if problems:
        raise SpecError(list(problems.values()))
    return [f"{folder} is taken to be the same folder on all nodes" for folder in assumed]


def _storage(experiment: Experiment, environment: Mapping[str, str], *, is_sweep: bool) -> InputError | None:
    fix = _setting("cluster.storage", "/shared/runs", is_sweep=is_sweep)
    allowed = f"{_SHARED}, or an address such as s3://bucket/runs"
    storage = experiment.cluster.storage
    return _own_folder("cluster.storage", storage, environment, kept="checkpoints", allowed=allowed, fix=fix)


def _own_folder(
    field: str, folder: str, environment: Mapping[str, str], *, kept: str, allowed: str = _SHARED, fix: str
) -> InputError | None:
    """The error of a folder that each node would have of its own."""
    if not is_relative(folder) if folder else environment.get(HOME):
        return None
    found = f"{folder} is relative" if folder else f"empty: each of the cluster's nodes would keep its own {kept}"
    return InputError(field, found, allowed=allowed, fix=fix)


def _tracking(
    experiment: Experiment, environment: Mapping[str, str], *, head: str, is_sweep: bool
) -> InputError | None:
    if isinstance(experiment.tracking, FilesTrackingSpec):
        fix = _setting("tracking.folder", "/shared/records", is_sweep=is_sweep)
        return _own_folder("tracking.folder", experiment.tracking.folder, environment, kept="runs", fix=fix)
    uri = experiment.tracking.uri or environment.get(TRACKING, "")
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        if not is_localhost(parts.hostname or ""):
            return None
        found = f"{redact_text(uri)} is another machine for each of the cluster's nodes"
    elif uri and not uri.startswith("sqlite"):
        return None
    else:
        found = "an SQLite file, which one machine alone may open" if uri else "none: each node would keep its own runs"
    return InputError(
        "tracking.uri",
        found,
        allowed="an MLflow server that all nodes reach",
        fix=f"--env {TRACKING}=http://{head}:5000 (`side4video services --host 0.0.0.0` starts one there), or "
        + _setting("tracking.uri", "http://HOST:5000", is_sweep=is_sweep),
    )


def _setting(field: str, value: str, *, is_sweep: bool) -> str:
    return f"write `overrides: {{{field}: {value}}}` in the sweep" if is_sweep else f"--set {field}={value}"


def _folders(experiment: Experiment, environment: Mapping[str, str]) -> list[str]:
    """Folders that must be shared, which cannot be checked from here."""
    named = [experiment.cluster.storage or environment.get(HOME), *experiment.paths().values()]
    return [text for text in named if text and not is_remote(text)]
