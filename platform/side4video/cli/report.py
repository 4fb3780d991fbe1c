"""`side4video report`: tables of the paper with our results, and reports of sweeps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.csv_cells import csv_rows
from side4video.core.errors import InputError
from side4video.reports.paper import TABLES, TRANSFER_TABLES, PaperTable
from side4video.terminal.options import anyway, as_json, example
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from side4video.reports.arms import ArmResult, Mode
    from side4video.reports.figures.figure import ReportFigure
    from side4video.tracking.sweep_logger import SweepLogger

_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Write Markdown, CSV, LaTeX and an HTML page into this folder.",
)
_sweep = click.option(
    "--sweep",
    default="",
    metavar="NAME",
    help="Instead of the published figures: the arms of this sweep, in the form of this table.",
)
_no_figures = click.option("--no-figures", is_flag=True, help="Write the HTML page without further figures.")


@click.group(short_help="Print a table of the paper, or the report of a sweep.")
def report() -> None:
    """Print the paper's tables with our results, or the report of a sweep.

    Runs are read from the store at $MLFLOW_TRACKING_URI, or from the local store.
    """


def _paper_command(table: PaperTable) -> click.Command:
    @click.command(
        table.name,
        help=f"Print {table.title}: the paper's values, ours, and the difference.",
        short_help=f"{table.short_title or table.title}.",
        epilog=example(f"report {table.name} --out report"),
    )
    @anyway
    @_out
    @as_json
    def command(
        anyway: tuple[str, ...], out: Path | None, as_json: bool, no_figures: bool = False, sweep: str = ""
    ) -> None:
        from side4video.reports.grid import grid_rich, grid_values
        from side4video.reports.paper_report import paper_grid
        from side4video.reports.tables import write_grid
        from side4video.reports.transfer import transfer_grid
        from side4video.terminal.options import table_console
        from side4video.tracking.stores import store_at

        store = store_at().prepare()
        grid = transfer_grid(store, sweep, table.name) if sweep else paper_grid(table, store, anyway=anyway)
        figures = _figure_1(store) if out and table.name == "table2" and not no_figures else []
        files = write_grid(out, table.name, grid, figures=figures) if out else []
        if as_json:
            document = {
                "title": grid.title,
                "rows": grid_values(grid),
                "notes": grid.notes,
                "legend": grid.legend,
                "files": list(map(str, files)),
            }
            print_json(document)
            return
        console = table_console()
        console.print(grid_rich(grid))
        _print_notes(grid.below, files)

    if table.name in TRANSFER_TABLES:
        return _sweep(command)
    return _no_figures(command) if table.name == "table2" else command


for _table in TABLES.values():
    report.add_command(_paper_command(_table))


@report.command("table9", epilog=example("report table9 --sweep quickstart-sweep"))
@click.option("--sweep", "sweeps", multiple=True, metavar="NAME", help="Name or id of a sweep. Repeatable.")
@_out
@as_json
def table_9(sweeps: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Print Table 9 (ablations) from sweeps of any base experiment.

    Without --sweep, it uses all sweeps of the store whose field `reproduces` names Table 9.
    """
    from side4video.reports.stored_sweep import read_sweep, stored_rows
    from side4video.reports.table_9 import NOTE, TITLE, table_9_rows
    from side4video.tracking.stores import store_at

    store = store_at().prepare()
    names = sweeps or _sweeps_for_table(store, "Table 9")
    if not names:
        raise InputError("--sweep", "none is named, and no sweep here reproduces Table 9", fix="name one: --sweep NAME")
    read = [read_sweep(store, name) for name in names]
    first = read[0][0].spec
    for sweep, _ in read:
        if sweep.spec.metric != first.metric:
            found = f"{sweep.spec.name} is compared by {sweep.spec.metric}, {first.name} by {first.metric}"
            raise InputError("--sweep", found, allowed="sweeps of one metric", fix="name one of them")
    measured = [(sweep, stored_rows(sweep, record)) for sweep, record in read]
    rows = table_9_rows([(sweep, rows) for sweep, (rows, _) in measured])
    notes = [NOTE, *(sentence for _, (_, sentences) in measured for sentence in sentences)]
    notes.append(f"Ours: {', '.join(f'{sweep.spec.name} ({sweep.source})' for sweep, _ in read)}.")
    records = {sweep.spec.name: record for sweep, record in read}
    _show(rows, TITLE, (first.metric, first.mode), notes, out=out, as_json=as_json, records=records)


