"""Passes results from packs to virtual trials, in an order that does not depend on their speed.

A pack adds the results of its arms at the end of each epoch. The virtual trial of each arm takes them from here, one
after another, and reports them to Ray Tune, which may stop the arm. The pack then asks which arms were stopped. A
trial that starts later gets all past results of its arm.

If a scheduler or Optuna decides, results are handed out one at a time: by epoch and, within an epoch, in an order that
depends on the results alone. So the same results give the same decisions, for any speed of the trials and any number
of interruptions. Usually the order is that of the arms' keys, which are hashes. Successive halving (ASHA) needs another
order, because it compares an arm with those reported before, and all arms of a pack reach a rung together. First come
the arms that should continue, the weakest first, then the others from best to worst. Each of the others then finds
enough better arms before it, so exactly the intended fraction continues.
"""

import asyncio
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from side4video.core.errors import Side4VideoError

DECISION_SECONDS = 600.0
"""Longest time that a pack waits for the decisions on an epoch. It fails without them."""
LAST = -1
"""The index of an arm's end in the order."""

Entry = tuple[str, int]
"""A channel, and the index of a result in it."""


@dataclass
class Feed:
    """The results of one arm, as one trial gets them."""

    results: list[dict[str, Any]] = field(default_factory=list)
    """One for each evaluated epoch: `epoch` (from 1) and the metrics."""
    end: str = ""
    """The arm's final state; empty while it trains."""
    reason: str = ""
    stopped: bool = False
    """Whether Ray Tune stopped it."""
    decided: int = 0
    """Number of results that Ray Tune has decided on."""


