"""What one sees of a sweep: every arm on a terminal, few lines in a log, and before it what it will take."""

import io
import time

import pytest
from rich.console import Console

import sweeps
from side4video.cli.sweep_plan import plan_tables
from side4video.planning import packs
from side4video.planning.sweep import plan_sweep
from side4video.terminal.sweep_view import SweepView

LABELS = ("probe", "shallow [cls]", "deep", "wide")


def arms(count):
    """A sweep's arms, the first four with a name of their own."""
    labels = [*LABELS[:count], *(f"arm {number}" for number in range(len(LABELS), count))]
    rows = [
        {"label": label, "overrides": {"optimization.learning_rate": 1e-4 * (number + 1)}}
        for number, label in enumerate(labels)
    ]
    return sweeps.make_sweep("s", {"seed": 0}, tables={"t": {"arms": rows}}).arms


def view(*, is_terminal, metric="eval/top1", mode="max", height=40, kind=SweepView):
    made = kind("a sweep", metric, mode=mode, videos_per_step=8)
    made.console = Console(file=io.StringIO(), width=100, height=height, force_terminal=is_terminal, color_system=None)
    return made


def seen(made):
    """The view as text."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(made.render())
    return console.file.getvalue()


def said(made):
    """Lines of the log."""
    return made.console.file.getvalue().splitlines()


def row_of(made, label):
    """What stands behind an arm's label."""
    (line,) = [line for line in seen(made).splitlines() if line.startswith(label)]
    return " ".join(line.removeprefix(label).split())


def begin(made, count=4):
    """All arms are known, the first one is done, the others are on one pass; what messages call them."""
    known = arms(count)
    made.add_arms(known, {known[0].key: "done before"})
    names = [arm.short_key for arm in known[1:]]
    made.report(pack="p", phase="creating the runs", arms=names)
    return names


def training(step, names, *, pack="p"):
    """Half a step a second of 20, as a progress says it."""
    rate = {"steps_per_second": 0.5, "seconds_left": 2.0 * (20 - step)} if step else {}
    return {"pack": pack, "phase": "training", "done": step, "total": 20, **rate, "losses": dict.fromkeys(names, 1.5)}


def evaluated(epoch, values, metric="top1"):
    metrics = {name: {"top5": 1.0, metric: value} for name, value in values.items()}
    return {"pack": "p", "phase": "evaluated", "epoch": epoch, "metrics": metrics}


def ended(names, *states):
    return {"pack": "p", "phase": "done", "states": dict(zip(names, states, strict=True))}


# ---- the table


def test_every_arm_has_a_state():
    made = view(is_terminal=True)
    names = begin(made)
    assert [row_of(made, f"t: {label}") for label in LABELS] == ["done before", "waiting", "waiting", "waiting"]
    made.report(**training(1, names))
    assert [row_of(made, f"t: {label}") for label in LABELS[1:]] == ["training"] * 3
    assert "1 of 4 arms ended" in seen(made)
    made.report(**ended(names, "finished", "diverged", "stopped"))
    assert [row_of(made, f"t: {label}") for label in LABELS[1:]] == ["finished", "diverged", "stopped"]
    assert "4 of 4 arms ended" in seen(made)


def best_of(mode, **options):
    """What the table says of an arm that got worse, then better, than it began."""
    made = view(is_terminal=True, mode=mode, **options)
    name = begin(made)[0]
    for epoch, value in enumerate((0.5, 0.25, 0.75, 0.625)):
        made.report(**evaluated(epoch, {name: value}))
    return row_of(made, f"t: {LABELS[1]}")


def test_epoch_metric_and_best_are_shown():
    assert best_of("max") == "4 0.625 0.750 waiting"
    assert best_of("min") == "4 0.625 0.250 waiting"


class LastIsBest(SweepView):
    def report(self, phase, done=0, total=0, **details):
        super().report(phase, done, total, **details)
        for arm in self.arms.values():
            arm.best = arm.metric


