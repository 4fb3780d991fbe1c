"""`side4video schema`: the JSON Schema of specs."""

import json
from typing import Any

import click

from side4video.terminal.options import example


@click.command(
    short_help="Print the JSON Schema of the YAML files, for editors.",
    epilog=example("schema sweep > sweep.schema.json"),
)
@click.argument("what", type=click.Choice(["experiment", "sweep"]), default="experiment")
def schema(what: str) -> None:
    """Print the JSON Schema of experiments or sweeps. Editors use it to complete and check YAML files."""
    click.echo(json.dumps(experiment_schema() if what == "experiment" else sweep_schema(), indent=2))


DIALECT = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema() -> dict[str, Any]:
    """JSON Schema of an experiment, with every field's description; name it in a YAML file's first line:
    `# yaml-language-server: $schema=experiment.schema.json`.
    """  # noqa: D205 - the example belongs to the summary
    from side4video.spec.experiment import Experiment

    return {"$schema": DIALECT, **Experiment.model_json_schema()}


def sweep_schema() -> dict[str, Any]:
    """JSON Schema of a sweep."""
    from side4video.spec.sweep import SweepSpec

    return {"$schema": DIALECT, **SweepSpec.model_json_schema()}
