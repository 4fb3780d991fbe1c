"""Between packs and trials: what each arm measured, in an order that does not depend on who was faster.

A pack tells the hub what its arms measured at the end of an epoch. Each arm's virtual trial takes its results from
here, one after another, and reports them to Ray Tune, which may answer that the arm is to stop. The pack then asks
who stopped. Nobody waits for a trial that has not started: trials may come later and are given what they missed.

Where somebody decides (a scheduler, Optuna), results are handed out one at a time, epoch by epoch and, within an
epoch, in an order that they alone determine: the same results lead to the same decisions, however fast the trials are
and however often a sweep was interrupted. The order is that of the arms' keys, which are hashes. For halving it is
another: asynchronous halving judges an arm by those that it heard before, but the arms of a pack reach a rung together.
So the weakest arm of the share that is to go on comes first, better ones follow, then the others from the best to the
worst: each of these finds enough better ones before it, and the share that goes on is the one that was asked for.
"""

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from side4video.core.errors import Side4VideoError

DECISION_SECONDS = 600.0
"""Longest time that a pack waits for the decisions on an epoch; it fails without them, for it would not be the same."""
LAST = -1
"""The index under which an arm's end stands in the order."""

Entry = tuple[str, int]
"""Where an arm's trial hears of it, and which of its results."""


@dataclass
class Feed:
    """What is known of one arm."""

    results: list[dict[str, Any]] = field(default_factory=list)
    """One an evaluated epoch: `epoch` (from 1) and the metrics."""
    end: str = ""
    """How it ended; empty while it goes on."""
    reason: str = ""
    stopped: bool = False
    """Whether Ray Tune stopped it."""
    decided: int = 0
    """Of how many results Ray Tune has said what follows from them."""


class ResultsActor:
    """An actor without a core; its methods are coroutines, so that any number of trials may wait in it."""

    def __init__(self, decides: bool, *, metric: str = "", mode: str = "max", reduction: float = 0.0) -> None:
        """Begin.

        Args:
            decides: Whether results are handed out one at a time because somebody acts on them.
            metric: By which arms are halved.
            mode: Whether more of it is better.
            reduction: One arm of so many goes on at a rung; 0 where nobody halves.
        """
        self.decides = decides
        self.metric, self.mode, self.reduction = metric, mode, reduction
        self._feeds: dict[str, Feed] = {}
        self._channels: dict[str, list[str]] = {}
        self._trials: dict[str, str] = {}
        self._order: deque[Entry] = deque()
        self._changed = asyncio.Condition()

    # ---- the pack's side

    async def tell(self, epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Take what arms measured at the end of an epoch (from 0); what is known already is passed over."""
        async with self._changed:
            for arm in self._in_order(metrics):
                for channel in self._channels_of(arm):
                    feed = self._feed(channel)
                    known = feed.results[-1]["epoch"] if feed.results else 0
                    if epoch + 1 > known and not feed.end:
                        self._queue(channel, len(feed.results))
                        feed.results.append({**metrics[arm], "epoch": epoch + 1})
            self._changed.notify_all()

    async def judge(self, epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Take what arms measured, wait until all of it was decided on, and say which of them stop."""
        await self.tell(epoch, metrics)
        if not self.decides:
            return []
        async with self._changed:
            feeds = [self._feed(channel) for arm in metrics for channel in self._channels_of(arm)]
            waiting = self._changed.wait_for(
                lambda: all(feed.decided >= len(feed.results) or feed.stopped for feed in feeds)
            )
            try:
                await asyncio.wait_for(waiting, DECISION_SECONDS)
            except TimeoutError:
                raise Side4VideoError(
                    f"Ray Tune has not decided on epoch {epoch + 1} within {DECISION_SECONDS:g} s · "
                    "fix: is the head overloaded? The same command goes on from here"
                ) from None
            return [arm for arm in metrics if self._feed(arm).stopped]

    async def end(self, states: Mapping[str, str], reason: str = "") -> None:
        """Say how arms ended: `finished`, `stopped`, `diverged`, `failed`."""
        async with self._changed:
            for arm in sorted(states):
                for channel in self._channels_of(arm):
                    feed = self._feed(channel)
                    if not feed.end:
                        feed.end, feed.reason = states[arm], reason
                        self._queue(channel, LAST)
            self._changed.notify_all()

    # ---- the trial's side

    async def channel_of(self, trial: str) -> str:
        """Where a trial hears of its arm, once the driver has said it."""
        async with self._changed:
            await self._changed.wait_for(lambda: trial in self._trials)
            return self._trials[trial]

    async def next(self, channel: str, index: int) -> dict[str, Any]:
        """The result of this index, when it is there and its turn has come; after the last one `{"done": True}`."""
        feed = self._feed(channel)
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_due(channel, index))
            if index < len(feed.results):
                return {**feed.results[index], "done": False}
            last = feed.results[-1] if feed.results else {"epoch": 0}
            return {**last, "done": True, "state": feed.end, "reason": feed.reason}

    # ---- the driver's side

    async def assign(self, trial: str, arm: str, channel: str) -> None:
        """Say which arm a trial stands for.

        Args:
            trial: Ray Tune's name of the trial.
            arm: The arm; one that was proposed twice has two trials.
            channel: Where this trial hears of it: the arm's own name for the first.
        """
        async with self._changed:
            channels = self._channels_of(arm)
            if channel not in channels:
                channels.append(channel)
                self._catch_up(self._feed(arm), channel)
            self._trials[trial] = channel
            self._changed.notify_all()

    async def decided(self, channel: str, *, stops: bool) -> None:
        """Hear that Ray Tune has dealt with the result that was handed out last."""
        async with self._changed:
            feed = self._feed(channel)
            feed.decided += 1
            feed.stopped = feed.stopped or stops
            if self._order and self._order[0][0] == channel:
                self._order.popleft()
            if feed.stopped:
                # Its trial is over, so nobody fetches what else there is of it.
                self._order = deque(entry for entry in self._order if entry[0] != channel)
            self._changed.notify_all()

    def _in_order(self, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Arms in the order in which their results of an epoch are handed out."""
        arms = sorted(metrics)
        if not self.reduction:
            return arms
        sign = -1.0 if self.mode == "max" else 1.0
        ranked = sorted(arms, key=lambda arm: sign * metrics[arm].get(self.metric, math.inf * sign))
        kept = math.ceil(len(ranked) / self.reduction)
        return ranked[:kept][::-1] + ranked[kept:]

    def _catch_up(self, known: Feed, channel: str) -> None:
        """Give a later trial of an arm what the first one was given."""
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
