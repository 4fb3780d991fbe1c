"""`side4video.sweep`: train the arms of a sweep and compare them."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side4video.api.cluster_place import check_address
from side4video.api.documents import Override, as_sweep
from side4video.api.stored_runs import as_table
from side4video.core import signals
from side4video.core.arguments import check_text
from side4video.data.listing_once import listing_once
from side4video.distributed.trainer import RayTrainer
from side4video.reports.comparison import compare_rows
from side4video.reports.sweep_report import report_sweep
from side4video.runs.sweep import PreparedSweep, SweepResult, hold_sweep, prepare_sweep, run_sweep
from side4video.runs.trainer import LocalTrainer
from side4video.spec.arm import Sweep
from side4video.terminal.shown_progress import Shown, shown_progress
from side4video.terminal.sweep_view import SweepView

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SweepComparison:
    """The arms of a sweep, compared."""

    name: str
    run_id: str
    """The run of the sweep, with the report among its artifacts."""
    metric: str
    """What arms are compared by, such as `eval/top1`."""
    is_complete: bool
    """Whether every arm has a result."""
    arms: "pd.DataFrame"
    """One row for each distinct arm and seed, as `side4video.runs` returns them."""
    markdown: str
    """The table of the report: arms with their mean over seeds, differences and tests."""
    notes: list[str]
    """What is to be known about the comparison."""
    failures: dict[str, str]
    """The reason of each failed arm, by its label."""
    files: list[Path] = field(default_factory=list)
    """Files of the report, if a folder was given."""
    seconds: float = 0.0
    """Seconds of the training."""

    def __repr__(self) -> str:
        """What it is, in a line."""
        state = "complete" if self.is_complete else "incomplete"
        return f"<sweep {self.name}: {len(self.arms)} arms by {self.metric}, {state}, run {self.run_id[:8]}>"

    def _repr_markdown_(self) -> str:
        """The table, in a notebook."""
        return self.markdown


def sweep(
    sweep: Sweep | Mapping[str, Any] | str | Path,
    *overrides: Override,
    local: bool = True,
    address: str = "local",
    rerun: bool = False,
    report: str | Path | None = None,
    progress: Shown = True,
) -> SweepComparison:
    """Train the arms of a sweep that have no result yet, and compare all of them, as `side4video sweep` does.

    It blocks, see `side4video.run`. After an interruption, the same call continues from the last checkpoints.

    Args:
        sweep: A YAML file, the name of a preset (`"quickstart-sweep"`), or a document as a mapping. There `base` is an
            experiment, its document, a YAML file, or the name of a preset.
        *overrides: Changes of the sweep, `"seeds=2"` or `{"seeds": 2}`.
        local: Train in this process, one pack after the other. Sweeps with a scheduler or with Optuna need
            seats (`packing: {seats: 8}`), or `local=False`, which trains on Ray.
        address: Of the Ray cluster, with `local=False`; `local` starts one on this machine.
        rerun: Also train arms that have a result.
        report: A folder to write the report to.
        progress: See `side4video.run`.

    Returns:
        The comparison. In a notebook it shows the table. Arms that failed are in `failures`; the others have a result.

    Raises:
        InputError: The file, an override, the data or the machine do not fit; arms cannot be compared; or another
            command works on the same sweep.
        Interrupted: It was asked to stop, and saved checkpoints.
    """
    document = as_sweep(sweep, overrides)
    check_address(address, local=local)
    if report is not None:
        check_text("report", report, allowed="a folder", fix="leave it out for no report", path=True)
    document.spec.check_installed()
    spec, base = document.spec, document.base_experiment
    terminal = SweepView(spec.name, spec.metric, mode=spec.mode, videos_per_step=base.optimization.batch_size)
    with ExitStack() as held:
        held.enter_context(listing_once())
        held.enter_context(signals.handling_signals())
        held.enter_context(hold_sweep(document))
        names = {arm.short_key: arm.title for arm in document.arms}
        view = held.enter_context(shown_progress(progress, spec.name, terminal=lambda: terminal, names=names))
        with LocalTrainer() if local else RayTrainer(address, base.cluster) as trainer:
            prepared = prepare_sweep(document, progress=view, rerun=rerun, trainer=trainer)
            done = {
                key: "finished" if run.is_in_sweep(prepared.key) else "done before"
                for key, run in prepared.completed.items()
            }
            terminal.add_arms(document.arms, done)
            result = run_sweep(prepared, progress=view, trainer=trainer)
        view.report("comparing the arms")
        signals.set_busy(True)  # the report is stored to its end
        return _compare(prepared, result, str(report) if report else None)


def _compare(prepared: PreparedSweep, result: SweepResult, folder: str | None) -> SweepComparison:
    from side4video.reports.columns import as_markdown

    spec = prepared.sweep.spec
    rows, files, notes = report_sweep(prepared, result, folder)
    titles = {arm.key: arm.title for arm in result.arms}
    runs = result.sweep_logger.children()
    return SweepComparison(
        name=spec.name,
        run_id=result.sweep_logger.parent,
        metric=spec.metric,
        is_complete=result.is_complete,
        arms=as_table(
            [runs[arm.key] for arm in result.arms if arm.key in runs], sweeps={result.sweep_logger.key: spec.name}
        ),
        markdown=as_markdown(compare_rows(rows, metric=spec.metric, mode=spec.mode)),
        notes=notes,
        failures={titles.get(key, key[:16]): reason for key, reason in result.failures.items()},
        files=files,
        seconds=result.seconds,
    )
