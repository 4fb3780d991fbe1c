"""Progress in a notebook is one output that changes; elsewhere it is a bar of the terminal, lines, or nothing."""

import sys
from types import SimpleNamespace

import pytest

from side4video.core.progress import SILENT
from side4video.terminal import shown_progress as shown
from side4video.terminal.notebook_view import NotebookView, in_notebook
from side4video.terminal.progress import ProgressView

EVIL = "<script>x</script>\x1b[2J"
TRAINING = {"steps_per_second": 2.0, "seconds_left": 30.0, "losses": {"a": 1.5}}


class Cell:
    """An output that remembers what it showed."""

    def __init__(self):
        self.shown = []

    def show(self, html, text):
        self.shown.append((html, text))

    @property
    def texts(self):
        return [text for _, text in self.shown]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_one_bar_that_moves():
    cell, clock = Cell(), Clock()
    with NotebookView("demo", output=cell, clock=clock) as view:
        view.report("planning")
        view.report("training", 0, 60, **TRAINING)
        for done in range(1, 60):
            clock.now += 0.1
            view.report("training", done, 60, **TRAINING)
        view.report("evaluated", epoch=0, metrics={"a": {"top1": 0.5}})
        view.report("done", 60, 60)
    assert cell.texts[:2] == ["demo: planning", "demo: training 0/60 · loss 1.500 · 2.00 steps/s · 30 s left"]
    assert 10 <= len(cell.shown) <= 26  # not one for each step
    assert '<progress value="0" max="60"></progress>' in cell.shown[1][0]
    assert "<progress></progress>" in cell.shown[0][0]
    assert cell.texts[-1] == "epoch 1: top1 0.500\ndemo: done in 6 s"
    assert "<progress" not in cell.shown[-1][0]


def test_packs_of_a_sweep_have_a_bar_each():
    cell = Cell()
    view = NotebookView("s", output=cell)
    view.report("creating the runs")
    view.report("training", 1, 4, pack="p", **TRAINING)
    view.report("training", 2, 4, pack="q", **TRAINING)
    assert [line.split(" · ")[0] for line in cell.texts[-1].splitlines()] == ["s: training 1/4", "s: training 2/4"]
    view.report("done", pack="p")
    assert [line.split(" · ")[0] for line in cell.texts[-1].splitlines()] == ["s: training 2/4"]


def test_students_have_their_names():
    cell = Cell()
    view = NotebookView("s", names={"0a": "dim 64"}, output=cell)
    view.report("evaluated", epoch=1, metrics={"0a": {"top1": 0.5}, "0b": {"top1": 0.25}})
    assert cell.texts == ["epoch 2: dim 64 top1 0.500, 0b top1 0.250"]


def test_an_error_is_said():
    cell = Cell()
    with pytest.raises(KeyboardInterrupt), NotebookView("demo", output=cell):
        raise KeyboardInterrupt
    assert cell.texts[-1] == "demo: stopped after 0 s: KeyboardInterrupt"


def test_names_of_strangers_are_text():
    cell = Cell()
    with NotebookView(EVIL, output=cell) as view:
        view.report("training", 1, 2)
        view.report("evaluated", epoch=0, metrics={EVIL: {"top1": 0.5}, "b": {"top1": 0.5}})
    for html, text in cell.shown:
        assert "<script" not in html
        assert "\x1b" not in html + text


# ---- where it is shown


def kernel(monkeypatch, shell):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def view_of(progress):
    with shown.shown_progress(progress, "demo", terminal=lambda: ProgressView("demo")) as view:
        return type(view)


def test_in_a_kernel(monkeypatch, capsys):
    cells = []
    display = SimpleNamespace(
        display=lambda content, **_: (
            cells.append(content) or SimpleNamespace(update=lambda content, raw: cells.append(content))
        )
    )
    kernel(monkeypatch, SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert in_notebook()
    with NotebookView("demo") as view:
        view.report("planning")
    assert cells[0]["text/plain"] == "demo: planning"


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_ipython_on_a_terminal_is_no_notebook(monkeypatch, shell):
    kernel(monkeypatch, shell)
    assert not in_notebook()
    assert view_of(True) is ProgressView


def test_without_ipython(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()


def test_nothing_or_what_was_given():
    assert view_of(False) is type(SILENT)
    assert view_of(SILENT) is type(SILENT)


def test_no_bar_in_a_pipe(capsys):
    with shown.shown_progress(True, "demo", terminal=lambda: ProgressView("demo")) as view:
        view.report("training", 1, 2)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "demo: training 1/2\n")
