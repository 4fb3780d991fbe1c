"""`side4video.run`: train and evaluate one experiment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from side4video.api.cluster_place import check_address
from side4video.api.documents import Override, as_experiment
from side4video.core.errors import InputError
from side4video.distributed.trainer import RayTrainer
from side4video.runs.launch import launch
from side4video.runs.run_result import RunResult
from side4video.runs.trainer import LocalTrainer
from side4video.spec.experiment import Experiment
from side4video.terminal.progress import ProgressView
from side4video.terminal.shown_progress import Shown, shown_progress


def run(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *overrides: Override,
    local: bool = True,
    address: str = "local",
    resume: bool = False,
    go_on: bool = False,
    progress: Shown = True,
) -> RunResult:
    """Train and evaluate an experiment to its end, and record it in its store, as `side4video run` does.

    It blocks. In an event loop, await `asyncio.to_thread(side4video.run, ...)`. In the main thread, SIGTERM saves a
    checkpoint first; in another thread it ends the process. Ctrl-C (in a notebook: interrupt the kernel) ends the run.
    Continue either with `resume=True`.

    Args:
        experiment: A YAML file, the name of a preset (`"quickstart"`), a document as a mapping, or what
            `side4video.load_experiment` returns.
        *overrides: Changes, `"method.dim=320"` or `{"method.dim": 320}`, applied in their order.
        local: Train in this process with one worker. False: train on Ray, with the workers that the document asks for.
        address: Of the Ray cluster, with `local=False`; `local` starts one on this machine.
        resume: Continue the newest unfinished run of exactly this experiment.
        go_on: Continue the unfinished run if there is one, or return the result of the finished one, else start a run.
        progress: Show the progress: a bar in a notebook or on a terminal, plain lines on stderr elsewhere. False shows
            nothing. An object with a method `report` gets the reports (`side4video.core.progress.Progress`).

    Returns:
        The result. `metrics` has fractions by name (`eval/top1`), `memory` GiB, `time` seconds, `plan` the prediction.

    Raises:
        InputError: The file, an override, the data, the weights or the machine do not fit; or another command works
            on the same run.
        Interrupted: It was asked to stop, and saved a checkpoint.
        Side4VideoError: The training failed.
    """
    spec = as_experiment(experiment, overrides)
    check_address(address, local=local)
    if resume and go_on:
        fix = "leave out resume: go_on continues an unfinished run too"
        raise InputError("resume", "beside go_on", allowed="one of them", fix=fix)
    with shown_progress(progress, spec.name, terminal=lambda: ProgressView(spec.name)) as view:
        trainer = LocalTrainer() if local else RayTrainer(address, spec.cluster)
        return launch({spec.name: spec}, progress=view, trainer=trainer, resume=resume, go_on=go_on)[spec.name]
