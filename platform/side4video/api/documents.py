"""Experiments and sweeps as callers give them: a document, a file, a preset, or a mapping."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from side4video.core.arguments import found_type
from side4video.core.errors import InputError
from side4video.spec.arm import Sweep, build_sweep, load_sweep
from side4video.spec.experiment import Experiment
from side4video.spec.load import (
    apply_override,
    parse_document,
    parse_experiment,
    read_text,
    read_yaml,
)
from side4video.spec.load import load_experiment as load_file
from side4video.spec.presets import spec_file
from side4video.spec.sweep import SweepSpec

Override = str | Mapping[str, Any]
"""`"method.dim=320"`, as for `--set`; or values by dotted path: `{"method.dim": 320}`."""
_OVERRIDES = 'texts such as "method.dim=320", or a mapping such as {"method.dim": 320}'
_DOCUMENTS = "a YAML file, the name of a preset, a document as a mapping, or one that was checked before"
SOURCE = "the document"
"""The place in errors about a document that no file has."""


def load_experiment(
    experiment: Experiment | Mapping[str, Any] | str | Path, overrides: Override | Sequence[Override] = ()
) -> Experiment:
    """Read and check an experiment.

    Args:
        experiment: A YAML (or resolved JSON) file, the name of a preset (`"quickstart"`), or a document as a mapping.
            An experiment that was checked before is returned with the changes.
        overrides: Changes, applied in their order before the check: `["method.dim=320", {"seed": 1}]`, or one of these
            alone.

    Raises:
        InputError: The file, an override or the document is wrong.
    """
    if isinstance(overrides, str | Mapping):
        overrides = (overrides,)
    if not isinstance(overrides, Sequence):
        raise InputError("overrides", found_type(overrides), allowed=_OVERRIDES, fix='overrides=["method.dim=320"]')
    return as_experiment(experiment, overrides)


def as_experiment(given: Experiment | Mapping[str, Any] | str | Path, overrides: Sequence[Override] = ()) -> Experiment:
    """An experiment with changes: a validated one, its document, a YAML file, or the name of a preset.

    Raises:
        InputError: The file, an override or the document is wrong.
    """
    texts = _as_texts(overrides)
    if isinstance(given, str | Path):
        return load_file(given, texts)
    if not isinstance(given, Experiment | Mapping):
        raise InputError("experiment", found_type(given), allowed=_DOCUMENTS, fix='write "quickstart"')
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
    if not isinstance(given, Mapping):
        raise InputError("sweep", found_type(given), allowed=_DOCUMENTS, fix='write "quickstart-sweep"')
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
            texts += [f"{_as_path(path)}={_as_yaml(path, value)}" for path, value in override.items()]
        else:
            raise InputError("overrides", found_type(override), allowed=_OVERRIDES, fix='write "method.dim=320"')
    return tuple(texts)


def _as_path(path: object) -> str:
    if isinstance(path, str):
        return path
    raise InputError(
        "overrides",
        f"a key of the type {type(path).__name__}",
        allowed="dotted paths of fields, as texts",
        fix='write {"method.dim": 320}',
    )


def _as_yaml(path: str, value: Any) -> str:
    try:
        return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000)
    except yaml.YAMLError:
        raise InputError(
            f"overrides: {path}",
            f"a value of the type {type(value).__name__}",
            allowed="numbers, texts, booleans, None, and lists and mappings of these",
        ) from None
