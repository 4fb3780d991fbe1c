"""`side4video demo`: train the quickstart's side network and a linear probe on one pass of the frozen backbone."""

import json
from pathlib import Path

import click

from side4video.cli.run import results_table
from side4video.core.errors import InputError
from side4video.distributed.trainer import launch_on_ray
from side4video.spec.load import load_experiment
from side4video.terminal.options import as_json, example, ray_address, table_console
from side4video.terminal.progress import ProgressView

QUICKSTART = "experiments/quickstart.yaml"


@click.command(short_help="Train and compare two small models on generated clips.", epilog=example("demo"))
@as_json
@ray_address
def demo(as_json: bool, address: str) -> None:
    """Train a side network and a linear probe on generated clips, and compare them."""
    file = _quickstart()
    experiments = {
        "side-network": load_experiment(file, ["name=quickstart"]),
        "linear-probe": load_experiment(file, ["name=linear-probe", "method={kind: linear}"]),
    }
    with ProgressView("demo") as view:
        finished = list(launch_on_ray(experiments, progress=view, address=address).values())
    if as_json:
        click.echo(json.dumps([each.as_json() for each in finished], indent=2))
        return
    console = table_console()
    console.print(
        "\nTwo students of one frozen backbone, on clips whose classes only the order of frames tells apart:\n"
    )
    console.print(results_table(finished))
    console.print("held: bytes that a training step keeps for its backward pass", style="dim")
    side = finished[0].run_id[:8]
    console.print(
        "\nBoth are in MLflow, side by side. Next:\n"
        "  .venv/bin/side4video ui                                     the runs in a browser, on this machine only\n"
        f"  .venv/bin/side4video evaluate {side} --set data.views.clips=3   the side network again, with three views\n"
        f"  .venv/bin/side4video plan experiments/ssv2/vitb16.yaml        what the paper's ViT-B/16 run takes\n"
        f"  .venv/bin/side4video run {QUICKSTART} --set seed=1     the same with another seed\n"
        "  make demo-sweep                                             an ablation: nine arms and more on one pass",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _quickstart() -> Path:
    for folder in (Path.cwd(), Path(__file__).resolve().parents[3]):
        if (folder / QUICKSTART).is_file():
            return folder / QUICKSTART
    raise InputError(QUICKSTART, "no such file here", fix="call the demo in a checkout of the project: make demo")
