"""Train arms on one endless pass over the clips: they take seats, leave them, and others join. Neither Ray nor MLflow.

The pass has a clock: its step s belongs to its epoch s // steps per epoch. A student has a clock of its own, which
starts at the epoch in which it joins (`Student.offset`). All that a student computes depends on its own clock, its
seed, and the clips of the pass's epochs, so it ends with the weights of the same arm alone with `data.first_epoch`.

Between two epochs an `ArmSource` says who leaves and who joins. It runs on the first worker, and gets the results that
all workers agree on. What it has decided is part of each checkpoint, and so are the weights of arms that are paused.
"""

from dataclasses import replace
from functools import partial

from side4video.data.listing_once import listing_once
from side4video.engine.arm_source import ArmSource
from side4video.engine.epoch_callback import EpochCallback
from side4video.engine.evaluate import Evaluation
from side4video.engine.loop import train
from side4video.engine.memory import reset_peak
from side4video.engine.metrics_logger import MetricsLogger
from side4video.engine.pack import Pack
from side4video.engine.preemption import CheckpointTimer
from side4video.engine.step import Plan
from side4video.engine.student import Student
from side4video.engine.watchdog import Watchdog, WatchedBatches, WatchedProgress
from side4video.run import (
    RunContext,
    broken_row,
    build_towers,
    configure_process,
    evaluate_on_stream,
    final_test_of,
)
from side4video.run_streams import EvaluatedSplit, RunStreams
from side4video.seats import Seats, pass_identity
from side4video.spec.experiment import Experiment


def run_with_seats(base: Experiment, arms: ArmSource | None, context: RunContext) -> None:
    """Train arms until nobody has a seat and nobody waits. Results are reported as arms leave (`Report.changes`).

    Args:
        base: The experiment whose data, batches, evaluation and workers all arms share.
        arms: Who joins and leaves; None on workers other than the first.
        context: The worker, and where results go. Its early stopper is not asked.

    Raises:
        InputError: If data or weights do not match the base.
        Interrupted: If the run was asked to stop; it goes on from its checkpoint.
    """
    with listing_once(), Watchdog(base.cluster.step_timeout_minutes, context.on_fatal) as watchdog:
        watched = replace(context, progress=WatchedProgress(context.progress, watchdog))
        _run(base, arms, watched, watchdog)


def _run(base: Experiment, arms: ArmSource | None, context: RunContext, watchdog: Watchdog) -> None:
    process = context.process
    configure_process(base, process, threads=context.threads)
    context.progress.report("loading the backbone")
    towers = build_towers({"base": base}, process, context.weights)
    base.data.listed.prepare()
    pack = Pack([], isolates_failures=process.world == 1)
    tower = next(iter(towers.values()))
    streams = RunStreams(base, process, context.prefetch, tower, pack, evaluated_clips=context.evaluated_clips)
    with streams:
        training = streams.training
        steps = base.optimization.length.in_steps(training.steps_per_epoch)
        plan = Plan(max(1, steps), training.steps_per_epoch, training.shares)
        logger = MetricsLogger(process, every_steps=context.every_steps)

        def evaluate_on(split: EvaluatedSplit, some: list[Student]) -> dict[str, Evaluation]:
            batches = WatchedBatches(split.stream, watchdog)
            return evaluate_on_stream(
                some, pack, batches, videos=split.videos, spec=base, report_progress=context.progress.report
            )

        seats = Seats(base, arms, context, pack, towers, plan)
        callback = EpochCallback(
            pack,
            logger,
            evaluate=partial(evaluate_on, streams.validation or streams.testing),
            final_test=final_test_of(base, partial(evaluate_on, streams.testing)) if streams.validation else None,
            every_epochs=base.evaluation.every_epochs,
            identity={"pass": pass_identity(base), "world": process.world},
            scratch=context.scratch,
            report=context.report,
            constants={},
            broken=lambda: [broken_row(report) for report in streams.broken()],
            membership=seats,
        )
        seats.callback = callback
        position = seats.resume(context.resume_from)
        seats.begin(position)
        reset_peak(process.device)
        timer = CheckpointTimer(callback, context.stop_request, base.cluster.checkpoint_minutes)
        if pack.students:
            train(
                pack,
                training,
                plan=plan,
                callbacks=[logger, callback, context.progress, seats],
                first_step=position.next_step,
                is_open=position.is_open,
                checkpoint_timer=timer,
                is_endless=True,
            )
        context.progress.end()
