"""The tracking section: where runs are stored."""

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator

from side4video.core.spec import ADDED_LATER, Spec

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Database schemes that MLflow supports. A driver may follow, as in `postgresql+psycopg2`."""

HIDDEN_LOGIN = "[hidden]@"
"""What stands for user and password in the address of a stored document (`tracking.redaction`); no part of a host."""


def check_tracking_uri(uri: str) -> str:
    """Return the URI if runs can be stored there.

    A path without a scheme, a `file:` URI and a relative SQLite path are refused. They would name a different folder in
    each process, because Ray workers run in their own folders. MLflow no longer supports the file store either.

    Raises:
        ValueError: saying what may stand there instead.
    """
    parts = urlsplit(uri.replace(HIDDEN_LOGIN, ""))
    scheme = parts.scheme
    if scheme in {"http", "https"} and parts.hostname:
        return uri
    if scheme.split("+")[0] not in DATABASES:
        raise ValueError(
            f"`{uri}` is not a tracking store; use http(s)://HOST:PORT for a server, "
            "postgresql://USER@HOST/DATABASE for a database, sqlite:////absolute/path.db for a file, "
            "or leave it empty for the default store"
        )
    if is_postgresql(uri):
        _check_database_address(uri)
    if scheme.startswith("sqlite") and sqlite_path(uri) is None:
        raise ValueError(
            f"`{uri}` is a path relative to a folder that differs from process to process; "
            "write sqlite:////absolute/path.db (four slashes), or leave it empty for the default store"
        )
    return uri


def sqlite_path(uri: str) -> str | None:
    """The absolute path of an SQLite URI; None for other stores and for relative paths."""
    scheme, divider, path = uri.partition(":///")
    path = unquote(path.split("?")[0])
    return path if divider and scheme.split("+")[0] == "sqlite" and path.startswith("/") else None


def _check_database_address(uri: str) -> None:
    """Refuse an address that is read in several ways. The message does not show it: it may hold a password.

    Raises:
        ValueError: It has several `@`, or its port is no number.
    """
    fix = "fix: leave the password out, and put it into ~/.pgpass or PGPASSWORD"
    authority = uri.partition("://")[2].partition("?")[0]
    if authority.count("@") > 1 or "/" in authority.rpartition("@")[0]:
        raise ValueError(f"a password in an address has %40 for @ and %2F for / · {fix}")
    port = authority.partition("/")[0].rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    if port and not port.isdecimal():
        raise ValueError(f"the port of the address is not a number · {fix}")


def is_postgresql(uri: str) -> bool:
    """Whether the store is a PostgreSQL database."""
    return uri.partition("://")[0].split("+")[0] == "postgresql"


def check_absolute(folder: str) -> str:
    """Return the folder if all processes take it for the same one.

    Raises:
        ValueError: It is relative, and workers and submitted jobs run in their own folders.
    """
    if folder and not folder.startswith(("/", "~", "${")):
        raise ValueError(
            f"`{folder}` is relative to a folder that differs from process to process · allowed: an absolute path, "
            "also with ~ or ${NAME} · fix: leave it empty for the default"
        )
    return folder


class _SinkSpec(Spec):
    """Fields that all further places for runs share."""

    folder: str = ""

    @field_validator("folder")
    @classmethod
    def folder_is_absolute(cls, folder: str) -> str:
        """Relative paths are refused."""
        return check_absolute(folder)


class TensorBoardSpec(_SinkSpec):
    """Event files for TensorBoard, in a folder for each run. Needs the extra `tensorboard`."""

    kind: Literal["tensorboard"] = "tensorboard"
    folder: str = ""
    """Folder for the runs, reachable from all nodes; may contain `~` and `${NAME}`. Empty: `tensorboard` in
    `$SIDE4VIDEO_HOME`."""


class WandbSpec(_SinkSpec):
    """Runs in Weights & Biases. Needs the extra `wandb`.

    The API key is never part of a document: W&B reads it from `wandb login` or from WANDB_API_KEY.
    """

    kind: Literal["wandb"] = "wandb"
    project: Annotated[str, Field(pattern=r"^[^/\\#?%:]{1,128}$")] = "side4video"
    """Project that the run belongs to. W&B creates it on first use."""
    entity: str = ""
    """User or team that the project belongs to. Empty: W&B's default for the API key."""
    mode: Literal["offline", "online"] = "offline"
    """`offline` writes files, which `wandb sync` uploads later. `online` uploads while the run trains."""
    folder: str = ""
    """Folder for W&B's files, reachable from all nodes; may contain `~` and `${NAME}`. Empty: `wandb` in
    `$SIDE4VIDEO_HOME`."""


