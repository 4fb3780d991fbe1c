"""Random draws as functions of what they are for, not of what was drawn before.

Every draw in the data path is seeded by (seed, epoch, sample, ...) alone. So no state of a loader or worker
is ever saved, any number of workers sees the same samples, and resuming in mid-epoch is an offset.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on their order, the same on every platform and process."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's CPU generators inside the block; restore all three after it.

    Initial values are drawn from the global generators; this makes them a function of `seed` without leaving a
    trace in the process. The data path has generators of its own: its thread would race with the training's.
    """
    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
