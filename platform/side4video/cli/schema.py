"""`side4video schema`: the document's JSON Schema."""

import json

import click

from side4video.spec.schema import experiment_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of an experiment, for editors that complete and check YAML."""
    click.echo(json.dumps(experiment_schema(), indent=2))
