"""How many views of an evaluation are done is reported batch by batch."""

import pytest

from side4video.core.progress import MessageProgress
from side4video.engine.progress import CountedBatches


class Stream:
    def __init__(self, *sizes):
        self.sizes = sizes

    def batches(self):
        for size in self.sizes:
            yield range(size)


@pytest.mark.parametrize("sizes", [(4, 4, 2), (4, 3, 2), ()])
def test_batches_pass_and_are_counted(sizes):
    said = []
    batches = CountedBatches(Stream(*sizes), 10, MessageProgress(said.append))
    assert [len(batch) for batch in batches.batches()] == list(sizes)
    assert [each["done"] for each in said] == [sum(sizes[:number]) for number in range(len(sizes) + 1)]
    assert {(each["phase"], each["total"]) for each in said} == {("evaluating, views", 10)}
