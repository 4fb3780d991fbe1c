"""A run's folder in the storage: report checkpoints to Ray Train, and repair its list of them."""

import errno
import json
import logging
import shutil
import uuid
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint

from side4video.core.errors import Side4VideoError
from side4video.engine.checkpoint import cannot_write, checkpoints_in
from side4video.engine.epoch_callback import Report
from side4video.runs.checkpoint_folders import SNAPSHOT

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def recover_storage(checkpoint_folder: str) -> list[Path]:
    """Set a damaged checkpoint list aside; return the run's checkpoints, newest first, or nothing if the list is good.

    Ray Train writes the list in place, so a machine that dies meanwhile leaves half of it. Ray Train also fails if a
    listed folder is missing. The checksums in the folders show which checkpoints are complete. `checkpoint_folder` is
    the run's folder or URI; a URI is not checked.
    """
    snapshot = Path(checkpoint_folder) / SNAPSHOT
    if "://" in checkpoint_folder or not snapshot.is_file():
        return []
    reason = _list_corrupted(snapshot)
    if not reason:
        return []
    snapshot.replace(snapshot.with_suffix(f".damaged-{uuid.uuid4().hex[:8]}"))
    log.warning("%s: %s: set aside; the run resumes from the newest complete checkpoint beside it", snapshot, reason)
    return checkpoints_in(Path(checkpoint_folder))


def _list_corrupted(snapshot: Path) -> str:
    try:
        results = json.loads(snapshot.read_bytes())["checkpoint_results"]
        missing = [each["checkpoint_dir_name"] for each in results]
    except (ValueError, KeyError, TypeError):
        return "not as Ray Train wrote it"
    missing = [name for name in missing if not (snapshot.parent / name).is_dir()]
    return f"{', '.join(missing)} is missing" if missing else ""


def report_to_ray(report: Report, checkpoint_folder: str) -> None:
    """Send a report to Ray Train, which stores its checkpoint. All workers call it.

    `checkpoint_folder` is the run's folder or URI.

    Raises:
        Side4VideoError: If the storage is full; the incomplete checkpoint is removed.
    """
    metrics: dict[str, Any] = {
        "epoch": report.epoch,
        "next_step": report.next_step,
        "is_last": report.is_last,
        "points": {name: [tuple(metric) for metric in series] for name, series in report.metrics.items()},
        "notes": list(report.notes),
        **({"changes": dict(report.changes)} if report.changes else {}),
    }
    if report.checkpoint is None:
        ray.train.report(metrics, checkpoint=None)
        return
    # Names sort by time. They are unique because a later attempt may reach the same step.
    name = f"checkpoint_{report.next_step:012d}_{uuid.uuid4().hex[:8]}"
    try:
        ray.train.report(
            metrics, checkpoint=Checkpoint.from_directory(str(report.checkpoint)), checkpoint_dir_name=name
        )
    except OSError as error:
        if error.errno not in _FULL and "No space left" not in str(error):
            raise
        if "://" not in checkpoint_folder:
            shutil.rmtree(Path(checkpoint_folder) / name, ignore_errors=True)
        raise Side4VideoError(str(cannot_write(Path(checkpoint_folder) / name, error))) from error
