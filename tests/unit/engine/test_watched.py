"""A watched progress and watched batches: all goes through, and each is a sign of life."""

from types import SimpleNamespace

import pytest

from side4video.engine.callbacks import EpochInfo, StepInfo
from side4video.engine.watchdog import Watchdog, WatchedBatches, WatchedProgress

STEP = StepInfo(0, 0, 4, 1, {}, {}, {}, {})
CALLS = {
    "begin": ((7, 2), {}),
    "report": (("evaluating", 3, 5), {"losses": {}}),
    "after_step": ((STEP,), {}),
    "after_epoch": ((EpochInfo(0, 3, is_last=True),), {}),
    "end": ((), {}),
}


class FakeWatchdog:
    def __init__(self):
        self.beats = 0

    def heartbeat(self):
        self.beats += 1


@pytest.mark.parametrize("name", CALLS)
def test_every_word_goes_through_and_is_a_sign_of_life(name):
    heard = []
    progress = SimpleNamespace(**{name: lambda *arguments, **named: heard.append((arguments, named))})
    watchdog, (arguments, named) = FakeWatchdog(), CALLS[name]
    getattr(WatchedProgress(progress, watchdog), name)(*arguments, **named)
    assert heard == [CALLS[name]]
    assert watchdog.beats == 1


def test_every_batch_goes_through_and_is_a_sign_of_life():
    watchdog = FakeWatchdog()
    assert list(WatchedBatches(SimpleNamespace(batches=lambda: iter("abc")), watchdog).batches()) == ["a", "b", "c"]
    assert watchdog.beats == 3


def test_minutes_are_sixty_seconds():
    assert Watchdog(2.5, print).seconds == 150
