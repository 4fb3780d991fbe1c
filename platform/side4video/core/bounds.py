"""Numbers of documents, with the bounds that a person would name: a slip of the keyboard is an error, not an hour."""

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(gt=0, le=100_000)]
"""Clips that are made, arms, batches of clips, words."""
Few = Annotated[int, Field(gt=0, le=10_000)]
"""Workers, processes, views, epochs between two events."""
FewOrNone = Annotated[int, Field(ge=0, le=10_000)]
"""The same, or none."""
Frames = Annotated[int, Field(gt=0, le=10_000)]
"""Frames of a clip."""
Layers = Annotated[int, Field(gt=0, le=1_000)]
"""Layers of a network; the deepest towers have 64."""
Width = Annotated[int, Field(gt=0, le=65_536)]
"""Channels; the widest towers have 6,144."""
Ratio = Annotated[int, Field(gt=0, le=1_000)]
"""How many times as wide, or as narrow."""
Pixels = Annotated[int, Field(gt=0, le=8_192)]
"""A side of a frame or of a patch."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""Of a random generator."""
Steps = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""Steps of an optimizer, or none."""
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
"""Epochs, seconds, minutes, gibibytes, rates, factors."""
PositiveOrNone = Annotated[float, Field(ge=0, le=1_000_000)]
"""The same, or none."""
