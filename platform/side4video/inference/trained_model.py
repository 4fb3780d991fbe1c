"""Loads a trained model by what people call it: a run of the store, or an exported folder."""

from pathlib import Path

from side4video.core.arguments import check_text
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.engine.process_group import checked_device
from side4video.inference.bundle import check_run_exists, is_folder_name
from side4video.inference.model import Model, run_temperature
from side4video.inference.model import load as load_folder
from side4video.runs.stored_run import class_names, fetch_trained
from side4video.tracking.stores import store_at


def load(run_or_folder: str | Path, device: str = "cpu", *, uri: str = "", calibrated: bool = False) -> Model:
    """Load a trained classifier: a run, or a folder that `side4video export` wrote.

    Args:
        run_or_folder: The folder; or a run by its id, the start of its id, or its name (of several with a name, the
            newest that is finished). An exported folder of this name hides a run of this name, and a text with `/` is a
            folder.
        device: `cpu`, `cuda`, `cuda:1` ...
        uri: The store of the run: an MLflow address, or the folder of a store of files. By default
            `MLFLOW_TRACKING_URI`, or the local store.
        calibrated: Whether to scale the scores by the temperature that was fitted on the validation split. The order of
            the classes stays. The model's `calibration_note` says if the temperature is doubtful.

    Raises:
        InputError: There is no such run or folder, the run is not finished, its task is retrieval, a file was changed,
            the backbone is another one, the device is not there, or `calibrated` is asked of a run without a
            validation split.
    """
    allowed = "the name or the id of a run, or a folder that `side4video export` wrote"
    fix = "`side4video.runs()` lists the runs"
    check_text("run_or_folder", run_or_folder, allowed=allowed, fix=fix, path=True)
    if not str(run_or_folder).strip():
        raise InputError("run_or_folder", "an empty text", allowed=allowed, fix=fix)
    device = str(checked_device(device))
    if is_folder_name(run_or_folder):
        return load_folder(run_or_folder, device, calibrated=calibrated)
    run_name = str(run_or_folder)
    store = store_at(uri).prepare()
    check_run_exists(store, run_name)
    with temporary_folder() as scratch:
        run, weights, fingerprint = fetch_trained(store, run_name, scratch)
        classes = class_names(store, run)
        origin = f"{run.title}, weights of {run.describe('chosen')}"
        weights_kind = run.choose("chosen")
        scale, note = run_temperature(run.metrics, weights_kind, where=run.where) if calibrated else (1.0, "")
        return Model(
            run.spec,
            classes,
            weights,
            device=device,
            backbone_sha256=fingerprint,
            origin=origin,
            temperature=scale,
            calibration_note=note,
        )
