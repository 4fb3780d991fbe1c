"""Between packs and trials: everything reaches everybody, in an order that does not depend on who is faster.

The actor is called as Ray calls it, by concurrent coroutines, without Ray.
"""

import asyncio
import random

import pytest

from side4video.core.errors import Side4VideoError
from side4video.distributed.results_actor import ResultsActor

PATIENCE = 10.0
"""Longest time of a test's play, seconds."""
SHUFFLES = 60


def play(scene):
    """Run a coroutine to its end, or fail."""
    return asyncio.run(asyncio.wait_for(scene, PATIENCE))


def measured(*arms, value=0.5):
    return {arm: {"eval/top1": value} for arm in arms}


async def pause(generator):
    """Let others go first, a few times."""
    for _ in range(generator.randrange(8)):
        await asyncio.sleep(0)


class Cast:
    """Packs and trials of a results actor, and the order of events."""

    def __init__(self, results_actor, *, seed=0, stops=None):
        """`stops` says after which epoch an arm is stopped, by channel."""
        self.results_actor, self.stops = results_actor, stops or {}
        self.random = random.Random(seed)
        self.heard = []
        """What trials were given: channel, epoch, whether it was the end, and how it ended."""
        self.at_once = 0
        """The most results that were out at a time without a decision."""
        self.verdicts = []
        """What packs were told: epoch and who stops."""
        self._out = 0

    async def trial(self, channel):
        """Fetch results until the end, as a virtual trial does, and let Ray Tune decide on each."""
        index, over = 0, False
        while not over:
            await pause(self.random)
            result = await self.results_actor.next(channel, index)
            self._out += 1
            self.at_once = max(self.at_once, self._out)
            self.heard.append((channel, result["epoch"], result["done"], result.get("state", "")))
            await pause(self.random)
            stops = not result["done"] and result["epoch"] >= self.stops.get(channel, 1000)
            self._out -= 1
            await self.results_actor.decided(channel, stops=stops or result.get("state") == "failed")
            index, over = index + 1, stops or result["done"]

    async def pack(self, *arms, epochs=3):
        """Train arms: tell what they measured, ask who stops, end."""
        active_students, states = list(arms), {}
        for epoch in range(epochs):
            await pause(self.random)
            if active_students:
                stopped = await self.results_actor.decide(epoch, measured(*active_students, value=epoch / 10))
                self.verdicts.append((epoch, sorted(stopped)))
                active_students = [arm for arm in active_students if arm not in stopped]
                states |= dict.fromkeys(stopped, "stopped")
        await self.results_actor.end(states | dict.fromkeys(active_students, "finished"))

    async def all(self, *parts):
        """All at the same time, begun in a random order."""
        parts = list(parts)
        self.random.shuffle(parts)
        await asyncio.gather(*parts)

    def of(self, channel):
        """The epochs that one channel's trial was given, its end included."""
        return [(epoch, done) for name, epoch, done, _ in self.heard if name == channel]


ALL_OF_THREE = [(1, False), (2, False), (3, False), (3, True)]


# ---- where nobody decides


def test_a_pack_waits_for_nobody_where_nobody_decides():
    cast = Cast(ResultsActor(decides=False))
    play(cast.pack("a", "b"))
    assert cast.verdicts == [(0, []), (1, []), (2, [])]


@pytest.mark.parametrize("decides", [False, True])
def test_a_trial_that_comes_late_is_given_everything(decides):
    cast = Cast(ResultsActor(decides=decides))

    async def scene():
        pack = asyncio.create_task(cast.pack("a", "b"))
        await asyncio.sleep(0.02)
        assert pack.done() is not decides
        await cast.all(cast.trial("a"), cast.trial("b"))
        await pack

    play(scene())
    assert cast.of("a") == cast.of("b") == ALL_OF_THREE


def test_a_trial_hears_what_its_arm_measured():
    results_actor = ResultsActor(decides=False)

    async def scene():
        await results_actor.add_results(1, {"a": {"eval/top1": 0.25, "eval/loss": 2.0}})
        await results_actor.end({"a": "diverged"}, "its loss is no number")
        return [await results_actor.next("a", index) for index in (0, 1)]

    first, last = play(scene())
    assert first == {"eval/top1": 0.25, "eval/loss": 2.0, "epoch": 2, "done": False}
    assert last == {**first, "done": True, "state": "diverged", "reason": "its loss is no number"}


