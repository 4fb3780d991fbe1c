"""`predict` shows the names of classes and files of strangers, which cannot control the terminal."""

import pytest

from side4video.cli import predict
from side4video.inference.prediction import Prediction

FOUND = [
    Prediction("\x1b[2Ja.mp4", (("\x1b]0;title\x07class", 0.5), ("exe.\u202e4pm", 0.3), ("a\nfaked 99.9%", 0.2))),
    Prediction("b.mp4", (), "bad title \x9b31m"),
]
CONTROLS = ("\x1b", "\x07", "\u202e", "\x9b")


def shown(capsys):
    """The table, and the errors below it."""
    predict._print(FOUND)
    predict._print_errors(FOUND)
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_names_are_shown(capsys):
    out = shown(capsys)
    assert not any(control in out for control in CONTROLS)
    names = (r"\u001b[2Ja.mp4", r"\u001b]0;title\u0007class", r"exe.\u202e4pm", r"a\u000afaked 99.9%", r"\u009b31m")
    assert [name for name in names if name not in out] == []
    assert len(out.strip().splitlines()) == 5


@pytest.mark.parametrize("control", CONTROLS[1:])
def test_printing_as_it_is_would_be_noticed(control, capsys, monkeypatch):
    """The broken twin."""
    monkeypatch.setattr("side4video.core.text.printable", lambda text, **_: text)
    for module in ("console", "output"):
        monkeypatch.setattr(f"side4video.terminal.{module}.printable", lambda text, **_: text)
    assert control in shown(capsys) or control == "\x07"  # Rich itself removes a bell
