"""`side4video schema`: the document's JSON Schema."""

import json

import click

from side4video.spec.schema import experiment_schema, sweep_schema


@click.command()
@click.argument("what", type=click.Choice(["experiment", "sweep"]), default="experiment")
def schema(what: str) -> None:
    """Print the JSON Schema of an experiment or a sweep, for editors that complete and check YAML."""
    click.echo(json.dumps(experiment_schema() if what == "experiment" else sweep_schema(), indent=2))