def _figure_1(store: Any) -> "list[ReportFigure]":
    """The paper's Figure 1; nothing, with a message, if the experiment files are not here."""
    from side4video.reports.figures.memory import files_of_table_2, memory_figure, memory_rows
    from side4video.spec.presets import experiments_folder
    from side4video.terminal.progress import ProgressView

    try:
        files = files_of_table_2(experiments_folder())
    except InputError as error:
        print_text(f"The page is without the figure of memory: {error}", err=True)
        return []
    with ProgressView("report") as view:
        return [memory_figure(memory_rows(files, store, progress=view))]


@report.command("run", short_help="Write the page of a run.", epilog=example("report run quickstart --out report"))
@click.argument("run")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for the page.",
)
def run_page_command(run: str, out: Path) -> None:
    """Write the HTML page of RUN: values beside chance, curves, memory, what is confused, clips right and wrong.

    RUN is an id, the start of an id, or a name.
    """
    from side4video.core.files import write_atomically
    from side4video.core.temporary import temporary_folder
    from side4video.reports.run_page import run_page
    from side4video.runs.stored_run import find_finished
    from side4video.terminal.options import made_folder
    from side4video.tracking.stores import store_at

    store = store_at().prepare()
    with temporary_folder() as scratch:
        found = find_finished(store, run, scratch)
        file = made_folder(out) / f"{found.name}-{found.run_id[:8]}.html"
        write_atomically(file, run_page(store, store.get(found.run_id), found.spec))
    print_text(f"written: {file}")


@report.command(
    "sweep", short_help="Print the report of a sweep.", epilog=example("report sweep quickstart-sweep --out report")
)
@click.argument("name")
@_out
@_no_figures
@as_json
def sweep_again(name: str, out: Path | None, no_figures: bool, as_json: bool) -> None:
    """Print the report of the sweep NAME again. NAME is its name, or the id of its run.

    The HTML page also shows learning curves and, for the best arm, the confusion matrix, the gain of each class over
    the reference, and the time of a step.
    """
    from side4video.reports.stored_sweep import read_sweep, stored_rows
    from side4video.tracking.stores import store_at

    sweep, sweep_logger = read_sweep(store_at().prepare(), name)
    rows, notes = stored_rows(sweep, sweep_logger)
    spec = sweep.spec
    title = f"{spec.name}: {spec.reproduces}" if spec.reproduces else spec.name
    figures: list[ReportFigure] = []
    if out and not no_figures:
        from side4video.reports.figures.sweep import sweep_figures

        figures = sweep_figures(sweep_logger, rows, metric=spec.metric, mode=spec.mode, name=spec.name)
    records = {spec.name: sweep_logger}
    _show(rows, title, (spec.metric, spec.mode), notes, out=out, as_json=as_json, figures=figures, records=records)


def _sweeps_for_table(store: Any, table: str) -> tuple[str, ...]:
    from side4video.tracking.tags import RUN_KIND_TAG, SWEEP_KIND

    runs = store.runs(tags={RUN_KIND_TAG: SWEEP_KIND}, all_experiments=True)
    named = {run.name: run.run_id for run in reversed(runs) if run.params.get("sweep.reproduces", "").startswith(table)}
    return tuple(named.values())


def _show(
    rows: "list[ArmResult]",
    title: str,
    compared: "tuple[str, Mode]",
    notes: list[str],
    *,
    out: Path | None,
    as_json: bool,
    figures: "Sequence[ReportFigure]" = (),
    records: "Mapping[str, SweepLogger]",
) -> None:
    """Print a comparison of arms, and write it to `out`; `records` are the sweeps that they are of, by name."""
    from side4video.reports.columns import as_rich
    from side4video.reports.comparison import as_csv, as_values, compare_rows, explanation
    from side4video.reports.tables import write_comparison
    from side4video.terminal.options import table_console

    metric, mode = compared
    table = compare_rows(rows, metric=metric, mode=mode)
    files: list[Path] = []
    if out:
        from side4video.reports.figures.sweep import sweep_source

        source = " ".join(sweep_source(record, name) for name, record in records.items())
        files = write_comparison(
            out, rows, title=title, metric=metric, mode=mode, notes=notes, figures=figures, source=source
        )
    if as_json:
        lines = [as_values(line) for line in csv_rows(as_csv(table))]
        document = {"title": title, "metric": metric, "rows": lines, "notes": notes, "files": list(map(str, files))}
        print_json(document)
        return
    console = table_console()
    console.print(title, style="bold", highlight=False)
    console.print(as_rich(table, width=min(console.width, 160)))
    _print_notes([*notes, *explanation(table)], files)


def _print_notes(notes: "list[str] | tuple[str, ...]", files: list[Path]) -> None:
    from side4video.terminal.options import table_console

    console = table_console()
    for note in notes:
        console.print(note, style="dim", highlight=False)
    for file in files:
        console.print(f"written: {file}", highlight=False, soft_wrap=True)
