"""The documents' JSON Schema, for editors."""

from typing import Any

from side4video.spec.experiment import Experiment


def experiment_schema() -> dict[str, Any]:
    """JSON Schema of an experiment, with every field's description; name it in a YAML file's first line:
    `# yaml-language-server: $schema=experiment.schema.json`.
    """  # noqa: D205 - the example belongs to the summary
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Experiment.model_json_schema()}
