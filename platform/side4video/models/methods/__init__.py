"""One document a method; a new method is a file here, a network of the same name, and a member of the union."""

from typing import Annotated

from pydantic import Field

from side4video.models.methods.linear import LinearSpec
from side4video.models.methods.side4video import Side4VideoSpec

Method = Annotated[Side4VideoSpec | LinearSpec, Field(discriminator="kind")]
