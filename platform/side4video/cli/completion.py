"""`side4video completion`: shell completion of commands, options and files."""

import click
from click.shell_completion import get_completion_class

from side4video.terminal.options import example

PROGRAM = "side4video"
COMPLETION_VARIABLE = "_SIDE4VIDEO_COMPLETE"


@click.command(
    short_help="Print the completion script of a shell.",
    epilog=example("completion bash > ~/.local/share/bash-completion/completions/side4video"),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and files in SHELL.

    \b
    Activate it in the current shell:
      bash, zsh   eval "$(side4video completion bash)"
      fish        side4video completion fish | source
    """  # noqa: D301 - click reads \b as "keep these lines"
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - the choices are those of click
    click.echo(found(context.find_root().command, {}, PROGRAM, COMPLETION_VARIABLE).source())