def test_twin_that_calls_the_last_the_best():
    assert best_of("max", kind=LastIsBest) != "4 0.625 0.750 waiting"


def test_a_pack_says_how_far_how_fast_and_how_long_still():
    made = view(is_terminal=True)
    names = begin(made)
    made.report(**training(5, names))
    assert "pack 1: 3 arms on one pass: training 5/20 · 4.0 clips/s · 30 s left" in seen(made)
    made.report(pack="p", phase="caching features, clips", done=8, total=24)
    assert "pack 1: 3 arms on one pass: caching features, clips 8/24\n" in seen(made).replace("  ", "")


def test_packs_side_by_side_have_a_line_each_until_they_end():
    made = view(is_terminal=True)
    names = begin(made)
    made.report(pack="q", phase="creating the runs", arms=["alone"])
    made.report(**training(5, ["alone"], pack="q"))
    made.report(**training(7, names))
    lines = [line.strip() for line in seen(made).splitlines() if line.startswith("pack")]
    assert [line.partition(" · ")[0] for line in lines] == [
        "pack 1: 3 arms on one pass: training 7/20",
        "pack 2: 1 arm on a pass of its own: training 5/20",
    ]
    made.report(**ended(names, "finished", "finished", "finished"))
    assert "pack 1" not in seen(made)
    assert "pack 2" in seen(made)


def state_after_leaving(**options):
    made = view(is_terminal=True, **options)
    names = begin(made)
    made.report(**training(5, names))
    made.report(**training(6, names[1:]))
    return [row_of(made, f"t: {label}") for label in LABELS[1:]]


def test_an_arm_that_leaves_the_losses_was_stopped():
    assert state_after_leaving() == ["stopped", "training", "training"]


class IgnoresLosses(SweepView):
    def report(self, phase, done=0, total=0, *, losses=None, **details):
        super().report(phase, done, total, **details)


def test_twin_that_does_not_look_who_trains():
    assert state_after_leaving(kind=IgnoresLosses) != ["stopped", "training", "training"]


def test_a_step_without_losses_stops_nobody():
    """As the first message of a pack that goes on from a checkpoint."""
    made = view(is_terminal=True)
    names = begin(made)
    made.report(**training(5, names))
    made.report(pack="p", phase="training", done=4, total=20)
    assert row_of(made, "t: deep") == "training"


def test_what_the_sweep_does_between_packs_is_shown():
    made = view(is_terminal=True)
    made.report(phase="preparing the data", done=3, total=9)
    assert "a sweep: preparing the data 3/9" in seen(made)
    names = begin(made)
    made.report(**training(1, names))
    assert "preparing" not in seen(made)
    made.report(**ended(names, "finished", "finished", "finished"))
    made.report(phase="comparing the arms")
    assert "4 of 4 arms ended, comparing the arms" in seen(made)


# ---- more arms than there is room for


def crowd(height=16, **options):
    """Thirty arms, of which the last two train and are the worst, on a terminal of few lines; `wide` is the best."""
    made = view(is_terminal=True, height=height, **options)
    names = begin(made, 30)
    made.report(**training(1, names))
    made.report(
        **evaluated(0, {name: (0.9 if number == 2 else 0.5 - 0.01 * number) for number, name in enumerate(names)})
    )
    made.report(**training(2, names[-2:]))
    return made


def test_a_table_with_more_arms_than_lines_shows_those_at_work_and_the_best():
    made = crowd()
    lines = seen(made).splitlines()
    assert len(lines) <= 16
    shown = [line.split("  ")[0] for line in lines if line.startswith("t: ")]
    assert {"t: wide", "t: shallow [cls]", "t: arm 28", "t: arm 29"} <= set(shown)
    assert "t: arm 27" not in shown
    assert f"… and {30 - len(shown)} more" in seen(made)


class ShowsFirstArms(SweepView):
    def _visible_arms(self, count):
        return list(self.arms.values())[: count - 1]


