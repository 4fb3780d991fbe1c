"""Options of their own for the fields that people change most; `--set` changes any field."""

import functools
import json
from collections.abc import Callable
from typing import Any

import click

USUAL_FIELDS = (
    ("--name", "name={}", "TEXT", "Name of the experiment and its run."),
    ("--epochs", "optimization.length={{epochs: {}}}", "NUMBER", "Number of epochs."),
    ("--lr", "optimization.learning_rate={}", "NUMBER", "Learning rate, such as 5e-4."),
    ("--batch-size", "optimization.batch_size={}", "NUMBER", "Videos of one optimizer step, over all workers."),
    ("--seed", "seed={}", "NUMBER", "Seed of the model."),
    ("--frames", "data.frames={}", "NUMBER", "Frames of each clip."),
    ("--layers", "method.layers={}", "NUMBER", "Layers of the side network."),
    ("--dim", "method.dim={}", "NUMBER", "Channels of the side network."),
    ("--workers", "cluster.workers={}", "NUMBER", "Number of training processes."),
    ("--gpus", "cluster.gpus_per_worker={}", "NUMBER", "GPUs of each worker; 0 trains on the CPU."),
)
"""Option, override, kind of value, help."""


def usual_fields(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command with `--set`, which gets their values as overrides before its own."""

    @functools.wraps(command)
    def call(*arguments: Any, overrides: tuple[str, ...] = (), **options: Any) -> Any:
        given = [(form, kind, options.pop(_parameter(flag))) for flag, form, kind, _ in USUAL_FIELDS]
        own = tuple(form.format(_as_yaml(value, kind)) for form, kind, value in given if value is not None)
        return command(*arguments, overrides=(*own, *overrides), **options)

    for flag, form, kind, text in reversed(USUAL_FIELDS):
        path = form.partition("=")[0]
        call = click.option(
            flag, _parameter(flag), default=None, metavar=kind, help=f"{text} Short for --set {path}=..."
        )(call)
    return call


def words_for(option: str, *, in_sweep: bool) -> str:
    """What to write where a command has not this option but `--set`; empty if it is none of the usual ones."""
    form = next((form for flag, form, *_ in USUAL_FIELDS if flag == option), "")
    if not form:
        return ""
    start = "overrides." if in_sweep and option != "--name" else ""
    return f"--set '{start}{form.format('VALUE')}'"


def _as_yaml(value: str, kind: str) -> str:
    """A value as YAML. A text stays one, also if it looks like a number."""
    return json.dumps(value) if kind == "TEXT" else value


def _parameter(flag: str) -> str:
    return "usual_" + flag.removeprefix("--").replace("-", "_")
