"""What a machine offers: memory of its container, cores, GPUs."""

import psutil

from side4video.spec.machine import Gpu, Machine, usable_memory


def test_the_limit_of_a_container_counts(tmp_path):
    whole = psutil.virtual_memory().total
    limit = tmp_path / "memory.max"
    for text, wanted in (("1048576\n", 2**20), ("max\n", whole), (str(2**62), whole), ("0", whole), ("", whole)):
        limit.write_text(text)
        assert usable_memory((tmp_path / "none", limit)) == wanted


def test_as_json():
    machine = Machine(2, 2**30, (Gpu("a", 2**30, has_bfloat16=True),))
    assert machine.as_json()["gpus"] == ({"name": "a", "memory_bytes": 2**30, "has_bfloat16": True},)
