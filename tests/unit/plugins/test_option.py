"""`--plugin` is an option of each command that reads documents."""

import click
import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.main import COMMANDS, READS_NO_DOCUMENTS, cli
from tiny import DOCUMENT, merged


def leaves(command):
    return (
        [leaf for each in command.commands.values() for leaf in leaves(each)]
        if isinstance(command, click.Group)
        else [command]
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_who_has_it(name):
    context = click.Context(cli)
    for _ in range(2):  # asked for twice, it is there once
        commands = leaves(cli.get_command(context, name))
        counts = [sum("--plugin" in each.opts for each in command.params) for command in commands]
        assert set(counts) == {0 if name in READS_NO_DOCUMENTS else 1}


def test_a_command_uses_what_it_allows(plugin, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(merged(DOCUMENT, {"plugins": [str(plugin)], "method": {"kind": "max-probe"}})))
    refused = CliRunner().invoke(cli, ["validate", str(file)])
    assert (refused.exit_code, "is not allowed here" in refused.output) == (2, True)
    allowed = CliRunner().invoke(cli, ["validate", str(file), "--plugin", str(plugin)])
    assert allowed.exit_code == 0, allowed.output
