"""One experiment from document to record: plan, begin the record, train (on Ray or in this process), close it.

Importing this does not import Ray; training on it does.
"""

import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from side4video.core import leaving
from side4video.core.errors import InputError, Interrupted
from side4video.core.home import home
from side4video.core.paths import expand
from side4video.core.scratch import scratch_folder
from side4video.distributed.environment import RayCluster
from side4video.spec.check import check_agreement, check_files
from side4video.spec.cluster import ClusterSpec
from side4video.spec.experiment import Experiment
from side4video.tracking.journal import PLACE_TAG, Journal, find_unfinished, open_journal

Show = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Finished:
    """A run that ended well."""

    run_id: str
    name: str
    state: str
    metrics: dict[str, float]
    memory: dict[str, float]
    time: dict[str, float]
    plan: dict[str, Any]
    wall_s: float
    """From the command to the result; for a pack, of the whole pack."""
    trainable_parameters: int
    broken_clips: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader should know of how the run went."""

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def launch(
    experiments: Mapping[str, Experiment],
    *,
    show: Show,
    local: bool = False,
    address: str = "local",
    resume: bool = False,
) -> dict[str, Finished]:
    """Run experiments to their end as one pack; an ordinary run is a pack of one.

    Args:
        experiments: By student name; they agree on backbone, data, batches and workers.
        show: Gets progress messages.
        local: In this process, without Ray, as one worker.
        address: Of the Ray cluster; `local` starts one on this machine.
        resume: Continue the newest unfinished run of exactly this experiment.

    Raises:
        InputError: If the documents, the data or the cluster cannot do it.
        Side4VideoError: If the work failed.
    """
    started = time.perf_counter()
    check_agreement(experiments)
    base = next(iter(experiments.values()))
    show = noting_work(show)
    with leaving.heeding_signals(), nullcontext() if local else RayCluster(address, base.cluster) as cluster:
        plans = _prepare(experiments, show, cluster)
        place = _place(base, resume=resume)
        show({"phase": "opening the record"})
        fingerprint = base.data.dataset.fingerprint()
        journal = open_journal(experiments, plans=plans, fingerprint=fingerprint, place=place, resume=resume)
        try:
            if cluster is None:
                outcomes, checkpoint = train_here(experiments, journal, place=place, show=show)
            else:
                outcomes, checkpoint = _train_on_ray(experiments, journal, cluster, place=place, show=show)
            show({"phase": "storing the results"})
            for name, outcome in outcomes.items():
                journal.close(name, outcome, checkpoint)
        except BaseException as error:
            journal.fail(str(error) or type(error).__name__, killed=is_interruption(error))
            raise
    wall = time.perf_counter() - started
    return {
        name: Finished(
            run_id=journal.run_ids[name],
            name=spec.name,
            plan=plans[name],
            wall_s=wall,
            **{
                key: value
                for key, value in outcomes[name].items()
                if key not in ("backbone_fingerprint", "steps", "steps_trained")
            },
        )
        for name, spec in experiments.items()
    }


def is_interruption(error: BaseException) -> bool:
    """Whether somebody ended the work, which may go on; else it failed."""
    return isinstance(error, Interrupted) or not isinstance(error, Exception)


def noting_work(show: Show) -> Show:
    """Take note of when steps are made: who is told to end then saves first."""

    def noting(message: dict[str, Any]) -> None:
        if message["phase"] in ("training", "storing the results"):
            leaving.set_at_work(message["phase"] == "training")
        show(message)

    return noting


def _prepare(
    experiments: Mapping[str, Experiment], show: Show, cluster: RayCluster | None
) -> dict[str, dict[str, Any]]:
    """Look at files, make what has to be made, and plan: everything that can fail before a worker is asked for.

    Ray, if it is to be used, comes up beside the planning.
    """
    for spec in experiments.values():
        check_files(spec)
    dataset = next(iter(experiments.values())).data.dataset
    show({"phase": "preparing the data"})
    dataset.prepare(lambda done, total: show({"phase": "preparing the data", "step": done, "steps": total}))
    show({"phase": "planning"})
    if cluster is not None:
        cluster.begin()
    from side4video.planning.cache import count_clips
    from side4video.planning.plan import plan_experiment

    classes = len(dataset.classes())
    return {
        name: plan_experiment(spec, classes=classes, clips=count_clips(spec.data)).as_json()
        for name, spec in experiments.items()
    }


def storage_root(spec: Experiment) -> str:
    """The folder or URI below which runs keep their checkpoints, without a slash at its end."""
    return (expand(spec.cluster.storage, "cluster.storage") or str(home() / "runs")).rstrip("/")


def _place(spec: Experiment, *, resume: bool) -> str:
    """`<storage>/<name>-<hash>-<run>`: the run's own folder for checkpoints; the unfinished run's when resuming."""
    if resume:
        unfinished = find_unfinished(spec)
        if unfinished is None or PLACE_TAG not in unfinished.tags:
            raise InputError(
                "--resume",
                f"no unfinished run of {spec.name} with exactly this spec",
                fix="run it without --resume",
            )
        return unfinished.tags[PLACE_TAG]
    return f"{storage_root(spec)}/{spec.name}-{spec.digest()[:8]}-{uuid.uuid4().hex[:8]}"


def _train_on_ray(
    experiments: Mapping[str, Experiment], journal: Journal, cluster: RayCluster, *, place: str, show: Show
) -> tuple[dict[str, dict[str, Any]], Path | None]:
    show({"phase": cluster.phase})
    cluster.connected()
    leaving.heed_again()
    from side4video.distributed.train import train_on_ray

    show({"phase": "starting the workers"})
    storage, _, name = place.rpartition("/")
    return train_on_ray(experiments, journal, place=storage, name=name, show=show)


def train_here(
    experiments: Mapping[str, Experiment],
    journal: Journal,
    *,
    place: str,
    show: Show,
    resume_from: Sequence[Path] = (),
) -> tuple[dict[str, dict[str, Any]], Path | None]:
    """Train the experiments as one pack in this process.

    Args:
        experiments: By student name.
        journal: Their records.
        place: Folder for checkpoints; one that is there already is gone on from.
        show: Gets progress messages.
        resume_from: Checkpoints elsewhere, newest first, to go on from where there is none in the folder.

    Returns:
        The outcome of each student, and the folder of the last checkpoint.

    Raises:
        InputError: If a GPU is asked for that is not there, or the place is no folder.
        Interrupted: If this process was told to end, and has saved.
    """
    from side4video.engine.checkpoint import checkpoints_in, keep_checkpoint
    from side4video.engine.pauses import Wish
    from side4video.engine.progress import Narration
    from side4video.engine.recorder import Report
    from side4video.engine.resuming import candidate_at
    from side4video.run import Surroundings, run

    cluster = next(iter(experiments.values())).cluster
    process = _only_process(cluster, place)
    kept = Path(place)

    def store(report: Report) -> None:
        if report.checkpoint is not None:
            keep_checkpoint(report.checkpoint, kept, step=report.next_step, most=cluster.keep_checkpoints)
        journal.take(report.points, report.notes)

    def last_words(words: str) -> None:
        print(f"error: {words}", file=sys.stderr, flush=True)  # noqa: T201 - the process ends, and nobody else can say it
        journal.fail(words)

    found = [candidate_at(folder) for folder in (*checkpoints_in(kept), *resume_from)]
    with scratch_folder() as scratch:
        outcomes = run(
            experiments,
            Surroundings(
                process,
                scratch,
                store,
                found,
                Narration(show),
                wish=lambda: Wish.LEAVE if leaving.is_asked() else Wish.NOTHING,
                last_words=last_words,
            ),
        )
    return {name: asdict(outcome) for name, outcome in outcomes.items()}, next(iter(checkpoints_in(kept)), None)


def _only_process(cluster: ClusterSpec, place: str) -> Any:
    """This process as the only worker.

    Raises:
        InputError: If it cannot be that.
    """
    import torch

    from side4video.engine.processes import Process

    if "://" in place:
        raise InputError("cluster.storage", place, allowed="a folder, with --local", fix="leave --local out")
    if cluster.decoding.kind != "beside":
        raise InputError(
            "cluster.decoding", cluster.decoding.kind, allowed="beside, with --local", fix="leave --local out"
        )
    wants_gpu = cluster.gpus_per_worker > 0
    if wants_gpu and not torch.cuda.is_available():
        raise InputError("cluster.gpus_per_worker", "a GPU is asked for, and there is none here", fix="set it to 0")
    return Process(device=torch.device("cuda" if wants_gpu else "cpu"))
