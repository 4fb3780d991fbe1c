"""Opens the store of a spec or of a command line. A new kind of store is a case here and a spec in `spec.tracking`."""

from contextlib import suppress
from pathlib import Path

from side4video.core.arguments import check_text
from side4video.core.errors import Side4VideoError
from side4video.core.paths import expand, home
from side4video.spec.check_folders import FOLDER
from side4video.spec.tracking import FilesTrackingSpec, MLflowTrackingSpec, Tracking
from side4video.tracking.copying_store import CopyingStore
from side4video.tracking.file_store import FileStore
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.run_store import RunStore


def open_store(spec: Tracking) -> RunStore:
    """The store of a spec's tracking section, with the copies that it asks for. `prepare` creates it."""
    store = _open(spec)
    return CopyingStore(store, spec.also) if spec.also else store


def _open(spec: Tracking) -> RunStore:
    match spec:
        case MLflowTrackingSpec():
            return MLflowStore(spec.uri, spec.experiment)
        case FilesTrackingSpec():
            return FileStore(expand(spec.folder, FOLDER) or home() / "records", spec.experiment)


def deliver_waiting() -> None:
    """Deliver to the default store what stopped commands left in the offline queue."""
    with suppress(Side4VideoError):
        MLflowStore().prepare()


def store_at(uri: str | Path = "") -> RunStore:
    """The store at a command's `--uri`: a folder of `kind: files`, else an MLflow address; empty: the default.

    Raises:
        InputError: It is no text and no path.
    """
    allowed = "an MLflow address, or the folder of a store of files"
    check_text("uri", uri, allowed=allowed, fix="leave it out for the default store", path=True)
    uri = str(uri)
    if uri and "://" not in uri and Path(uri).expanduser().is_dir():
        return FileStore(uri)
    return MLflowStore(uri)
