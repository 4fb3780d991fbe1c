"""`side4video init`: from videos to an experiment file that can be run."""

from typing import TYPE_CHECKING, Any

import click

from side4video.terminal.options import as_json, example, overrides
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from side4video.apps.init.writing import NewExperiment


@click.command(
    short_help="Write an experiment file for your videos.",
    epilog=example("init my-clips", "init labels.csv -o my.yaml", "init kinetics:/data/k400 --set data.frames=16"),
)
@click.argument("source", type=click.Path())
@click.option(
    "--task",
    type=click.Choice(["recognition", "retrieval"]),
    default=None,
    help="What to train. Default: recognition if there are labels, else retrieval.",
)
@click.option("-o", "--out", type=click.Path(), default=None, help="File to write. Default: NAME.yaml, after SOURCE.")
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@overrides
@as_json
def init(source: str, task: Any, out: str | None, force: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Look at the videos of SOURCE and at this machine, and write an experiment file that `validate` accepts.

    SOURCE is a folder of videos, with one folder for each class or with a list; a list of paths with labels or captions
    (CSV, JSON, JSON Lines, text); or KIND:FOLDER with a kind of data set, such as msr-vtt:/data/msrvtt. A sample of the
    videos is opened, for a few seconds. If there is no test split, one is chosen.
    """
    from side4video.apps.init.writing import Request, init_experiment
    from side4video.terminal.progress import ProgressView

    with ProgressView() as progress:
        new = init_experiment(
            Request(source, task=task, out=out, force=force, overrides=overrides),
            progress=progress,
        )
    if as_json:
        print_json(new.as_json())
    else:
        _print(new)


def _print(new: "NewExperiment") -> None:
    for name, text in new.lines:
        print_text(f"{name:9} {text}")
    for note in new.notes:
        print_text(f"note: {note}")
    print_text("Next:")
    width = max(len(command) for command, _ in new.next_steps)
    for command, purpose in new.next_steps:
        print_text(f"  {command:{width}}  {purpose}")