def test_a_trial_waits_until_it_is_told_which_arm_it_is():
    results_actor = ResultsActor(decides=True)

    async def scene():
        asked = asyncio.create_task(results_actor.channel_of("trial 1"))
        await asyncio.sleep(0.01)
        assert not asked.done()
        await results_actor.assign("trial 1", "a", "a")
        return await asked

    assert play(scene()) == "a"


# ---- the order


def order(seed, kind=ResultsActor):
    """What trials hear, in the order in which they hear it, with two packs of three arms one after the other."""
    cast = Cast(kind(decides=True), seed=seed, stops={"c": 2, "e": 1})
    arms = list("fbdace")

    async def packs():
        await cast.pack("c", "a", "b")
        await cast.pack("f", "e", "d")

    play(cast.all(packs(), *(cast.trial(arm) for arm in arms)))
    return cast


def test_results_are_given_in_the_same_order_whoever_asks_first():
    heard = {tuple(order(seed).heard) for seed in range(SHUFFLES)}
    assert len(heard) == 1


def test_within_an_epoch_the_order_is_that_of_the_keys():
    heard = [(epoch, channel) for channel, epoch, done, _ in order(0).heard if not done]
    packs = ([pair for pair in heard if pair[1] in group] for group in ("abc", "def"))
    assert all(pack == sorted(pack) for pack in packs)


def test_results_are_given_one_at_a_time():
    assert {order(seed).at_once for seed in range(SHUFFLES)} == {1}


class Hasty(ResultsActor):
    """Hands out whatever is there."""

    def _is_due(self, channel, index):
        feed = self._feed(channel)
        return index < len(feed.results) or bool(feed.end)


def test_twin_that_hands_out_whatever_is_there():
    casts = [order(seed, Hasty) for seed in range(SHUFFLES)]
    assert len({tuple(cast.heard) for cast in casts}) > 1
    assert max(cast.at_once for cast in casts) > 1


# ---- decisions


@pytest.mark.parametrize("seed", range(5))
def test_a_pack_is_told_exactly_who_stops_after_each_epoch(seed):
    cast = Cast(ResultsActor(decides=True), seed=seed, stops={"a": 1, "d": 2, "b": 2})
    play(cast.all(cast.pack(*"abcd"), *(cast.trial(arm) for arm in "abcd")))
    assert cast.verdicts == [(0, ["a"]), (1, ["b", "d"]), (2, [])]


class Impatient(ResultsActor):
    """Does not wait for decisions."""

    async def decide(self, epoch, metrics):
        await self.add_results(epoch, metrics)
        return [arm for arm in metrics if self._feed(arm).stopped]


def test_twin_that_does_not_wait_for_decisions():
    cast = Cast(Impatient(decides=True), stops={"a": 1})
    play(cast.all(cast.pack(*"abcd"), *(cast.trial(arm) for arm in "abcd")))
    assert cast.verdicts[0] != (0, ["a"])


def test_a_pack_waits_until_the_last_decision():
    results_actor = ResultsActor(decides=True)

    async def scene():
        asked = asyncio.create_task(results_actor.decide(0, measured("a", "b")))
        waited = []
        for arm in "ab":
            await results_actor.next(arm, 0)
            await asyncio.sleep(0.01)
            waited.append(not asked.done())
            await results_actor.decided(arm, stops=arm == "b")
        return waited, await asked

    assert play(scene()) == ([True, True], ["b"])


def test_a_stopped_arm_stands_in_nobodys_way():
    """Nobody fetches what else is told of it, nor its end."""
    cast = Cast(ResultsActor(decides=True), stops={"a": 1})

    async def scene():
        await cast.all(cast.pack("a", "b"), cast.trial("a"), cast.trial("b"))
        await cast.results_actor.add_results(5, measured("a"))
        await cast.all(cast.pack("a", "c"), cast.trial("c"))

    play(scene())
    assert cast.of("a") == [(1, False)]
    assert cast.of("b") == cast.of("c") == ALL_OF_THREE


