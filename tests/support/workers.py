"""Several processes with gloo and without Ray, each of which runs the same source."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

START = """
import json, os, sys
from pathlib import Path
import torch
from torch import distributed
sys.path[:0] = json.loads(os.environ["PATHS"])
torch.set_num_threads(1)
torch.set_flush_denormal(True)
from side4video.engine.process_group import ProcessGroup

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
if world > 1:
    store = f"file://{folder}/rendezvous-{world}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
process = ProcessGroup(rank, world, torch.device("cpu"))
"""
END = """
if world > 1:
    distributed.barrier()  # nobody leaves while another still talks to it
    distributed.destroy_process_group()
"""


def run_workers(world: int, folder: Path, work: str) -> None:
    """Run `work` on so many workers; it sees `rank`, `world`, `folder` and `process`. One that fails ends all."""
    (folder / f"rendezvous-{world}").unlink(missing_ok=True)
    root = Path(__file__).resolve().parents[2]
    paths = json.dumps([str(root / "platform"), str(root / "tests/support")])
    environment = {**os.environ, "PATHS": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", START + work + END]
    workers = [
        subprocess.Popen([*command, str(rank), str(world), str(folder)], env=environment) for rank in range(world)
    ]
    deadline = time.monotonic() + 250
    try:
        while any(worker.poll() is None for worker in workers) and not any(worker.poll() for worker in workers):
            assert time.monotonic() < deadline, "the workers hang"
            time.sleep(0.05)
        assert [worker.poll() for worker in workers] == [0] * world
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
