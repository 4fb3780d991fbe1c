"""The documents' JSON Schema, for editors."""

from typing import Any

from side4video.spec.experiment import Experiment
from side4video.spec.sweep import SweepSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema() -> dict[str, Any]:
    """JSON Schema of an experiment, with every field's description; name it in a YAML file's first line:
    `# yaml-language-server: $schema=experiment.schema.json`.
    """  # noqa: D205 - the example belongs to the summary
    return {"$schema": DIALECT, **Experiment.model_json_schema()}


def sweep_schema() -> dict[str, Any]:
    """JSON Schema of a sweep."""
    return {"$schema": DIALECT, **SweepSpec.model_json_schema()}
