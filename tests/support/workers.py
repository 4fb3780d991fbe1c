"""Several processes with gloo and without Ray, each of which runs the same source."""

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def template() -> subprocess.Popen:
    """The process that workers are forked from, one for all tests of a session."""
    paths = json.dumps([str(ROOT / "platform"), str(ROOT / "tests/support")])
    command = [sys.executable, str(ROOT / "tests/support/worker_template.py")]
    environment = {**os.environ, "PATHS": paths, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, cwd=ROOT, text=True, start_new_session=True, **pipes)


@atexit.register
def end() -> None:
    """End the template, if there is one, and its workers."""
    if template.cache_info().currsize:
        with suppress(ProcessLookupError):
            os.killpg(template().pid, signal.SIGKILL)
        template().communicate()
        template.cache_clear()


def run_workers(world: int, folder: Path, work: str) -> None:
    """Run `work` on so many workers; it sees `rank`, `world`, `folder` and `process`. One that fails ends all."""
    (folder / f"rendezvous-{world}").unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    job = {"world": world, "folder": str(folder), "work": work, "environment": environment, "cwd": str(Path.cwd())}
    forking = template()
    try:
        print(json.dumps(job), file=forking.stdin, flush=True)
        answer = forking.stdout.readline()
    except BaseException:  # a later job would read this one's answer
        end()
        raise
    assert json.loads(answer or "null") == [0] * world
