"""`side4video demo`: train the quickstart's side network and a linear probe on one pass of the frozen backbone."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from side4video.cli.run import results_table
from side4video.core.files import write_atomically
from side4video.spec.presets import preset_file
from side4video.terminal.options import as_json, example, made_folder, overrides, ray_address, table_console

if TYPE_CHECKING:
    from side4video.runs.run_result import RunResult
    from side4video.spec.experiment import Experiment

QUICKSTART = "quickstart"
PAGE = "index.html"


@click.command(short_help="Train and compare two small models on generated clips.", epilog=example("demo"))
@overrides
@as_json
@ray_address
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help=f"Folder for the page {PAGE}.",
)
def demo(overrides: tuple[str, ...], as_json: bool, address: str, out: Path) -> None:
    """Train a side network and a linear probe on generated clips, and compare them.

    It uses Ray with two workers, and records both runs in MLflow. The page shows test clips with the answers of both
    models. It opens without a network. The settings are those of the preset `quickstart`.
    """
    from side4video.distributed.trainer import launch_on_ray
    from side4video.spec.load import load_experiment
    from side4video.terminal.progress import ProgressView

    file = preset_file(QUICKSTART)
    experiments = {
        "side-network": load_experiment(file, [*overrides, "name=quickstart"]),
        "linear-probe": load_experiment(file, [*overrides, "name=linear-probe", "method={kind: linear}"]),
    }
    with ProgressView("demo") as view:
        finished = launch_on_ray(experiments, progress=view, address=address)
        view.report("writing the page")
        page = _write_page(made_folder(out) / PAGE, experiments["side-network"], finished, view.seconds)
    if as_json:
        click.echo(json.dumps([each.as_json() for each in finished.values()], indent=2))
        return
    console = table_console()
    console.print("\nTwo models on one frozen backbone. The classes differ only in the order of the frames:\n")
    console.print(results_table(list(finished.values())))
    console.print("held: memory that a training step keeps for its backward pass", style="dim")
    console.print(f"\nOpen this page in a browser: {page}\n\nNext:", highlight=False, markup=False, soft_wrap=True)
    steps = _next_steps(finished["side-network"].run_id)
    width = max(len(command) for command, _ in steps)
    for command, purpose in steps:
        console.print(f"  {command:{width}}  {purpose}", highlight=False, markup=False, soft_wrap=True)


def _write_page(
    path: Path, spec: "Experiment", finished: "Mapping[str, RunResult]", seconds: Mapping[str, float]
) -> Path:
    from side4video.reports.demo import demo_page
    from side4video.tracking.stores import store_at

    store = store_at().prepare()
    page = demo_page(
        store,
        {name.replace("-", " "): store.get(result.run_id) for name, result in finished.items()},
        spec.data.dataset,
        next_steps=_next_steps(finished["side-network"].run_id),
        seconds=seconds,
    )
    write_atomically(path, page)
    return path.resolve()


def _next_steps(run_id: str) -> list[tuple[str, str]]:
    command = "side4video" if shutil.which("side4video") else ".venv/bin/side4video"
    return [
        (f"{command} ui --open", "look at both runs in MLflow"),
        (f"{command} evaluate {run_id[:8]} --set data.views.clips=3", "evaluate the side network with three views"),
        (f"{command} plan ssv2/vitb16", "estimate the memory of the paper's ViT-B/16 run"),
        (f"{command} run {QUICKSTART} --set seed=1", "train again with another seed"),
        (f"{command} sweep quickstart-sweep", "train an ablation: nine variants on one backbone pass"),
    ]