def test_a_stopped_arm_stays_stopped():
    """Its trial may still be heard of, when Ray Tune ends it."""
    results_actor = ResultsActor(decides=True)

    async def scene():
        asked = asyncio.create_task(results_actor.decide(0, measured("a")))
        await results_actor.next("a", 0)
        await results_actor.decided("a", stops=True)
        await results_actor.decided("a", stops=False)
        return [await asked, await results_actor.decide(1, measured("a"))]

    assert play(scene()) == [["a"], ["a"]]


class KeepsStoppedArms(ResultsActor):
    def _queue(self, channel, index):
        self._order.append((channel, index))


def test_twin_that_keeps_a_stopped_arms_place():
    cast = Cast(KeepsStoppedArms(decides=True), stops={"a": 1})

    async def scene():
        await cast.all(cast.pack("a", "b"), cast.trial("a"), cast.trial("b"))

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(scene(), 0.5))


def test_a_decision_that_does_not_come_is_an_error_with_the_way_out():
    results_actor = ResultsActor(decides=True, decision_seconds=0.05)

    async def scene():
        with pytest.raises(
            Side4VideoError, match=r"not decided on epoch 4 within 0\.05 s · fix: .*same command continues"
        ):
            await results_actor.decide(3, measured("a"))
        # The actor still works.
        return await results_actor.next("a", 0)

    assert play(scene())["epoch"] == 4


# ---- two trials of one arm


@pytest.mark.parametrize("decides", [False, True])
@pytest.mark.parametrize("comes", ["first", "between", "last"])
def test_two_trials_of_one_arm_are_both_given_everything(decides, comes):
    """A searcher may propose an arm twice; it trains once."""
    cast = Cast(ResultsActor(decides=decides))

    async def scene():
        second = cast.results_actor.assign("trial 2", "a", "a~2")
        first = asyncio.create_task(cast.trial("a"))
        if comes == "first":
            await second
            await cast.all(cast.pack("a", "b"), cast.trial("b"), cast.trial("a~2"))
        elif comes == "between":
            other = asyncio.create_task(cast.trial("b"))
            await cast.results_actor.decide(0, measured("a", "b", value=0.0))
            await second
            await cast.all(cast.pack("a", "b"), cast.trial("a~2"))
            await other
        else:
            await cast.all(cast.pack("a", "b"), cast.trial("b"))
            await second
            await cast.trial("a~2")
        await first

    play(scene())
    assert cast.of("a") == cast.of("a~2") == cast.of("b") == ALL_OF_THREE


class NeverCatchesUp(ResultsActor):
    def _catch_up(self, known, channel):
        pass


def test_twin_whose_second_trial_does_not_catch_up():
    cast = Cast(NeverCatchesUp(decides=False))

    async def scene():
        await cast.pack("a")
        await cast.results_actor.assign("trial 2", "a", "a~2")
        await cast.trial("a~2")

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(scene(), 0.2))


def test_an_arms_first_trial_decides_for_it():
    cast = Cast(ResultsActor(decides=True), stops={"a~2": 1})

    async def scene():
        await cast.results_actor.assign("trial 2", "a", "a~2")
        await cast.all(cast.pack("a"), cast.trial("a"), cast.trial("a~2"))

    play(scene())
    assert cast.verdicts == [(0, []), (1, []), (2, [])]
    assert cast.of("a") == ALL_OF_THREE


def test_assigning_a_trial_again_changes_nothing():
    cast = Cast(ResultsActor(decides=False))

    async def scene():
        await cast.pack("a")
        for _ in range(2):
            await cast.results_actor.assign("trial 1", "a", "a")
        await cast.trial("a")

    play(scene())
    assert cast.of("a") == ALL_OF_THREE


# ---- ends, and packs that begin again


@pytest.mark.parametrize("state", ["finished", "stopped", "diverged", "failed"])
@pytest.mark.parametrize("decides", [False, True])
def test_an_end_is_heard_after_all_results(state, decides):
    results_actor = ResultsActor(decides=decides)
    cast = Cast(results_actor)

    async def scene():
        await results_actor.add_results(0, measured("a"))
        await results_actor.end({"a": state}, "because")
        await results_actor.end({"a": "finished"}, "no")
        await results_actor.add_results(1, measured("a"))
        await cast.trial("a")

    play(scene())
    assert cast.heard == [("a", 1, False, ""), ("a", 1, True, state)]