Sink = Annotated[TensorBoardSpec | WandbSpec, Field(discriminator="kind")]
"""A place that runs are copied to, beside the store."""


class _TrackingSpec(Spec):
    """Fields that all stores of runs share."""

    experiment: str = "side4video"
    """Experiment that the run belongs to: a group of runs in MLflow, or a folder. It is created on first use."""
    run_name: str = ""
    """Name of the run. Empty: the name of the experiment."""
    tags: Mapping[str, str] = {}
    """Additional tags of the run, to search for it."""
    also: Annotated[tuple[Sink, ...], ADDED_LATER] = ()
    """Where the run's metrics, parameters and description are shown too, such as `[{kind: tensorboard}]`. The store
    stays the record: a failure here is a note of the run and does not stop it."""

    @field_validator("also")
    @classmethod
    def each_sink_is_named_once(cls, also: tuple[Sink, ...]) -> tuple[Sink, ...]:
        """Two of one kind would write the same run twice."""
        kinds = [sink.kind for sink in also]
        if twice := next((kind for kind in kinds if kinds.count(kind) > 1), ""):
            raise ValueError(f"{twice} is named twice · allowed: each kind once · fix: remove one of them")
        return also

    @field_validator("experiment")
    @classmethod
    def experiment_name_is_valid(cls, experiment: str) -> str:
        """The name is not empty and has at most 500 characters, MLflow's limit."""
        if not experiment.strip() or len(experiment) > 500:
            raise ValueError("an experiment's name has 1 to 500 characters")
        return experiment


class MLflowTrackingSpec(_TrackingSpec):
    """Runs are stored in MLflow."""

    kind: Literal["mlflow"] = "mlflow"
    uri: str = ""
    """Address of a tracking server (`http://HOST:5000`) or a database (`postgresql://USER@HOST/DATABASE`, or
    `sqlite:////absolute/path.db`). PostgreSQL needs the extra `postgresql`.

    Empty: the environment variable MLFLOW_TRACKING_URI; without it, an SQLite file and an artifact folder in
    `$SIDE4VIDEO_HOME` (default `~/.side4video`), created on first use.
    """

    @field_validator("uri")
    @classmethod
    def uri_is_absolute(cls, uri: str) -> str:
        """The file store and relative paths are refused."""
        return check_tracking_uri(uri) if uri else uri


class FilesTrackingSpec(_TrackingSpec):
    """Runs are stored as plain files (JSON lines, CSV, artifacts), without a database or MLflow."""

    kind: Literal["files"] = "files"
    folder: str = ""
    """Folder for the runs, reachable from all nodes; may contain `~` and `${NAME}`. Empty: `records` in
    `$SIDE4VIDEO_HOME`."""

    @field_validator("folder")
    @classmethod
    def folder_is_absolute(cls, folder: str) -> str:
        """Relative paths are refused, because workers and submitted jobs run in their own folders."""
        return check_absolute(folder)

    @field_validator("experiment")
    @classmethod
    def experiment_name_is_a_folder_name(cls, experiment: str) -> str:
        """The name is one folder name."""
        if "/" in experiment or experiment in (".", ".."):
            raise ValueError("the experiment is the name of a folder: it holds no `/`")
        return experiment


Tracking = Annotated[MLflowTrackingSpec | FilesTrackingSpec, Field(discriminator="kind")]
"""Where runs are stored; a section without a `kind` is MLflow's."""
