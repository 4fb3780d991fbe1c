"""A process that has imported what workers need and forks one for each request: imports take them seconds otherwise.

It starts no thread and trains nothing itself, so that its children begin like new processes.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

DEADLINE_SECONDS = 250


def import_all():
    """Import what nearly every worker uses."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    import retrieval_toys  # noqa: F401
    import side4video.run  # noqa: F401
    import stops  # noqa: F401
    import toys  # noqa: F401


def work(job, rank):
    """Run the job's source as one worker of its group."""
    import torch
    from torch import distributed

    from side4video.engine.process_group import ProcessGroup

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    world, folder = job["world"], Path(job["folder"])
    if world > 1:
        store = f"file://{folder}/rendezvous-{world}"
        distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    process = ProcessGroup(rank, world, torch.device("cpu"))
    names = {"rank": rank, "world": world, "folder": folder, "process": process}
    names |= {"json": json, "os": os, "sys": sys, "Path": Path, "torch": torch, "distributed": distributed}
    exec(compile(job["work"], "worker", "exec"), names)  # noqa: S102 - the tests' own source
    if world > 1:
        distributed.barrier()  # nobody leaves while another still talks to it
        distributed.destroy_process_group()


def fork(job, rank):
    """Start one worker; its process id."""
    process_id = os.fork()
    if process_id:
        return process_id
    status = 1
    try:
        os.environ.clear()
        os.environ.update(job["environment"])
        os.chdir(job["cwd"])
        work(job, rank)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(workers):
    """The exit codes of the workers, in their order; once one fails, or at the deadline, the others are ended."""
    codes = dict.fromkeys(workers)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while None in codes.values():
        found, status = os.waitpid(-1, os.WNOHANG)
        if found:
            codes[found] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > deadline or any(codes.values()):
            for process_id in (each for each, code in codes.items() if code is None):
                os.kill(process_id, 9)
                codes[process_id] = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
        else:
            time.sleep(0.02)
    return list(codes.values())


def main():
    """Fork workers for each line of stdin, and answer with their exit codes; ends with its parent."""
    # What workers print is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path[:0] = json.loads(os.environ["PATHS"])
    import_all()
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(wait([fork(job, rank) for rank in range(job["world"])])), file=answers, flush=True)


if __name__ == "__main__":
    main()
