"""A prefetcher that is closed before its thread has begun, as by Ctrl-C."""

import threading

import pytest

from side4video.data.spec import LoaderSpec
from side4video.data.streams.prefetch import ThreadPrefetcher


def test_ctrl_c_while_the_thread_begins_stays_ctrl_c(monkeypatch):
    def stopped(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", stopped)
    prefetcher = ThreadPrefetcher(lambda keys, stop: iter(()), LoaderSpec(workers=0))
    with pytest.raises(KeyboardInterrupt):
        next(prefetcher.read([[0]]))
    prefetcher.close()
