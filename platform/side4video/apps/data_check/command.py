"""`side4video data check`: a spec's lists against the files, and a sample of the clips decoded."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from side4video.terminal.options import as_json, example, overrides, page_path, spec_file
from side4video.terminal.output import print_text

if TYPE_CHECKING:
    from side4video.apps.data_check.check import CheckResult
    from side4video.apps.data_check.report import DataReport
    from side4video.core.worker_pool import WorkerPool
    from side4video.data.spec import DataSpec
    from side4video.terminal.progress import ProgressView

MAX_PROBLEMS = 10
"""Problems of a kind that are named; the others are counted."""


@click.command(
    short_help="Check a data set: its lists, its files, and a sample of clips.",
    epilog=example("data check my-experiment.yaml --html check.html"),
)
@spec_file
@overrides
@click.option("--sample", type=click.IntRange(min=0), default=100, show_default=True, help="Number of clips to decode.")
@click.option("--all", "decodes_all", is_flag=True, help="Decode every clip.")
@click.option("--html", type=click.Path(), default=None, help="Also write a page with charts and frames to this file.")
@as_json
def check(
    spec: str, overrides: tuple[str, ...], sample: int, decodes_all: bool, html: str | None, as_json: bool
) -> None:
    """Compare the lists of SPEC's data set with its files, and decode a sample of the clips.

    The check looks for missing files and for videos that are in both the training and the test split. It uses all
    cores. An interrupted check continues where it stopped, and files that did not change are not checked again. The
    exit code is 1 if something is wrong.
    """
    from side4video.apps.data_check.check import check_dataset
    from side4video.apps.data_check.listing import list_clips
    from side4video.apps.data_check.report import make_report
    from side4video.apps.data_check.saved import SavedResults, saved_results_path
    from side4video.core.worker_pool import WorkerPool
    from side4video.spec.load import load_experiment
    from side4video.terminal.progress import ProgressView

    experiment = load_experiment(spec, overrides)
    page, data = page_path(html), experiment.data
    with ProgressView(unit="videos") as progress, WorkerPool() as pool:
        progress.report("reading the lists")
        listing = list_clips(data.dataset)
        with SavedResults(saved_results_path(data, [clip for _, clip in listing.clips()]), data) as saved:
            checked = check_dataset(
                data, listing, sample=None if decodes_all else sample, pool=pool, saved=saved, progress=progress
            )
        report = make_report(experiment.name, data.dataset.kind, checked, frames=data.frames, notes=saved.notes)
        if page:
            _write_page(page, report, checked, (data, pool, progress))
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)
    if page:
        print_text(f"written: {page}", err=as_json)
    if not report.is_clean:
        sys.exit(1)


def _write_page(
    path: Path, report: "DataReport", checked: "CheckResult", tools: "tuple[DataSpec, WorkerPool, ProgressView]"
) -> None:
    from side4video.apps.data_check.check import make_thumbnails
    from side4video.apps.data_check.listing import clip_key
    from side4video.apps.data_check.page import MAX_THUMBNAILS, Thumbnail, report_page
    from side4video.core.files import write_atomically
    from side4video.core.text import format_length
    from side4video.data.storage import common_root, relative_path

    data, pool, progress = tools
    shown = [clip for clip in checked.sample if not checked.facts[clip_key(clip)].broken][:MAX_THUMBNAILS]
    jpegs = make_thumbnails(shown, data, pool=pool, progress=progress)
    root = common_root([clip.path for _, clip in checked.listing.clips()])
    thumbnails = []
    for clip in shown:
        facts = checked.facts[clip_key(clip)]
        own = [clip.label] if clip.label is not None else clip.labels or ()
        what = ", ".join(checked.listing.classes[label] for label in own) or next(iter(clip.captions), "")
        length = f"{facts.frames} frames" + (f", {format_length(facts.seconds)}" if facts.seconds is not None else "")
        if jpeg := jpegs.get(clip_key(clip)):
            caption = " · ".join(each for each in (what, length, f"{facts.width} x {facts.height}") if each)
            thumbnails.append(Thumbnail(relative_path(clip.path, root), caption, jpeg))
    write_atomically(path, report_page(report, thumbnails))


def _print(report: "DataReport") -> None:
    from rich.table import Table
    from rich.text import Text

    from side4video.apps.data_check.findings import KINDS
    from side4video.apps.data_check.page import count_rows, kind_text, verdict_of
    from side4video.core.text import printable
    from side4video.terminal.options import table_console

    classes = f" · {len(report.classes)} classes" if report.classes else ""
    print_text(f"data set     {report.dataset}{classes}")
    print_text(f"fingerprint  {report.fingerprint or 'none: the data set would stop a run'}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for split in report.splits:
        table.add_column(split, justify="right", no_wrap=True)
    for name, cells in count_rows(report):
        table.add_row(Text(name), *cells)
    table_console().print(table)
    for kind in KINDS:
        found = report.of_kind(kind)
        for each in found[:MAX_PROBLEMS]:
            where = " · ".join(part for part in (each.split, each.origin, each.path) if part)
            print_text(printable(f"{kind_text(kind)}: {where}: {each.reason}"))
        if len(found) > MAX_PROBLEMS:
            print_text(f"{kind_text(kind)}: and {len(found) - MAX_PROBLEMS} more")
    for note in report.notes:
        print_text(f"note: {printable(note)}")
    print_text(verdict_of(report))
