"""`side4video search`: the videos of a folder that a text describes, by a finished retrieval run."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.terminal.options import as_json, example, page_path, store_uri, stored_weights, video_seconds
from side4video.terminal.output import print_text

if TYPE_CHECKING:
    from side4video.inference.ranking import Match
    from side4video.inference.retrieval import RetrievalModel, TextQuery
    from side4video.inference.video_folder import VideoFile
    from side4video.inference.video_index import FolderIndex
    from side4video.spec.experiment import Experiment
    from side4video.terminal.progress import ProgressView

MAX_BROKEN = 20
"""Broken videos that are named; the others are counted."""


@click.command(
    short_help="Rank the videos of a folder by their similarity to a text.",
    epilog=example("search quickstart-retrieval 'a red disc moves to the right' videos"),
)
@click.argument("run")
@click.argument("text")
@click.argument("folder", type=click.Path())
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, help="Largest number of videos to print."
)
@as_json
@click.option(
    "--html", type=click.Path(), default=None, help="Also write a page with frames of the videos to this file."
)
@click.option(
    "--index",
    type=click.Path(),
    default=None,
    help="Cache of video features: a folder, or a file NAME.safetensors.  [default: $SIDE4VIDEO_HOME/search]",
)
@click.option(
    "--descriptions",
    default="",
    metavar="FILE",
    help="Of a method that reads sentences about videos: the JSON file with those of the videos of FOLDER.",
)
@store_uri
@stored_weights
@video_seconds
def search(
    run: str,
    text: str,
    folder: str,
    top: int,
    as_json: bool,
    html: str | None,
    index: str | None,
    descriptions: str,
    uri: str,
    weights: str,
    video_seconds: float,
) -> None:
    """Rank the videos of FOLDER and its subfolders by their similarity to TEXT.

    RUN is a finished retrieval run: its id, the start of its id, or its name; or a folder that `side4video export`
    wrote. The features of each video are cached in --index, so the next search decodes only new and changed files.
    """
    from side4video.inference.video_folder import list_videos
    from side4video.terminal.progress import ProgressView

    _check_text(text)
    place = Path(folder)
    files, locked = list_videos(place)
    page = page_path(html)
    with ProgressView(unit="videos") as progress:
        searched, encoder = _load(run, (uri, weights, descriptions), progress)
        query = encoder.read(text)
        videos, notes = _refresh(encoder, searched, (place, files), (index, weights, video_seconds), progress)
        matches = _rank(encoder, query, videos, place, top)
        if page:
            progress.report("fetching frames for the page")
            _write_page(page, encoder, query, matches, (text, place, _title(searched, videos)))
    if query.is_cut:
        progress.note(
            f"the text is longer than the {encoder.words} tokens that the run reads (task.words); its end is cut"
        )
    for note in [*notes, *(f"the folder {name} cannot be looked into" for name in locked)]:
        progress.note(note)
    _print_broken(videos, place)
    if as_json:
        click.echo(json.dumps([_as_json(place, each) for each in matches], indent=2))
    else:
        _print(matches, place)
    if page:
        print_text(f"written: {page}", err=as_json)


def _check_text(text: str) -> None:
    if not text.strip():
        raise InputError("TEXT", "is empty", fix='give a text to search for, such as "a dog catches a ball"')
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError("TEXT", f"{text!r} is not UTF-8", allowed="UTF-8 text") from None


@dataclass(frozen=True)
class _Searched:
    """The model that searches."""

    identity: str
    """The run's id; of an exported folder the checksum of its weights."""
    title: str


def _load(model: str, options: tuple[str, str, str], progress: "ProgressView") -> "tuple[_Searched, RetrievalModel]":
    from side4video.runs.stored_run import fetch_weights, find_finished

    uri, weights, sentences = options
    progress.report("loading the run")
    import torch

    from side4video.inference.bundled_weights import arguments_of, origin_of
    from side4video.inference.retrieval import RetrievalModel
    from side4video.spec.bundle import WEIGHTS, check_run_exists, is_folder_name, read_bundle

    def device(spec: "Experiment") -> str:
        return "cuda" if spec.cluster.gpus_per_worker and torch.cuda.is_available() else "cpu"

    if (folder := Path(model)).is_dir() and is_folder_name(model):
        bundle, spec = read_bundle(folder)
        _check_task(str(folder), spec)
        searched = _Searched(bundle.checksums[WEIGHTS], origin_of(bundle))
        spec = _with_sentences(spec, sentences)
        return searched, RetrievalModel(**arguments_of(folder, bundle, spec), device=device(spec))
    from side4video.tracking.stores import store_at

    store = store_at(uri).prepare()
    check_run_exists(store, model)
    with temporary_folder() as scratch:
        finished = find_finished(store, model, scratch)
        _check_task(finished.where, finished.spec)
        file = fetch_weights(store, finished, scratch, weights)
        searched = _Searched(finished.run_id, f"run {finished.name} ({finished.run_id[:8]}), {weights} weights")
        spec = _with_sentences(finished.spec, sentences)
        return searched, RetrievalModel(spec, file, device(spec))


