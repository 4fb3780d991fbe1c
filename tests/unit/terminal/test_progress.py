"""What a run says in a log: a line a phase, rates and times left, metrics by name."""

from side4video.terminal.progress import ProgressView


def lines(capsys, *messages):
    with ProgressView("demo") as view:
        for message in messages:
            view.report(**message)
    return capsys.readouterr().err.splitlines()


def test_a_phase_is_one_line(capsys):
    said = lines(
        capsys, *[{"phase": "preparing the data", "done": n, "total": 9} for n in range(9)], {"phase": "planning"}
    )
    assert said == ["demo: preparing the data 0/9", "demo: planning"]


def test_rate_and_time_left(capsys):
    message = {
        "phase": "training",
        "done": 5,
        "total": 65,
        "steps_per_second": 2.0,
        "seconds_left": 30.0,
        "losses": {"a": 1.5},
    }
    assert lines(capsys, message) == ["demo: training 5/65 · loss 1.500 · 2.00 steps/s · 30 s left"]


def test_metrics_of_one_and_of_several(capsys):
    one = {"phase": "evaluated", "epoch": 0, "metrics": {"a": {"top1": 0.5, "top5": 1.0}}}
    several = {"phase": "evaluated", "epoch": 1, "metrics": {"a": {"top1": 0.5}, "b": {"top1": 0.25}}}
    assert lines(capsys, one, several) == [
        "demo: epoch 1: top1 0.500, top5 1.000",
        "demo: epoch 2: a top1 0.500, b top1 0.250",
    ]
