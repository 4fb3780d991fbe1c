"""The JSON Schemas in the package are those of the specs, and each experiment file names its own and fulfils it."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from side4video.cli import schema

ROOT = Path(__file__).resolve().parents[3]
STORED = ROOT / "platform/side4video/spec/schemas"
MARK = "# yaml-language-server: $schema="
FILES = sorted((ROOT / "experiments").rglob("*.yaml"))
SCHEMAS = {"experiment": schema.experiment_schema(), "sweep": schema.sweep_schema()}
VALIDATORS = {kind: jsonschema.Draft202012Validator(each) for kind, each in SCHEMAS.items()}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schemas_in_the_package_are_current(kind):
    assert json.loads((STORED / f"{kind}.schema.json").read_text()) == SCHEMAS[kind], "call: make reference"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_experiment_file_names_its_schema_and_fulfils_it(file):
    text = file.read_text()
    document = yaml.safe_load(text)
    kind = "sweep" if "base" in document else "experiment"
    first = text.splitlines()[0]
    assert first.startswith(MARK)
    assert (file.parent / first.removeprefix(MARK)).resolve() == (STORED / f"{kind}.schema.json").resolve()
    VALIDATORS[kind].validate(document)


def test_a_wrong_field_is_found_in_an_editor():
    document = yaml.safe_load((ROOT / "experiments/quickstart.yaml").read_text())
    document["method"]["widht"] = 3
    with pytest.raises(jsonschema.ValidationError):
        VALIDATORS["experiment"].validate(document)
