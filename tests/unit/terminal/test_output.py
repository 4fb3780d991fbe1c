"""No text of a document, a folder or a video controls the terminal, however it is printed."""

import io
import json

import pytest
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from side4video.terminal.console import PlainConsole
from side4video.terminal.output import print_json, print_text
from side4video.terminal.progress import ProgressView
from side4video.terminal.sweep_view import ArmState, SweepView
from side4video.terminal.tables import fitted

EVIL = "a\x1b]0;title\u202eb\x9b[/]:smile:[bold]"
SHOWN = r"a\u001b]0;title\u202eb\u009b[/]:smile:[bold]"
CONTROLS = ("\x1b", "\u202e", "\x9b")


def one_of(name):
    table = Table(title=EVIL, box=None)
    table.add_column(EVIL, no_wrap=True)
    table.add_row(EVIL)
    table.add_row(Text(EVIL))
    return {"text": EVIL, "Text": Text(EVIL), "table": table, "fitted": fitted({EVIL: [EVIL]}, texts=[EVIL])}[name]


def printed(console_class, thing):
    console = console_class(file=io.StringIO(), width=200, color_system=None)
    console.print(thing, highlight=False)
    return console.file.getvalue()


@pytest.mark.parametrize("name", ["text", "Text", "table", "fitted"])
def test_what_is_printed_is_shown(name):
    text = printed(PlainConsole, one_of(name))
    assert SHOWN in text
    assert not any(control in text for control in CONTROLS)


def test_a_console_of_rich_is_noticed():
    """The broken twin."""
    assert any(control in printed(Console, Text(EVIL)) for control in CONTROLS)


def test_colours_are_still_colours():
    console = PlainConsole(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    console.print(Text("red", style="red"))
    assert console.file.getvalue().startswith("\x1b[31mred")


def test_lines_of_progress_and_of_a_sweep():
    for view in (ProgressView(EVIL), SweepView(EVIL, "eval/top1", mode="max", videos_per_step=1)):
        view.console = PlainConsole(file=io.StringIO(), width=200)
        view.report(f"{EVIL}\nfaked: line")
        assert SHOWN in view.console.file.getvalue()
        assert view.console.file.getvalue().count("\n") == 1
    view.arms["a"] = ArmState(f"{EVIL}\nfaked")
    view.console.print(view.render())
    assert not any(control in view.console.file.getvalue() for control in CONTROLS)
    assert f"{SHOWN}\\u000afaked" in view.console.file.getvalue()


def test_a_bar_of_progress_reads_no_markup():
    view = ProgressView(EVIL)
    bar: Progress = view._bar
    bar.console.file = file = io.StringIO()
    bar.update(view._task, description="[/] \x1b", note="[/]")
    bar.console.print(bar.get_renderable())
    assert file.getvalue().count("[/]") == 2
    assert "\x1b" not in file.getvalue()


def test_lines_and_documents(capsys):
    print_text(f"{EVIL}\nfaked")
    assert capsys.readouterr().out == f"{SHOWN}\\u000afaked\n"
    print_json({"name": EVIL, "ü": 1})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": EVIL, "ü": 1}
    assert "ü" in out
    assert not any(control in out for control in CONTROLS)
