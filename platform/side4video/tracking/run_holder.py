"""A run or a sweep is worked on by one command at a time, on one machine or on several.

On one machine a file lock says so, which ends with its process (`core.held_lock`). Other machines see a tag of the run
that its command renews every half minute. A tag that is not renewed is of a command that died with its machine.
"""

import copy
import hashlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from side4video.core.errors import Side4VideoError
from side4video.core.held_lock import HeldError, hold
from side4video.core.paths import home
from side4video.tracking.run_store import RunStore, StoredRun
from side4video.tracking.tags import HOLDER_TAG

log = logging.getLogger(__name__)

RENEW_SECONDS = 30.0
"""How often the tag is renewed."""
SILENT_RENEWALS = 2.5
"""A holder on another machine is dead if its tag stays the same for so many times `RENEW_SECONDS`."""
_FIX = "wait until it ends; to stop it and go on here, end that process first"


@contextmanager
def hold_experiment(store: RunStore, digest: str, name: str) -> Iterator[None]:
    """Let no other command of this machine begin or continue this experiment inside the block.

    Raises:
        HeldError: Another command does.
    """
    identity = hashlib.sha256(f"{store.uri} {store.experiment} {digest}".encode()).hexdigest()[:16]
    with hold(home() / "locks" / f"experiment-{identity}.lock", what=f"experiment {name}", fix=_FIX):
        yield


@contextmanager
def hold_folder(checkpoint_folder: str, what: str) -> Iterator[None]:
    """Let no other process train in a folder for checkpoints, or below a URI, inside the block.

    Raises:
        HeldError: Another process does.
        InputError: The folder cannot be made.
    """
    if "://" in checkpoint_folder:
        name = hashlib.sha256(checkpoint_folder.encode()).hexdigest()[:16]
        file = home() / "locks" / f"checkpoints-{name}.lock"
    else:
        file = Path(checkpoint_folder) / "in-use.lock"
    try:
        with hold(file, what=what, fix=_FIX):
            yield
    finally:
        with suppress(OSError):  # it holds something, or nothing was trained
            file.parent.rmdir()


def wait_for_other_machine(store: RunStore, run: StoredRun, *, renew_seconds: float = RENEW_SECONDS) -> None:
    """Make sure that no command of another machine works on a run; this takes a moment if one did.

    Clocks are not compared: a living command renews its tag while this waits.

    Raises:
        HeldError: One does.
    """
    before = run.tags.get(HOLDER_TAG, "")
    holder = _parsed(before)
    if not holder or holder["host"] == socket.gethostname():
        return  # of this machine, the file lock knows better
    deadline = time.monotonic() + SILENT_RENEWALS * renew_seconds
    while time.monotonic() < deadline:
        time.sleep(min(1.0, renew_seconds))
        now = store.get(run.run_id).tags.get(HOLDER_TAG, "")
        if not now:
            return
        if now != before:
            raise HeldError(f"run {run.run_id[:8]}", _sentence(holder), fix=_FIX)


@contextmanager
def renewing_tag(
    store: RunStore, run_ids: Mapping[str, str], *, renew_seconds: float = RENEW_SECONDS
) -> Iterator[None]:
    """Tell other machines that this process works on runs, inside the block; `run_ids` are by any name."""
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    about = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    ended = threading.Event()
    own_store = copy.copy(store)  # a client of its own, for another thread

    def tag(value: str) -> None:
        for run_id in run_ids.values():
            own_store.set_tags(run_id, {HOLDER_TAG: value})

    def renew() -> None:
        count = 0
        while not ended.wait(renew_seconds):
            count += 1
            try:
                tag(json.dumps({**about, "renewed": count}))
            except (Side4VideoError, OSError) as error:
                log.debug("the tag of the holder was not renewed: %s", error)

    tag(json.dumps({**about, "renewed": 0}))
    thread = threading.Thread(target=renew, name="holder-tag", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            tag("")
        except (Side4VideoError, OSError) as error:
            log.debug("the tag of the holder was not cleared: %s", error)


def describe_holder(run: StoredRun) -> str:
    """Which process works on a run since when, as far as its tag says; empty if none does."""
    holder = _parsed(run.tags.get(HOLDER_TAG, ""))
    is_dead = holder and holder["host"] == socket.gethostname() and not psutil.pid_exists(holder["pid"])
    return _sentence(holder) if holder and not is_dead else ""


def _sentence(holder: Mapping[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']} works on it since {holder['since']}"


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
        is_whole = {"host", "pid", "since"} <= document.keys() and isinstance(document["pid"], int)
        return document if is_whole else {}
    except (ValueError, AttributeError):
        return {}