def test_an_arm_that_failed_before_its_first_epoch_says_why():
    results_actor = ResultsActor(decides=True)

    async def scene():
        await results_actor.end({"a": "failed"}, "no memory")
        return await results_actor.next("a", 0)

    assert play(scene()) == {"epoch": 0, "done": True, "state": "failed", "reason": "no memory"}


def test_a_failed_pack_stands_in_nobodys_way():
    cast = Cast(ResultsActor(decides=True))

    async def scene():
        await cast.results_actor.end({"a": "failed", "b": "failed"}, "no memory")
        await cast.all(cast.trial("a"), cast.trial("b"), cast.trial("c"), cast.pack("c"))

    play(scene())
    assert cast.of("a") == cast.of("b") == [(0, True)]
    assert cast.of("c") == ALL_OF_THREE


def begun_again(kind, *, decides):
    """What a trial hears of a pack that ended in its third epoch and goes on from the first."""
    cast = Cast(kind(decides=decides), stops={"b": 2})

    async def packs():
        for epochs in (2, 1):
            active_students = ["a", "b"]
            for epoch in range(epochs):
                stopped = await cast.results_actor.decide(epoch, measured(*active_students))
                active_students = [arm for arm in active_students if arm not in stopped]
        await cast.pack("a", "b")

    play(cast.all(packs(), cast.trial("a"), cast.trial("b")))
    return cast


@pytest.mark.parametrize("decides", [False, True])
def test_a_pack_that_tells_its_epochs_again_is_not_heard_twice(decides):
    assert begun_again(ResultsActor, decides=decides).of("a") == ALL_OF_THREE


def test_who_was_stopped_is_stopped_when_an_epoch_is_told_again():
    verdicts = begun_again(ResultsActor, decides=True).verdicts
    assert verdicts[0] == (0, ["b"])


class Forgetful(ResultsActor):
    """Takes whatever it is told."""

    async def add_results(self, epoch, metrics):
        async with self._changed:
            for arm in sorted(metrics):
                self._queue(arm, len(self._feed(arm).results))
                self._feed(arm).results.append({**metrics[arm], "epoch": epoch + 1})
            self._changed.notify_all()


def test_twin_that_takes_whatever_it_is_told():
    assert begun_again(Forgetful, decides=False).of("a") != ALL_OF_THREE


def test_packs_side_by_side_do_not_wait_for_each_other():
    """The second pack's decisions come although the first one trains for long."""
    cast = Cast(ResultsActor(decides=True))

    async def scene():
        slow = asyncio.create_task(cast.trial("a"))
        await cast.all(cast.pack("b"), cast.trial("b"))
        assert cast.of("a") == []
        await cast.pack("a")
        await slow

    play(scene())
    assert cast.of("a") == cast.of("b") == ALL_OF_THREE


# ---- halving


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("reduction", [2, 4])
def test_halving_keeps_the_share_that_was_asked_for(mode, reduction):
    assert (
        survivors(ResultsActor(decides=True, metric="m", mode=mode, reduction=reduction), mode, reduction)
        == 16 // reduction
    )


def test_twin_that_hands_out_by_key_keeps_more():
    assert survivors(ResultsActor(decides=True), "max", 4) != 4


def survivors(results_actor, mode, reduction):
    """How many of 16 arms, which begin with the weakest, go on by the rule of Ray's scheduler; the best must be one."""
    from ray.tune.schedulers.async_hyperband import _Bracket

    sign = 1 if mode == "max" else -1
    values = {f"{number:02d}": sign * float(number) for number in range(16)}
    play(results_actor.add_results(0, {arm: {"m": value} for arm, value in values.items()}))
    bracket = _Bracket(1, 100, reduction, 0)
    trials = [type("Trial", (), {"trial_id": channel}) for channel, _ in results_actor._order]
    actions = {trial.trial_id: bracket.on_result(trial, 1, sign * values[trial.trial_id]) for trial in trials}
    assert actions["15"] == "CONTINUE"
    return sum(action == "CONTINUE" for action in actions.values())
