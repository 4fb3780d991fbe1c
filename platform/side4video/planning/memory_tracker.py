"""Tracks the storages of fake tensors during a step, from creation to deletion, and what they are used for."""

import weakref
from collections.abc import Iterable
from typing import Literal

from torch import Tensor

from side4video.engine.memory import ResultsMode
from side4video.planning.allocator import Block, CachingAllocator

Part = Literal["tower", "weights", "gradients", "optimizer", "held_for_backward", "transient"]


class MemoryTracker(ResultsMode):
    """Bytes in use by part, now and at the peak.

    Every storage that is created inside the block counts as `transient` until `tag` changes it. Sizes are those of
    CUDA's allocator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.allocator = CachingAllocator()
        self.alive: dict[Part, int] = dict.fromkeys(
            ("tower", "weights", "gradients", "optimizer", "held_for_backward", "transient"), 0
        )
        self.peak = 0
        self.parts_at_peak = dict(self.alive)
        self.stage = ""
        self.peak_by_stage: dict[str, int] = {}
        """Peak of each stage, if shared storages had not been freed."""
        self._shared: set[int] = set()
        self._released_shared = 0
        self._blocks: dict[int, tuple[Block, Part]] = {}

    @property
    def reserved(self) -> int:
        """Bytes that the allocator reserved on the device."""
        return self.allocator.reserved

    def created(self, tensor: Tensor) -> None:
        """Track the storage of a result."""
        self._track(tensor, "transient")

    def tag(self, tensors: Iterable[Tensor], part: Part) -> None:
        """Set the part that storages belong to. Unknown storages are tracked from now on."""
        for tensor in tensors:
            self._track(tensor, part)
            key = tensor.untyped_storage()._cdata
            if key not in self._blocks:
                continue
            block, before = self._blocks[key]
            if before != part and before not in ("tower", "weights"):
                self._blocks[key] = (block, part)
                self.alive[before] -= block.size
                self.alive[part] += block.size

    def reserve(self, size: int, part: Part) -> None:
        """Count bytes that have no tensor here."""
        self.alive[part] += self.allocator.allocate(size).size
        self._update_peak()

    def share(self, tensors: Iterable[Tensor]) -> int:
        """Until `end_sharing`, count these storages in `peak_by_stage` even if they are freed. Returns their bytes."""
        keys = {tensor.untyped_storage()._cdata for tensor in tensors}
        self._shared |= keys
        return sum(self._blocks[key][0].size for key in keys if key in self._blocks)

    def end_sharing(self) -> None:
        """Stop counting shared storages that were freed."""
        self._shared, self._released_shared = set(), 0

    def _track(self, tensor: Tensor, part: Part) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._blocks or not storage.nbytes():
            return
        block = self.allocator.allocate(storage.nbytes())
        self._blocks[key] = (block, part)
        self.alive[part] += block.size
        self._update_peak()
        weakref.finalize(storage, self._release_storage, key)

    def _release_storage(self, key: int) -> None:
        block, part = self._blocks.pop(key)
        self.alive[part] -= block.size
        if key in self._shared:
            self._shared.remove(key)
            self._released_shared += block.size
        self.allocator.release(block)

    def _update_peak(self) -> None:
        total = self.allocator.allocated
        self.peak_by_stage[self.stage] = max(self.peak_by_stage.get(self.stage, 0), total + self._released_shared)
        if total > self.peak:
            self.peak, self.parts_at_peak = total, dict(self.alive)
