"""Ray Train's own handling of Ctrl-C: it must neither end the process without a message, nor stay installed."""

import signal
import sys

import pytest

from side4video.distributed.train import interruptible


def ctrl_c_during_a_fit():
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(1))
    signal.raise_signal(signal.SIGINT)


def test_an_exit_of_ray_is_an_interruption_and_the_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        ctrl_c_during_a_fit()
    assert signal.getsignal(signal.SIGINT) is before


def test_without_it_the_process_would_exit():
    """The broken twin."""
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            ctrl_c_during_a_fit()
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_errors_pass():
    with pytest.raises(ValueError, match="a"), interruptible():
        raise ValueError("a")
    with interruptible():
        pass