def test_twin_that_shows_the_first_ones():
    assert "t: arm 29" not in seen(crowd(kind=ShowsFirstArms))


def test_arms_keep_their_order_however_many_are_left_out():
    shown = [line.split("  ")[0] for line in seen(crowd()).splitlines() if line.startswith("t: arm")]
    numbers = [int(label.removeprefix("t: arm ")) for label in shown]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("height", [1, 5, 12])
def test_a_very_low_terminal_still_shows_five_arms(height):
    assert sum(line.startswith("t: ") for line in seen(crowd(height)).splitlines()) >= 4


# ---- a log


def log(messages, **options):
    made = view(is_terminal=False, **options)
    with made:
        names = begin(made)
        for message in messages(names):
            made.report(**message)
    return said(made)


def test_a_log_has_a_line_a_phase_and_one_an_evaluated_epoch():
    def messages(names):
        yield {"pack": "p", "phase": "loading the backbone"}
        yield training(0, names)
        yield training(9, names)
        yield evaluated(0, dict(zip(names, (0.25, 0.75, 0.5), strict=True)))
        yield training(10, names)
        yield {"pack": "p", "phase": "done", "done": 20, "total": 20}
        yield {"pack": "p", "phase": "storing the results"}
        yield ended(names, "finished", "finished", "finished")
        yield {"phase": "comparing the arms"}

    assert log(messages) == [
        "a sweep: pack 1: creating the runs",
        "a sweep: pack 1: loading the backbone",
        "a sweep: pack 1: training",
        "a sweep: epoch 1: best of 3 arms: t: deep, top1 0.750",
        "a sweep: pack 1: storing the results",
        "a sweep: pack 1: done",
        "a sweep: comparing the arms",
    ]


def hurry(names):
    """Four hundred steps and their phases, all within a moment."""
    for _ in range(100):
        yield {"phase": "preparing the data", "done": 1, "total": 100}
    for step in range(1, 300):
        yield {**training(1, names), "done": step, "total": 400}


def test_a_log_gets_few_lines_a_second():
    assert len(log(hurry)) <= 5


class PrintsEveryStep(SweepView):
    seconds_per_line = -1.0


def test_twin_that_tells_every_step():
    assert len(log(hurry, kind=PrintsEveryStep)) > 100


def test_a_log_says_now_and_then_how_far_a_pack_is(monkeypatch):
    clock = iter(range(0, 10_000, 4))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = [line for line in log(hurry) if "clips/s" in line]
    assert 50 < len(lines) < 200
    assert lines[0].startswith("a sweep: pack 1: 3 arms on one pass: training ")
    assert lines[0].endswith(" · 4.0 clips/s · 38 s left")


def test_lines_of_packs_side_by_side_name_their_pack():
    def messages(names):
        yield {"pack": "q", "phase": "creating the runs", "arms": ["x"]}
        yield training(1, names)
        yield training(1, ["x"], pack="q")

    assert log(messages)[-2:] == ["a sweep: pack 1: training", "a sweep: pack 2: training"]


def test_the_best_of_a_loss_is_the_least():
    def messages(names):
        yield evaluated(0, dict(zip(names, (0.75, 0.25, 0.5), strict=True)), metric="loss")

    assert log(messages, metric="eval/loss", mode="min")[-1] == "a sweep: epoch 1: best of 3 arms: t: deep, loss 0.250"


def test_an_evaluation_without_the_metric_is_told_without_a_number():
    def messages(names):
        yield evaluated(0, dict.fromkeys(names, 0.5))

    assert log(messages, metric="eval/loss", mode="min")[-1] == "a sweep: epoch 1: 3 arms evaluated"


