"""A model of CUDA's caching allocator: the device memory that a sequence of allocations reserves.

It follows torch's rules (`c10/cuda/CUDACachingAllocator.cpp`). Sizes are rounded up to 512 bytes. Requests up to 1 MiB
are served from segments of 2 MiB, requests below 10 MiB from segments of 20 MiB, and larger ones from their own
segments, rounded up to 2 MiB. The smallest free block that fits is used and split. Free neighbours are merged. Segments
are never released, because the model never runs out of memory.
"""

import bisect
from dataclasses import dataclass, field

ROUNDING = 512
SMALL_REQUEST = 2**20
SMALL_SEGMENT = 2 * 2**20
LARGE_SEGMENT = 20 * 2**20
OWN_SEGMENT_FROM = 10 * 2**20
OWN_SEGMENT_ROUNDING = 2 * 2**20


@dataclass(eq=False)
class Block:
    """A block of a segment."""

    size: int
    segment: int
    start: int
    is_small: bool
    is_free: bool = True
    before: "Block | None" = None
    after: "Block | None" = None


@dataclass
class CachingAllocator:
    """Bytes in use (`allocated`) and bytes taken from the device (`reserved`)."""

    allocated: int = 0
    reserved: int = 0
    segments: int = 0
    free: dict[bool, list[tuple[int, int, int, Block]]] = field(default_factory=lambda: {True: [], False: []})
    """Free blocks of the small (True) and the large pool (False), sorted by size, segment and start."""

    def allocate(self, size: int) -> Block:
        """Allocate a block of at least `size` bytes."""
        size = round_size(size)
        is_small = size <= SMALL_REQUEST
        pool = self.free[is_small]
        place = bisect.bisect_left(pool, (size, -1, -1), key=lambda entry: entry[:3])
        block = pool.pop(place)[3] if place < len(pool) else self._new_segment(size, is_small)
        self._split(block, size)
        block.is_free = False
        self.allocated += block.size
        return block

    def release(self, block: Block) -> None:
        """Free a block and merge it with free neighbours."""
        self.allocated -= block.size
        block.is_free = True
        for other in (block.before, block.after):
            if other is not None and other.is_free:
                self._remove_free(other)
                block = self._join(*((other, block) if other.start < block.start else (block, other)))
        self._add_free(block)

    def _new_segment(self, size: int, is_small: bool) -> Block:
        if is_small:
            taken = SMALL_SEGMENT
        elif size < OWN_SEGMENT_FROM:
            taken = LARGE_SEGMENT
        else:
            taken = -(-size // OWN_SEGMENT_ROUNDING) * OWN_SEGMENT_ROUNDING
        self.reserved += taken
        self.segments += 1
        return Block(taken, self.segments, 0, is_small)

    def _split(self, block: Block, size: int) -> None:
        rest = block.size - size
        if rest < ROUNDING if block.is_small else rest <= SMALL_REQUEST:
            return
        remainder = Block(rest, block.segment, block.start + size, block.is_small, before=block, after=block.after)
        if block.after is not None:
            block.after.before = remainder
        block.size, block.after = size, remainder
        self._add_free(remainder)

    def _join(self, left: Block, right: Block) -> Block:
        left.size += right.size
        left.after = right.after
        if right.after is not None:
            right.after.before = left
        left.is_free = True
        return left

    def _add_free(self, block: Block) -> None:
        entry = (block.size, block.segment, block.start, block)
        bisect.insort(self.free[block.is_small], entry, key=lambda each: each[:3])

    def _remove_free(self, block: Block) -> None:
        pool = self.free[block.is_small]
        del pool[bisect.bisect_left(pool, (block.size, block.segment, block.start), key=lambda each: each[:3])]


def round_size(size: int) -> int:
    """Bytes that the allocator uses for a request."""
    return max(1, -(-size // ROUNDING)) * ROUNDING
