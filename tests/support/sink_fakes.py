"""Sinks that keep what they get in memory, or that fail."""

import time

from side4video.tracking.sinks.sink import RunEnd, RunHeader


class ListSink:
    """Keeps all calls."""

    title = "A list"

    def __init__(self):
        self.opened, self.points, self.ended, self.released = [], {}, {}, 0

    def open(self, run, recorded):
        assert isinstance(run, RunHeader)
        self.opened.append(run)
        self.log(run.run_id, recorded)

    def log(self, run_id, metrics):
        for each in metrics:
            self.points.setdefault((run_id, each.key, each.step), each.value)

    def close(self, run_id, end):
        assert isinstance(end, RunEnd)
        self.ended[run_id] = end

    def release(self):
        self.released += 1


class FailingSink(ListSink):
    """Raises in the methods of these names."""

    title = "A wall"

    def __init__(self, *names):
        super().__init__()
        self.calls = []

        def fail(name):
            def method(*_):
                self.calls.append(name)
                raise OSError(28, f"no space for {name}, token hf_{'a' * 24}")

            return method

        for name in names:
            setattr(self, name, fail(name))


class SlowSink(ListSink):
    """Answers after some seconds."""

    title = "A snail"

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def log(self, run_id, metrics):
        time.sleep(self.seconds)
