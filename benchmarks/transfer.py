"""Frames from host memory to the device: bytes a second, and whether a step waits for them.

    python benchmarks/transfer.py [--device cuda|cpu] [--clips 32] [--rounds 10]

A batch of clips of 8 frames of 224 as the loader gives it (uint8), copied from pageable and from pinned memory, and
beside a product of matrices that keeps the device busy. On a CPU the copy is one within memory, which says nothing but
that the script works. Writes benchmarks/results/transfer-DEVICE.json.
"""

import argparse
import time
from collections.abc import Callable

import torch

import bench

FRAMES, SIZE = 8, 224


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    batch = bench.RandomBatch.of(arguments.clips, FRAMES, SIZE).video_BTCHW
    sources = {"pageable": batch}
    if device.type == "cuda":
        sources["pinned"] = batch.pin_memory()
    calls: dict[str, Callable[[], object]] = {
        name: _waiting(lambda source=source: source.to(device, non_blocking=True, copy=True), device)
        for name, source in sources.items()
    }
    matrix = torch.ones(4096 if device.type == "cuda" else 512, 4096 if device.type == "cuda" else 512, device=device)
    last = list(sources.values())[-1]

    def product() -> object:
        return [matrix @ matrix for _ in range(20)]

    def both() -> object:
        copied = last.to(device, non_blocking=True, copy=True)
        return product(), copied

    calls |= {"product": _waiting(product, device), "product and copy": _waiting(both, device)}
    seconds = bench.medians(calls, rounds=arguments.rounds)
    record = {
        "what": "seconds to copy a batch of frames to the device, and of products of matrices alone and beside it",
        "command": f"python benchmarks/transfer.py --device {arguments.device} --clips {arguments.clips}",
        "batch_bytes": batch.nbytes,
        "seconds": seconds,
        "gigabytes_per_s": {name: batch.nbytes / seconds[name] / 1e9 for name in sources},
        "share_of_the_copy_that_is_hidden": max(
            0.0, 1 - (seconds["product and copy"] - seconds["product"]) / seconds[list(sources)[-1]]
        ),
    }
    print({key: value for key, value in record.items() if key not in ("what", "command")})
    print(bench.save(f"transfer-{bench.device_name(device)}", record))


def _waiting(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    def run() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.1f} s")
