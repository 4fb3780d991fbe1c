"""Shell completion of arguments that are a YAML file or the name of a preset."""

import click
from click.shell_completion import CompletionItem

from side4video.spec.presets import preset_names


def complete_spec(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """The presets whose names begin so; files, which the shell itself completes, if there are none."""
    names = [CompletionItem(name) for name in preset_names() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]