class ResultsActor:
    """An actor that reserves no CPU. Its methods are coroutines, so that any number of trials can wait in it."""

    def __init__(
        self,
        decides: bool,
        *,
        metric: str = "",
        mode: str = "max",
        reduction: float = 0.0,
        decision_seconds: float = DECISION_SECONDS,
    ) -> None:
        """No results yet.

        Args:
            decides: Whether a scheduler or Optuna decides, so that results are handed out one at a time.
            metric: The metric for halving.
            mode: `max` or `min`: which values are better.
            decision_seconds: Longest time that a pack waits for the decisions on an epoch.
            reduction: ASHA's reduction factor: one of this many arms continues at a rung; 0 without ASHA.
        """
        self.decides, self.decision_seconds = decides, decision_seconds
        self.metric, self.mode, self.reduction = metric, mode, reduction
        self._feeds: dict[str, Feed] = {}
        self._channels: dict[str, list[str]] = {}
        self._trials: dict[str, str] = {}
        self._order: deque[Entry] = deque()
        self._changed = asyncio.Condition()
        self._proposed: list[str] = []
        self._is_closed = False
        self._requests: list[Mapping[str, Any]] = []

    # ---- called by the pack

    async def add_results(self, epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Add the results of arms at the end of an epoch (from 0). Results that are known are ignored."""
        async with self._changed:
            for arm in self._in_order(metrics):
                for channel in self._channels_of(arm):
                    feed = self._feed(channel)
                    known = feed.results[-1]["epoch"] if feed.results else 0
                    if epoch + 1 > known and not feed.end:
                        self._queue(channel, len(feed.results))
                        feed.results.append({**metrics[arm], "epoch": epoch + 1})
            self._changed.notify_all()

    async def decide(self, epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Add results, wait until Ray Tune has decided on all of them, and return the arms to stop."""
        await self.add_results(epoch, metrics)
        if not self.decides:
            return []
        async with self._changed:
            feeds = [self._feed(channel) for arm in metrics for channel in self._channels_of(arm)]
            waiting = self._changed.wait_for(
                lambda: all(feed.decided >= len(feed.results) or feed.stopped for feed in feeds)
            )
            try:
                await asyncio.wait_for(waiting, self.decision_seconds)
            except TimeoutError:
                raise Side4VideoError(
                    f"Ray Tune has not decided on epoch {epoch + 1} within {self.decision_seconds:g} s · "
                    "fix: is the head overloaded? The same command continues from here"
                ) from None
            return [arm for arm in metrics if self._feed(arm).stopped]

    async def end(self, states: Mapping[str, str], reason: str = "") -> None:
        """Set the final states of arms: `finished`, `stopped`, `diverged` or `failed`."""
        async with self._changed:
            for arm in sorted(states):
                for channel in self._channels_of(arm):
                    feed = self._feed(channel)
                    if not feed.end:
                        feed.end, feed.reason = states[arm], reason
                        self._queue(channel, LAST)
            self._changed.notify_all()

    # ---- called by an endless pass

    async def tell(
        self,
        names: Sequence[str],
        values: Mapping[str, Mapping[str, float]],
        paused: Sequence[str],
        ends: Mapping[str, str],
    ) -> None:
        """Take what a pass reports between two epochs.

        Args:
            names: All arms that were proposed so far, in order.
            values: The newest metrics of each arm, with `epoch`: its own, counted from 0.
            paused: Arms that left their seats and may come back.
            ends: The final states of arms that ended.
        """
        async with self._changed:
            self._proposed += [name for name in names if name not in self._proposed]
        for name, metrics in values.items():
            await self.add_results(int(metrics["epoch"]), {name: metrics})
        async with self._changed:
            for name in paused:
                if self._feed(name).results:
                    self._feed(name).results[-1]["paused"] = True
        await self.end(ends)

    async def requests(self) -> list[Mapping[str, Any]]:
        """Requests from outside that the driver has found."""
        return self._requests

    async def set_requests(self, requests: Sequence[Mapping[str, Any]]) -> None:
        """Hand over the requests that are stored."""
        self._requests = list(requests)

    async def proposed_arm(self, index: int) -> str | None:
        """The arm of this index; None if it is not proposed yet, an empty text if none will be."""
        if index < len(self._proposed):
            return self._proposed[index]
        return "" if self._is_closed else None

    async def close(self) -> None:
        """No further arm will be proposed, and those that have not ended are stopped."""
        await self.end(dict.fromkeys(self._proposed, "stopped"))
        self._is_closed = True

    async def is_ready(self, channel: str, index: int) -> bool:
        """Whether a trial would get a result at once."""
        feed = self._feed(channel)
        return index < len(feed.results) or bool(feed.end)

    # ---- called by the trials

    async def channel_of(self, trial: str) -> str:
        """Wait until the driver has assigned an arm to the trial; return its channel."""
        async with self._changed:
            await self._changed.wait_for(lambda: trial in self._trials)
            return self._trials[trial]

    async def next(self, channel: str, index: int) -> dict[str, Any]:
        """Wait for the result of this index and its turn; after the last one the result has `done: True`."""
        feed = self._feed(channel)
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_due(channel, index))
            if index < len(feed.results):
                return {**feed.results[index], "done": False}
            last = feed.results[-1] if feed.results else {"epoch": 0}
            return {**last, "done": True, "state": feed.end, "reason": feed.reason}

    # ---- called by the driver

    async def assign(self, trial: str, arm: str, channel: str) -> None:
        """Assign an arm to a trial.

        An arm that was proposed twice has two trials. `channel` is the trial's; for the first trial of an arm it is the
        arm's name.
        """
        async with self._changed:
            channels = self._channels_of(arm)
            if channel not in channels:
                channels.append(channel)
                self._catch_up(self._feed(arm), channel)
            self._trials[trial] = channel
            self._changed.notify_all()

    async def decided(self, channel: str, *, stops: bool) -> None:
        """Record that Ray Tune has decided on the result that was handed out last."""
        async with self._changed:
            feed = self._feed(channel)
            feed.decided += 1
            feed.stopped = feed.stopped or stops
            if self._order and self._order[0][0] == channel:
                self._order.popleft()
            if feed.stopped:
                # Its trial has ended, so nothing would fetch its other results and the order would block.
                self._order = deque(entry for entry in self._order if entry[0] != channel)
            self._changed.notify_all()

    def _in_order(self, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
        """The order in which the results of an epoch are handed out (see the module docstring)."""
        arms = sorted(metrics)
        if not self.reduction:
            return arms
        sign = -1.0 if self.mode == "max" else 1.0
        ranked = sorted(arms, key=lambda arm: sign * metrics[arm].get(self.metric, math.inf * sign))
        count = math.ceil(len(ranked) / self.reduction)
        return ranked[:count][::-1] + ranked[count:]

    def _catch_up(self, known: Feed, channel: str) -> None:
        """Give a later trial of an arm all past results."""
        feed = self._feed(channel)
        for index, result in enumerate(known.results):
            self._queue(channel, index)
            feed.results.append(result)
        if known.end:
            feed.end, feed.reason = known.end, known.reason
            self._queue(channel, LAST)

    def _queue(self, channel: str, index: int) -> None:
        if self.decides and not self._feed(channel).stopped:
            self._order.append((channel, index))

    def _channels_of(self, arm: str) -> list[str]:
        return self._channels.setdefault(arm, [arm])

    def _feed(self, channel: str) -> Feed:
        return self._feeds.setdefault(channel, Feed())

    def _is_due(self, channel: str, index: int) -> bool:
        feed = self._feed(channel)
        if index >= len(feed.results) and not feed.end:
            return False
        if not self.decides:
            return True
        entry = (channel, index) if index < len(feed.results) else (channel, LAST)
        return bool(self._order) and self._order[0] == entry
