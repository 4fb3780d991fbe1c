"""`side4video import`: a checkpoint of another system, as a folder that every command takes."""

import json
import re
import shlex
from pathlib import Path

import click

from side4video.apps.imports.formats import FORMATS
from side4video.core.units import format_bytes
from side4video.terminal.options import as_json, example, overrides
from side4video.terminal.output import print_text

_NAMES = [form.name for form in FORMATS]


@click.command(
    name="import",
    short_help="Import a checkpoint of another system.",
    epilog="\b\nFormats:\n"
    + "\n".join(f"  {form.name:26}{form.title}" for form in FORMATS)
    + "\n\n"
    + example(
        "import side4video k400_b16.pt model --classes kinetics.txt",
        "import evl evl.pth model --classes kinetics.txt --tower ViT-B-16-quickgelu/openai",
    ),
)
@click.argument("form", metavar="FORMAT", type=click.Choice(_NAMES))
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--classes",
    type=click.Path(path_type=Path),
    default=None,
    help="Names of the classes, in the order of the classifier: one in a line, CSV with a header id,name, or JSON.",
)
@click.option(
    "--data",
    default="",
    metavar="SPEC",
    help="Experiment file or preset whose data the model is to be evaluated on. Its classes name those of the file, or "
    "the classifier is put into their order if --classes names them.",
)
@click.option(
    "--tower",
    default="",
    metavar="FILE|MODEL/TAG",
    help="The frozen tower, where the checkpoint has none or not all of it: a file of CLIP's weights, or weights of "
    "open_clip.",
)
@click.option("--name", default="", help="Name of the model. Default: that of the folder.")
@overrides
@as_json
def import_checkpoint(
    *,
    form: str,
    file: Path,
    folder: Path,
    classes: Path | None,
    data: str,
    tower: str,
    name: str,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the model of FILE, a checkpoint of another system, into FOLDER.

    The folder is like one of `side4video export`: predict, search, serve, attention and evaluate take it, and
    `side4video.load`. Sizes are read off the tensors. Each tensor of the file is used, or the command says why not.
    Nothing in the file is executed.
    """
    from side4video.apps.imports.imported import ImportOptions
    from side4video.apps.imports.imported import import_checkpoint as imported
    from side4video.core.whole_folder import check_new, hold_folder

    check_new(folder)
    chosen = next(each for each in FORMATS if each.name == form)
    named = name or re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("._-")[:80] or "imported"
    options = ImportOptions(tower=tower, classes=classes, data=data, name=named, overrides=overrides)
    with hold_folder(folder):
        check_new(folder)  # another process may have written it since
        made = imported(file, chosen, folder, options)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if as_json:
        document = {"folder": str(folder), "format": form, "bytes": size, "origin": dict(made.bundle.origin)}
        document |= {"tensors": made.used, "left_out": made.left_out, "made_up": made.made_up}
        click.echo(json.dumps({**document, "assumed": made.assumed, "classes": len(made.bundle.classes)}, indent=2))
        return
    number = f"{len(made.bundle.classes)} classes, " if made.bundle.classes else ""
    print_text(f"{folder}: {chosen.title}, {number}{made.used} tensors, {format_bytes(size)}")
    for each in made.left_out:
        print_text(f"left out: {each}")
    if made.made_up:
        print_text(f"made up, and not used: {', '.join(made.made_up)} of the tower")
    for each in made.assumed:
        print_text(f"assumed, for the file does not say: {each}; --set changes it")
    command, asked = ("predict", "VIDEO...") if made.bundle.classes else ("search", "TEXT FOLDER")
    print_text(f"ask it: side4video {command} {shlex.quote(str(folder))} {asked}")
