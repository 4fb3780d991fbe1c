"""A run's folder in the storage: what Ray Train keeps there, and what is to be done when it is damaged."""

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

log = logging.getLogger(__name__)

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray Train's list of a run's checkpoints."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def repair_storage(place: str) -> list[Path]:
    """Checkpoints, newest first, that a run may go on from although Ray Train cannot use its list of them.

    The list is written in place, so a machine that dies then leaves half of it; and Ray refuses a list with a folder
    that is gone. It is set aside, and the folders speak for themselves: their checksums say which are whole.

    Args:
        place: The run's folder or URI; only a folder is looked at.
    """
    snapshot = Path(place) / SNAPSHOT
    if "://" in place or not snapshot.is_file():
        return []
    reason = _damage(snapshot)
    if not reason:
        return []
    snapshot.replace(snapshot.with_suffix(f".damaged-{uuid.uuid4().hex[:8]}"))
    log.warning("%s: %s: set aside; the newest whole checkpoint beside it is gone on from", snapshot, reason)
    return checkpoints_in(Path(place))


def _damage(snapshot: Path) -> str:
    try:
        results = json.loads(snapshot.read_bytes())["checkpoint_results"]
        missing = [each["checkpoint_dir_name"] for each in results]
    except (ValueError, KeyError, TypeError):
        return "not as Ray Train wrote it"
    missing = [name for name in missing if not (snapshot.parent / name).is_dir()]
    return f"{', '.join(missing)} is gone" if missing else ""


def report_to_ray(report: Report, place: str) -> None:
    """Give a report to Ray Train, which stores its checkpoint; every worker calls it.

    Args:
        report: What to give.
        place: The run's folder or URI.

    Raises:
        Side4VideoError: If the storage is full; what was written of the checkpoint is taken away again.
    """
    points = {name: [tuple(point) for point in series] for name, series in report.points.items()}
    metrics: dict[str, Any] = {"epoch": report.epoch, "next_step": report.next_step, "points": points}
    metrics["notes"] = list(report.notes)
    if report.checkpoint is None:
        ray.train.report(metrics, checkpoint=None)
        return
    # Names that sort as time does; unique, because another attempt may come to the same step again.
    name = f"checkpoint_{report.next_step:012d}_{uuid.uuid4().hex[:8]}"
    try:
        ray.train.report(
            metrics, checkpoint=Checkpoint.from_directory(str(report.checkpoint)), checkpoint_dir_name=name
        )
    except OSError as error:
        if error.errno not in _FULL and "No space left" not in str(error):
            raise
        if "://" not in place:
            shutil.rmtree(Path(place) / name, ignore_errors=True)
        raise Side4VideoError(str(cannot_write(Path(place) / name, error))) from error
