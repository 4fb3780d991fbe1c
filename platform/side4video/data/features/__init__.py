"""Frozen features on disk: how they are stored, built and read.

The specs (`spec.py`) import no torch. A *row* is one copy of a clip in one view: its frames, its label, and the
features of the frozen tower. Rows are stored in shards, one file for each *entry* (the frames, the tokens of one block,
...), so that a student that reads other blocks can reuse the rest.
"""

from typing import Annotated

from pydantic import Field

from side4video.data.features.spec import CachedFeaturesSpec, ComputedFeaturesSpec, training_draws

Features = Annotated[ComputedFeaturesSpec | CachedFeaturesSpec, Field(discriminator="kind")]

__all__ = ["CachedFeaturesSpec", "ComputedFeaturesSpec", "Features", "training_draws"]