def _with_sentences(spec: "Experiment", file: str) -> "Experiment":
    """The document with the sentences of the searched videos.

    Raises:
        InputError: Its method reads sentences and none are given, or it reads none.
    """
    from side4video.data.descriptions import DescriptionsSpec

    if bool(file) == bool(spec.method.descriptions):
        if not file:
            return spec
        described = DescriptionsSpec(file=file)
        described.sentences()
        return spec.model_copy(update={"data": spec.data.model_copy(update={"descriptions": described})})
    if file:
        found = f"given, and the method {spec.method.kind} reads no sentences"
        raise InputError("--descriptions", found, allowed="with methods that read them (cap4video)", fix="leave it out")
    raise InputError(
        "--descriptions",
        f"not given, and the method {spec.method.kind} reads sentences about each video",
        allowed='a JSON file: {"NAME OF A VIDEO WITHOUT ENDING": ["a man cuts a tomato", ...], ...}',
        fix="--descriptions FILE",
    )


def _check_task(where: str, spec: "Experiment") -> None:
    if spec.task.kind != "retrieval":
        raise InputError(where, f"its task is {spec.task.kind}", allowed="retrieval", fix="name a retrieval run")


def _refresh(
    encoder: "RetrievalModel",
    searched: _Searched,
    videos: "tuple[Path, list[VideoFile]]",
    kept: tuple[str | None, str, float],
    progress: "ProgressView",
) -> "tuple[FolderIndex, list[str]]":
    """The index of the folder, and what there is to say of it."""
    from side4video.data.streams.timed_prefetch import timed_prefetcher
    from side4video.inference.video_index import IndexFile, index_path, refresh

    (folder, files), (option, weights, limit_seconds) = videos, kept
    place = index_path(option, run_id=searched.identity, weights=weights, folder=folder)
    about = {"run": searched.identity, "which": weights, "folder": str(folder.resolve()), **encoder.identity()}
    file = IndexFile(place, about)
    prefetch = timed_prefetcher(limit_seconds)
    index = refresh(file, files, lambda missing: encoder.embed_videos(folder, missing, prefetch=prefetch), progress)
    return index, file.notes


def _rank(encoder: "RetrievalModel", query: "TextQuery", index: "FolderIndex", folder: Path, top: int) -> "list[Match]":
    from side4video.inference.ranking import rank_videos

    if not index.entries:
        first = index.broken[0]
        raise InputError(
            str(folder),
            f"none of its {len(index.broken)} videos can be read; {first.file.name}: {first.reason}",
            fix="check the files",
        )
    return rank_videos(encoder.matching, query.kept, index, top=top, process=encoder.process)


def _title(searched: _Searched, index: "FolderIndex") -> str:
    broken = f"; {len(index.broken)} could not be read" if index.broken else ""
    return f"{len(index.entries)} videos compared{broken} · {searched.title}"


def _write_page(
    path: Path, encoder: "RetrievalModel", query: "TextQuery", matches: "list[Match]", about: tuple[str, Path, str]
) -> None:
    from side4video.core.files import write_atomically
    from side4video.reports.render import render

    text, folder, title = about
    video_frames: dict[VideoFile, Any] = dict(
        encoder.video_frames(folder, [each.entry.file for each in matches], query)
    )
    found = []
    for each in matches:
        seen = video_frames.get(each.entry.file)
        frames_THWC = None if seen is None else seen.frames_TCHW.permute(0, 2, 3, 1).numpy()
        similarities = () if seen is None else seen.similarities_T.tolist()
        found.append(
            {
                "rank": each.rank,
                "score": each.score,
                "path": _path(folder, each),
                "seconds": each.entry.seconds,
                "frames_THWC": frames_THWC,
                "similarities_T": similarities,
            }
        )
    write_atomically(path, render("search.html.j2", title=text, matches=found, notes=[title]))


def _as_json(folder: Path, match: "Match") -> dict[str, Any]:
    score = match.score if math.isfinite(match.score) else None
    return {"rank": match.rank, "score": score, "path": _path(folder, match)}


def _path(folder: Path, match: "Match") -> str:
    return str(folder / match.entry.file.name)


def _print(matches: "list[Match]", folder: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from side4video.core.text import format_length, printable
    from side4video.terminal.options import table_console

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("rank", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("path", overflow="fold")
    table.add_column("duration", justify="right", no_wrap=True)
    for each in matches:
        path = Text(printable(_path(folder, each)))
        table.add_row(str(each.rank), f"{each.score:.4f}", path, format_length(each.entry.seconds))
    table_console().print(table)


def _print_broken(index: "FolderIndex", folder: Path) -> None:
    from side4video.core.text import printable

    if not index.broken:
        return
    count = "1 video" if len(index.broken) == 1 else f"{len(index.broken)} videos"
    print_text(f"skipped {count} that could not be read:", err=True)
    for each in index.broken[:MAX_BROKEN]:
        print_text(f"  {printable(str(folder / each.file.name))}: {printable(each.reason)}", err=True)
    if len(index.broken) > MAX_BROKEN:
        print_text(f"  and {len(index.broken) - MAX_BROKEN} more", err=True)
