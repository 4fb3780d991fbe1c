"""The model of CUDA's allocator: sequences computed by hand from its rules, and what holds of every sequence."""

import itertools
import random

import pytest

from side4video.planning.allocator import CachingAllocator, round_size

MIB = 2**20


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 512), (1, 512), (512, 512), (513, 1024), (MIB, MIB), (MIB + 1, MIB + 512)]
)
def test_requests_are_rounded_to_512_bytes(asked, given):
    assert round_size(asked) == given


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB),
        (21 * MIB, 22 * MIB),
    ],
)
def test_what_a_first_request_takes_from_the_device(asked, taken):
    allocator = CachingAllocator()
    allocator.allocate(asked)
    assert allocator.reserved == taken


def test_small_requests_share_a_segment_until_it_is_full():
    allocator = CachingAllocator()
    blocks = [allocator.allocate(MIB // 2) for _ in range(4)]
    assert [block.start for block in blocks] == [0, MIB // 2, MIB, 3 * MIB // 2]
    assert allocator.reserved == 2 * MIB
    allocator.allocate(1)
    assert allocator.reserved == 4 * MIB
    assert allocator.allocated == 2 * MIB + 512


def test_a_small_request_takes_nothing_from_a_large_segment():
    allocator = CachingAllocator()
    allocator.allocate(2 * MIB)
    allocator.allocate(512)
    assert allocator.reserved == 22 * MIB


def test_the_smallest_free_block_that_fits_is_taken():
    allocator = CachingAllocator()
    sizes = (3 * MIB, 2 * MIB, 5 * MIB, 2 * MIB, 4 * MIB)
    first, _, second, _, _ = (allocator.allocate(size) for size in sizes)
    allocator.release(second)
    allocator.release(first)
    assert allocator.allocate(3 * MIB).start == 0
    assert allocator.allocate(4 * MIB).start == 16 * MIB
    assert allocator.allocate(5 * MIB).start == 5 * MIB
    assert allocator.reserved == 20 * MIB


@pytest.mark.parametrize(
    ("asked", "given"), [(20 * MIB, 20 * MIB), (19 * MIB, 20 * MIB), (39 * MIB // 2, 20 * MIB), (9 * MIB, 9 * MIB)]
)
def test_a_large_block_keeps_what_is_left_of_it_up_to_a_mebibyte(asked, given):
    allocator = CachingAllocator()
    assert allocator.allocate(asked).size == given
    assert allocator.reserved == 20 * MIB


def test_neighbours_that_are_free_become_one():
    allocator = CachingAllocator()
    blocks = [allocator.allocate(5 * MIB) for _ in range(4)]
    assert allocator.reserved == 20 * MIB
    for place in (0, 2, 1):
        allocator.release(blocks[place])
    joined = allocator.allocate(9 * MIB)
    assert (joined.start, allocator.reserved) == (0, 20 * MIB)
    assert allocator.allocate(6 * MIB).start == 9 * MIB


def test_blocks_of_two_segments_do_not_become_one():
    allocator = CachingAllocator()
    blocks = [allocator.allocate(12 * MIB) for _ in range(2)]
    for block in blocks:
        allocator.release(block)
    allocator.allocate(20 * MIB)
    assert allocator.reserved == 44 * MIB


def live_overlaps(live):
    """Whether two live blocks share a byte."""
    places = sorted((block.segment, block.start, block.start + block.size) for block in live)
    return any(one[0] == other[0] and other[1] < one[2] for one, other in itertools.pairwise(places))


def free_bytes(allocator):
    return sum(entry[0] for pool in allocator.free.values() for entry in pool)


def check_dataset(seed, steps, kind=CachingAllocator):
    """Allocate and release at random; yields the allocator and the live blocks every so often, and at the end."""
    draws, allocator, live = random.Random(seed), kind(), []
    for step in range(steps):
        if live and draws.random() < 0.48:
            allocator.release(live.pop(draws.randrange(len(live))))
        else:
            exponent = draws.uniform(0, 25)
            size = int(2**exponent)
            block = allocator.allocate(size)
            assert block.size >= size
            live.append(block)
        if step % 100 == 0 or step == steps - 1:
            yield allocator, live


def test_in_ten_thousand_steps_no_two_live_blocks_overlap():
    for allocator, live in check_dataset(0, 10_000):
        assert not live_overlaps(live)
        assert allocator.allocated == sum(block.size for block in live)
        assert allocator.allocated + free_bytes(allocator) == allocator.reserved


def test_after_all_is_released_all_that_was_reserved_is_free_and_in_whole_segments():
    *_, (allocator, live) = check_dataset(1, 10_000)
    assert live
    for block in live:
        allocator.release(block)
    assert allocator.allocated == 0
    assert free_bytes(allocator) == allocator.reserved
    assert sum(len(pool) for pool in allocator.free.values()) == allocator.segments


class NeverSplits(CachingAllocator):
    def _split(self, block, size):
        pass


def test_twin_that_forgets_to_split():
    allocator = NeverSplits()
    for _ in range(4):
        allocator.allocate(MIB // 2)
    assert allocator.reserved > 2 * MIB


class NeverJoins(CachingAllocator):
    """A large block that is released is neither marked as free nor joined with others."""

    def release(self, block):
        if block.is_small:
            super().release(block)
            return
        self._add_free(block)
        self.allocated -= block.size


def test_twin_that_hands_a_block_out_twice():
    *_, (allocator, live) = check_dataset(1, 2_000, NeverJoins)
    for block in live:
        allocator.release(block)
    assert sum(len(pool) for pool in allocator.free.values()) > allocator.segments