def test_one_arm_is_not_the_best_of_several():
    def messages(names):
        yield evaluated(4, {names[0]: 0.5})

    assert log(messages)[-1] == "a sweep: epoch 5: t: shallow [cls], top1 0.500"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_failures_stay_on_the_screen(is_terminal):
    """A table goes when the sweep ends; what failed must not go with it."""
    made = view(is_terminal=is_terminal)
    with made:
        begin(made)
        made.report(pack="p", phase="failed", reason="no memory left")
        made.report(phase="refused", reason="layers 9")
    text = made.console.file.getvalue()
    assert text.count("a sweep: pack 1: 3 arms failed: no memory left") == 1
    assert text.count("a sweep: a proposal was refused: layers 9") == 1
    assert [row_of(made, f"t: {label}") for label in LABELS[1:]] == ["failed"] * 3


def test_a_terminal_gets_no_lines_beside_the_table():
    made = view(is_terminal=True)
    with made:
        names = begin(made)
        made.report(**training(1, names))
        made.report(**evaluated(0, dict.fromkeys(names, 0.5)))
    assert "best of 3 arms" not in made.console.file.getvalue()


# ---- the quote

SPACE = {"optimization.learning_rate": {"kind": "log-uniform", "low": 1e-5, "high": 1e-2}}
RATES = [1e-4 * (number + 1) for number in range(30)]


PLANNER = packs.cached_planner(10)
"""One planner for all tests: they plan the same shapes."""


def quoted(*, done=(), width=100, **sweep):
    """The quote's text, its lines without the space between columns."""
    made = sweeps.make_sweep("s", {"method": {"kind": "linear"}, "seed": 0}, **sweep)
    keys = [arm.key for arm in made.arms if arm.title in done]
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(plan_tables(plan_sweep(made, classes=10, done=keys, planner=PLANNER), made.spec))
    text = console.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


TABLES = {
    "a": {"arms": [{"label": "base"}, {"label": "slow", "overrides": {"optimization.learning_rate": 1e-5}}]},
    "b": {"arms": [{"label": "base again"}]},
}


def test_the_quote_of_tables():
    text = quoted(tables=TABLES, reproduces="Table 9 [b]", done=["a: slow"])
    for line in (
        "reproduces Table 9 [b]",
        "arms 3 rows, 2 distinct, 1 with a result already",
        "compared by eval/top1 (max)",
        "packs to train 1, of 1 arm",
    ):
        assert line in text.splitlines(), text
    assert "x against the distinct arms one by one, " in text
    assert "a: slow" not in text.partition("speed-up\n")[2]


@pytest.mark.parametrize(
    ("packing", "line"),
    [
        (10, "packs to train 3, of 10 arms each"),
        (7, "packs to train 5, of 6 arms each"),
        (4, "packs to train 8, of 3 to 4 arms"),
    ],
)
def test_the_quote_says_how_large_packs_are(packing, line):
    assert line in quoted(grid={"optimization.learning_rate": RATES}, packing=packing).splitlines()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_quote_of_many_packs_is_cut(width):
    text = quoted(grid={"optimization.learning_rate": RATES}, packing=2, scheduler="asha", width=width)
    assert "and 3 more" in text
    assert "asha stops weak arms early" in text
    assert "peak, planned largest arm alone speed-up" in text


def test_the_quote_without_packing_says_so():
    assert "predicted speed-up none: packing is off" in quoted(tables=TABLES, packing="off").splitlines()


def test_the_quote_when_everything_is_done():
    assert "packs to train none: every arm has a result" in quoted(tables=TABLES, done=["a: base", "a: slow"])


def test_the_quote_of_a_search_says_what_it_stands_for():
    text = quoted(optuna={"arms": 20, "space": SPACE})
    assert "arms 20 rows, 20 distinct, 0 with a result already" in text.splitlines()
    assert "Optuna proposes them, 8 at a time" in text
    assert "against every row" not in text
    assert "like the base" in text


def test_a_sweep_that_saves_nothing_says_that_it_will_not_pay():
    sweep = sweeps.make_sweep("s", {"method": {"kind": "full"}, "seed": 0}, grid={"seed": [0, 1]})
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(plan_tables(plan_sweep(sweep, classes=10), sweep.spec))
    assert "packing will not pay here: 1.00x in multiply-adds" in console.file.getvalue()
