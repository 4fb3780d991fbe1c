"""Names in the registry, and exact requirements of what is logged."""

import re
from importlib import metadata

import pytest

from side4video.core.errors import InputError
from side4video.tracking.mlflow.registry import PACKAGES, check_model_name, requirements


@pytest.mark.parametrize("name", ["kinetics", "K400 best", "a-b_c"])
def test_names_that_the_registry_takes(name):
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    ("name", "fix"), [("", "my-model"), ("a/b", "a-b"), ("x:1", "x-1"), ("50%", "50"), ('"', "my-model")]
)
def test_names_that_it_does_not_take_come_with_a_fix(name, fix):
    with pytest.raises(InputError, match=rf"^--name: .* · fix: --name {re.escape(fix)}$"):
        check_model_name(name)


def test_each_requirement_is_the_version_that_is_installed_here(monkeypatch):
    found = dict(line.split("==") for line in requirements())
    assert {"torch", "numpy", "pydantic", "safetensors"} <= found.keys() <= set(PACKAGES)
    assert all(metadata.version(name).startswith(version) for name, version in found.items())
    monkeypatch.setattr(metadata, "version", lambda name: "2.11.0+cpu")
    assert "torch==2.11.0" in requirements()
