"""`side4video examples`: queries of a retrieval run and the videos that they found, good cases and bad by a rule."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.errors import InputError
from side4video.core.files import write_atomically
from side4video.core.temporary import temporary_folder
from side4video.terminal.options import as_json, example, made_folder, store_uri
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from side4video.apps.examples.queries import Example

NAME = "examples"
PREDICTIONS = "predictions.csv"
CAPTION = (
    "Numbers: rank and similarity. Own video: the one that the caption belongs to; ties count against it. Of each "
    "video some of the frames that the run sees, in order."
)


@click.command(
    short_help="Show which videos a retrieval run finds for some captions.",
    epilog=example("examples quickstart-retrieval --queries 8"),
)
@click.argument("run")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("examples"),
    show_default=True,
    help="Folder for the pictures and the page. Files of the same name are replaced.",
)
@click.option("--queries", type=click.IntRange(1, 50), default=6, show_default=True, help="Number of captions.")
@click.option(
    "--top", type=click.IntRange(1, 10), default=3, show_default=True, help="Number of videos for each caption."
)
@click.option(
    "--frames", type=click.IntRange(1, 8), default=3, show_default=True, help="Frames of each video in the picture."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for the order of captions with equal rank.",
)
@store_uri
@as_json
def examples(run: str, out: Path, queries: int, top: int, frames: int, seed: int, uri: str, as_json: bool) -> None:
    """Show the videos that RUN ranks first for some captions of its evaluation.

    RUN is a retrieval run: its id, the start of its id, or its name. Captions are taken at even steps from the best
    rank to the worst, so good and bad cases appear as often as they occur. The video of the caption is marked. The
    command writes examples.png, examples.pdf, examples.svg and examples.html.
    """
    from side4video.apps.examples.queries import choose_queries, read_queries, selection_rule
    from side4video.terminal.progress import ProgressView

    folder = made_folder(out)
    with ProgressView(unit="videos") as progress, temporary_folder() as scratch:
        progress.report("loading the run")
        finished, encoder, clips, text = _load(run, uri, scratch)
        stored = read_queries(text, where=f"{finished.where}: {PREDICTIONS}")
        chosen = choose_queries(stored, count=queries, seed=seed)
        from side4video.apps.examples.search import VideoGallery

        gallery = VideoGallery(encoder, clips, progress)
        progress.report("ranking")
        found = [gallery.find(query, top=top) for query in chosen]
    notes = [selection_rule(len(stored), count=queries, seed=seed)]
    moved = [each for each in found if each.own_rank != each.query.rank]
    if moved:
        ranks = ", ".join(f"{each.query.rank} then and {each.own_rank} now" for each in moved)
        notes.append(f"Ranks that differ from the stored ones: {ranks}: rounding, or videos that changed.")
    title = f"{finished.name} ({finished.run_id[:8]}): what captions find among {len(gallery.places)} videos"
    files = _write(folder, found, title, notes, videos=len(gallery.places), frames=frames)
    _print_result(found, files, notes, as_json=as_json)


def _load(run: str, uri: str, scratch: Path) -> tuple[Any, Any, Any, str]:
    """The run, its encoder with the weights of the stored predictions, its test clips, and its predictions' text."""
    import torch

    from side4video.data.annotations.fingerprint import short_fingerprint
    from side4video.inference.retrieval import RetrievalModel
    from side4video.runs.stored_run import fetch_weights, find_finished
    from side4video.tracking.chosen_weights import tested_weights
    from side4video.tracking.stores import store_at
    from side4video.tracking.tags import FINGERPRINT_TAG

    store = store_at(uri).prepare()
    finished = find_finished(store, run, scratch)
    task = finished.spec.task.kind
    if task != "retrieval":
        raise InputError(finished.where, f"its task is {task}", allowed="retrieval", fix="name a retrieval run")
    text = store.download(finished.source, PREDICTIONS, scratch).read_text(encoding="utf-8")
    data, dataset = finished.spec.data, finished.spec.data.listed
    dataset.prepare()
    recorded = store.get(finished.source).tags.get(FINGERPRINT_TAG, "")
    if recorded and data.fingerprint() != recorded:
        raise InputError(
            f"{finished.where}: data.dataset",
            f"its clips are not those of the run any more: fingerprint {short_fingerprint(data.fingerprint())}",
            allowed=f"{recorded[:12]}…, which the predictions are of",
            fix="bring the lists back, or run it again",
        )
    file = fetch_weights(store, finished, scratch, tested_weights(finished.metrics))
    device = "cuda" if finished.spec.cluster.gpus_per_worker and torch.cuda.is_available() else "cpu"
    return finished, RetrievalModel(finished.spec, file, device), dataset.clips("test"), text


def _write(
    folder: Path, found: "list[Example]", title: str, notes: list[str], *, videos: int, frames: int
) -> list[Path]:
    from side4video.apps.examples.figure import examples_figure
    from side4video.reports.figures.style import FORMATS, save_figure
    from side4video.reports.render import render

    caption = " ".join([*notes, CAPTION])
    figure = examples_figure(found, title=title, caption=caption, videos=videos, frames=frames)
    files = [save_figure(figure, folder / f"{NAME}.{kind}") for kind in FORMATS]
    page = folder / f"{NAME}.html"
    write_atomically(page, render("examples.html.j2", title=title, examples=found, notes=notes, videos=videos))
    return [*files, page]


def _print_result(found: "list[Example]", files: list[Path], notes: list[str], *, as_json: bool) -> None:
    if as_json:
        rows = [_as_json(each) for each in found]
        document = {"queries": rows, "notes": notes, "files": [str(file) for file in files]}
        print_json(document)
        return
    for each in found:
        print_text(f"rank {each.own_rank:>5}  {each.query.caption}")
    for note in notes:
        print_text(note)
    for file in files:
        print_text(f"written: {file}")


def _as_json(example: "Example") -> dict[str, Any]:
    videos = [
        {
            "rank": video.rank,
            "score": video.score if math.isfinite(video.score) else None,
            "video": video.name,
            "is_own": video.is_own,
        }
        for video in example.found
    ]
    query = example.query
    return {"caption": query.caption, "stored_rank": query.rank, "rank": example.own_rank, "found": videos}
