"""The tracking section: where runs are stored."""

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator

from side4video.core.spec import Spec

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of stores that mlflow opens itself; a driver may follow, as in `postgresql+psycopg2`."""


def check_tracking_uri(uri: str) -> str:
    """The URI itself if a run may be kept there.

    A path without a scheme, a `file:` URI and a relative SQLite path would name another place in every process,
    because Ray workers run in folders of their own; MLflow has given up the file store besides.

    Raises:
        ValueError: saying what may stand there instead.
    """
    scheme = urlsplit(uri).scheme
    if scheme in {"http", "https"} and urlsplit(uri).hostname:
        return uri
    if scheme.split("+")[0] not in DATABASES:
        raise ValueError(
            f"`{uri}` is not a tracking store; use http(s)://HOST:PORT for a server, "
            "sqlite:////absolute/path.db for a file, or leave it empty for the default store"
        )
    if scheme.startswith("sqlite") and sqlite_path(uri) is None:
        raise ValueError(
            f"`{uri}` is a path relative to a folder that differs from process to process; "
            "write sqlite:////absolute/path.db (four slashes), or leave it empty for the default store"
        )
    return uri


def sqlite_path(uri: str) -> str | None:
    """The absolute path of an SQLite URI, or None if the URI is another store's or its path is relative."""
    scheme, divider, path = uri.partition(":///")
    path = unquote(path.split("?")[0])
    return path if divider and scheme.split("+")[0] == "sqlite" and path.startswith("/") else None


class _TrackingSpec(Spec):
    """What every place for runs has."""

    experiment: str = "side4video"
    """The experiment that the run belongs to; made on first use."""
    run_name: str = ""
    """Name of the run; empty: the name of the experiment's file."""
    tags: Mapping[str, str] = {}
    """Further tags of the run, to find it by."""

    @field_validator("experiment")
    @classmethod
    def experiment_name_is_valid(cls, experiment: str) -> str:
        """Refuse the empty name and names over MLflow's 500 characters."""
        if not experiment.strip() or len(experiment) > 500:
            raise ValueError("an experiment's name has 1 to 500 characters")
        return experiment


class MLflowTrackingSpec(_TrackingSpec):
    """Runs are stored in MLflow."""

    kind: Literal["mlflow"] = "mlflow"
    uri: str = ""
    """A tracking server (`http://HOST:5000`) or a database (`sqlite:////absolute/path.db`).

    Empty: the environment's MLFLOW_TRACKING_URI, or else an SQLite file and an artifact folder in
    `$SIDE4VIDEO_HOME` (by default `~/.side4video`), made on first use.
    """

    @field_validator("uri")
    @classmethod
    def uri_is_absolute(cls, uri: str) -> str:
        """Refuse the file store and relative paths."""
        return check_tracking_uri(uri) if uri else uri


class FilesTrackingSpec(_TrackingSpec):
    """Runs are stored as plain files (JSON lines, CSV, artifacts), without a database or MLflow."""

    kind: Literal["files"] = "files"
    folder: str = ""
    """Folder for the runs, with `~` and `${NAME}`; the same on all nodes. Empty: `records` in `$SIDE4VIDEO_HOME`."""

    @field_validator("folder")
    @classmethod
    def folder_is_absolute(cls, folder: str) -> str:
        """Refuse relative paths: workers and submitted jobs run in folders of their own."""
        if folder and not folder.startswith(("/", "~", "${")):
            raise ValueError(
                f"`{folder}` is relative to a folder that differs from process to process · allowed: an absolute path, "
                "also with ~ or ${NAME} · fix: leave it empty for the default"
            )
        return folder

    @field_validator("experiment")
    @classmethod
    def experiment_name_is_a_folder_name(cls, experiment: str) -> str:
        """Refuse names that lead to another folder."""
        if "/" in experiment or experiment in (".", ".."):
            raise ValueError("the experiment is the name of a folder: it holds no `/`")
        return experiment


Tracking = Annotated[MLflowTrackingSpec | FilesTrackingSpec, Field(discriminator="kind")]
"""Where runs are stored; a section without a `kind` is MLflow's."""
