"""Checks `tracking.tags`: MLflow must take the names, and none may be the platform's own."""

import re

from side4video.core.errors import InputError
from side4video.spec.tracking import Tracking

_ALLOWED = re.compile(r"[A-Za-z0-9_\-. :/]{1,250}")
OWN_PREFIXES = ("mlflow.", "side4video.", "version/")
OWN_NAMES = frozenset(
    {
        *("backbone", "backbone_sha256", "dataset", "dataset_fingerprint", "decoder", "method", "protocol"),
        *("commit", "failure", "schema_version", "state"),
        *("cpu", "cpu_cores", "host", "memory_gib", "os", "python"),
        *("cuda", "gpu", "gpu_count", "gpu_driver", "gpu_memory_gib"),
    }
)
"""Names of tags that a run gets by itself; reports and searches rely on them."""


def check_tags(tracking: Tracking) -> None:
    """Check the names of a run's additional tags.

    Raises:
        InputError: One is the platform's own, or MLflow would refuse it.
    """
    for name in tracking.tags:
        if name in OWN_NAMES or name.startswith(OWN_PREFIXES):
            raise InputError(
                f"tracking.tags.{name}",
                "the platform sets this tag itself",
                allowed=f"other names; none that begins with {', '.join(OWN_PREFIXES)}",
                fix=f"call it my_{name.rpartition('.')[2].rpartition('/')[2]}, say",
            )
        parts = name.split("/")
        if not _ALLOWED.fullmatch(name) or any(part in ("", ".", "..") for part in parts):
            raise InputError(
                f"tracking.tags.{name}",
                "MLflow does not take this name",
                allowed="1 to 250 of the characters A-Z a-z 0-9 _ - . : / and space; no empty part and no . or .. "
                "between slashes",
                fix="write it with these characters",
            )
