"""Experiments and sweeps as callers give them: a document, a file, a preset, or a mapping."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from side4video.core.errors import InputError
from side4video.spec.arm import Sweep, build_sweep, load_sweep
from side4video.spec.experiment import Experiment
from side4video.spec.load import (
    apply_override,
    load_experiment,
    parse_document,
    parse_experiment,
    read_text,
    read_yaml,
)
from side4video.spec.presets import spec_file
from side4video.spec.sweep import SweepSpec

Override = str | Mapping[str, Any]
"""`"method.dim=320"`, as for `--set`; or values by dotted path: `{"method.dim": 320}`."""
SOURCE = "the document"
"""The place in errors about a document that no file has."""


def as_experiment(given: Experiment | Mapping[str, Any] | str | Path, overrides: Sequence[Override] = ()) -> Experiment:
    """An experiment with changes: a validated one, its document, a YAML file, or the name of a preset.

    Raises:
        InputError: The file, an override or the document is wrong.
    """
    texts = _as_texts(overrides)
    if isinstance(given, str | Path):
        return load_experiment(given, texts)
    if isinstance(given, Experiment) and not texts:
        return given
    document = given.resolved() if isinstance(given, Experiment) else deepcopy(dict(given))
    for text in texts:
        apply_override(document, text)
    return parse_experiment(document, source=SOURCE)


def as_sweep(given: Sweep | Mapping[str, Any] | str | Path, overrides: Sequence[Override] = ()) -> Sweep:
    """A sweep with changes of its document: a validated one, its document, a YAML file, or the name of a preset.

    In a document, `base` is the document of an experiment, or a YAML file or the name of a preset.

    Raises:
        InputError: The file, an override or the document is wrong.
    """
    texts = _as_texts(overrides)
    if isinstance(given, str | Path):
        return load_sweep(given, texts)
    if isinstance(given, Sweep):
        if texts:
            raise InputError("overrides", "changes of a sweep that was validated before", fix="change its document")
        return given
    document = deepcopy(dict(given))
    if isinstance(document.get("base"), Experiment):
        document["base"] = document["base"].resolved()
    for text in texts:
        apply_override(document, text)
    spec = parse_document(SweepSpec, document, source=SOURCE)
    base = spec.base
    if isinstance(base, str):
        base = read_yaml(read_text(spec_file(base)), base)
    return build_sweep(spec, base, SOURCE)


def _as_texts(overrides: Sequence[Override]) -> tuple[str, ...]:
    """All changes as for `--set`, so that they mean the same and fail with the same words."""
    texts: list[str] = []
    for override in overrides:
        if isinstance(override, str):
            texts.append(override)
        elif isinstance(override, Mapping):
            texts += [f"{path}={_as_yaml(path, value)}" for path, value in override.items()]
        else:
            raise InputError(
                "overrides",
                f"a value of the type {type(override).__name__}",
                allowed='texts such as "method.dim=320", or a mapping such as {"method.dim": 320}',
            )
    return tuple(texts)


def _as_yaml(path: str, value: Any) -> str:
    try:
        return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000)
    except yaml.YAMLError:
        raise InputError(
            f"overrides: {path}",
            f"a value of the type {type(value).__name__}",
            allowed="numbers, texts, booleans, None, and lists and mappings of these",
        ) from None
