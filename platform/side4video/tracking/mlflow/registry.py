"""Logs a model in MLflow, with the code that loads it, and registers it as a version.

The logged model has a folder of files (a bundle), the source of this package, and the exact versions of its
requirements. A loader module reads the bundle, so nothing is pickled. MLflow's active run is not used.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.tracking.mlflow import compat, connection
from side4video.tracking.mlflow.connection import translate_errors
from side4video.tracking.mlflow.parameters import cut
from side4video.tracking.mlflow.search import StoredRun
from side4video.tracking.redaction import redact, redact_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

PACKAGES = (
    *(
        "av",
        "click",
        "decord",
        "einops",
        "filelock",
        "fsspec",
        "numpy",
        "open_clip_torch",
        "pandas",
        "psutil",
        "pyarrow",
    ),
    *("pydantic", "PyYAML", "rich", "safetensors", "scipy", "timm", "torch", "torchvision"),
)
"""Packages that a logged model may import, if they are installed."""

DESCRIPTION_LIMIT = 5000
"""Maximum characters of a version's description that every store accepts."""


@dataclass(frozen=True)
class LoggedModel:
    """A model to log."""

    name: str
    """Name in the registry."""
    bundle: Path
    """The folder that the loader reads."""
    loader: str
    """The module with `_load_pyfunc(folder)`."""
    package: Path
    """The source that is logged with it."""
    inputs: Mapping[str, str]
    """Columns of the table that it takes, all of them text, each with an example."""
    columns: Mapping[str, str]
    """Columns of the predictions, with their MLflow types."""
    lists: Mapping[str, str]
    """Columns of the predictions with lists, with the type of their items."""
    top: int
    """Default number of answers to return."""
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    """Markdown."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry."""

    name: str
    version: str
    model_id: str

    @property
    def uri(self) -> str:
        """The address for `mlflow.pyfunc.load_model`."""
        return f"models:/{self.name}/{self.version}"


def check_model_name(name: str) -> str:
    """Return the name if the registry accepts it.

    Raises:
        InputError: It is empty, or has a character that separates parts of MLflow's addresses.
    """
    if not name.strip() or re.search(r"[/:.%\"']", name):
        fix = f"--name {re.sub(r'[^A-Za-z0-9_-]+', '-', name).strip('-') or 'my-model'}"
        raise InputError("--name", f"`{name}`", allowed="text without / : . % and quotes", fix=fix)
    return name


def requirements() -> list[str]:
    """The requirements of a logged model, in the installed versions."""
    found = []
    for name in PACKAGES:
        try:
            # Local version labels such as `+cpu` cannot be installed from an index.
            found.append(f"{name}=={metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            continue
    return found


@translate_errors
def register_model(uri: str, run: StoredRun, model: LoggedModel) -> RegisteredVersion:
    """Log a model of a run, and register it as the newest version of its name.

    Raises:
        TrackingError: The store refuses it, or is away.
    """
    connection.connect(uri)
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    tags = {name: str(value) for name, value in redact(model.tags).items() if value}
    made = client.create_logged_model(run.experiment_id, name=model.name, source_run_id=run.run_id, tags=tags)
    try:
        with temporary_folder() as scratch:
            folder = scratch / "model"
            _save(folder, model, model_id=made.model_id, run_id=run.run_id)
            client.log_model_artifacts(made.model_id, str(folder))
    except BaseException:
        client.finalize_logged_model(made.model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    client.log_outputs(run.run_id, [LoggedModelOutput(made.model_id, step=0)])
    _make_name(client, model.name)
    description = cut(redact_text(model.description), DESCRIPTION_LIMIT)
    version = client.create_model_version(
        model.name, made.artifact_location, run.run_id, tags, description=description, model_id=made.model_id
    )
    versions = json.dumps([{"name": model.name, "version": version.version}])
    client.set_logged_model_tags(made.model_id, {compat.MODEL_VERSIONS_TAG: versions})
    return RegisteredVersion(model.name, str(version.version), made.model_id)


def _make_name(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            name, description="A network on a frozen tower, logged by `side4video register`."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _save(folder: Path, model: LoggedModel, *, model_id: str, run_id: str) -> None:
    """Write the model in MLflow's format."""
    import pandas as pd
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    known: dict[str, Any] = {"model_id": model_id, "run_id": run_id}
    save_model(
        str(folder),
        loader_module=model.loader,
        data_path=str(model.bundle),
        code_paths=[str(model.package)],
        mlflow_model=Model(**known),
        signature=_signature(model),
        input_example=(pd.DataFrame({name: [each] for name, each in model.inputs.items()}), {"top_k": model.top}),
        pip_requirements=[f"mlflow=={metadata.version('mlflow')}", *requirements()],
    )


def _signature(model: LoggedModel) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    answer: list[Any] = [ColSpec(DataType[kind], name) for name, kind in model.columns.items()]
    answer += [ColSpec(Array(DataType[kind]), name) for name, kind in model.lists.items()]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, name) for name in model.inputs]),
        outputs=Schema(answer),
        params=ParamSchema([ParamSpec("top_k", DataType.long, model.top)]),
    )
