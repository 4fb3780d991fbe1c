"""Seeds for stateless random numbers.

Every random number of the data path depends on (seed, epoch, sample, ...) alone. So loaders have no state to save, any
number of workers gets the same samples, and a run can resume within an epoch.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on all parts and their order; the same on all platforms and processes."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's CPU generators inside the block; restore all three after it.

    Initial weights come from the global generators; this makes them a function of `seed`. The data path must not use
    it: its thread would race with the training for the global generators.
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
