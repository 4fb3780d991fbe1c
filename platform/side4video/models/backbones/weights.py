"""Where a tower's weights come from. There is no default and no fallback: a spec says it."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import Spec


class PretrainedWeights(Spec):
    """Weights that open_clip knows by name and downloads on first use."""

    kind: Literal["pretrained"] = "pretrained"
    tag: str = Field(min_length=1)
    """open_clip's name for the training run, `openai` or `laion2b_s34b_b88k` say."""

    def check(self, where: str) -> None:
        """Nothing to look up on this machine."""

    def identity(self) -> str:
        """What tells these weights from others, without loading them."""
        return f"pretrained:{self.tag}"


class FileWeights(Spec):
    """Weights in a local file: safetensors, or a torch file of tensors, in open_clip, OpenAI or EVA-CLIP layout."""

    kind: Literal["file"] = "file"
    path: str = Field(min_length=1)
    """The file. `${NAME}` is an environment variable, `~` the home folder."""

    def check(self, where: str) -> None:
        """Look whether the file is there, without reading it.

        Raises:
            InputError: A variable is not set, or there is no such file.
        """
        self.resolve(where)

    def resolve(self, where: str = "weights") -> Path:
        """The file's place on this machine.

        Raises:
            InputError: A variable is not set, or there is no such file.
        """
        path = Path(expand(self.path, f"{where}.path"))
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"{where}.path", f"{path} {found}", allowed="a file of weights", fix="correct the path")
        return path

    def identity(self) -> str:
        """What tells these weights from others, without loading them: the SHA-256 of the file.

        Raises:
            InputError: There is no such file.
        """
        path = self.resolve()
        return f"file:{_sha256(str(path), path.stat().st_mtime_ns)}"


@cache
def _sha256(path: str, modified_ns: int) -> str:  # noqa: ARG001 - a file that changed is read again
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class RandomWeights(Spec):
    """Random weights, for trials and tests: features of a network nobody trained."""

    kind: Literal["random"] = "random"
    seed: NonNegativeInt = 0
    """The same seed gives the same weights, bit by bit, in every process and on every machine."""

    def check(self, where: str) -> None:
        """Nothing to look up on this machine."""

    def identity(self) -> str:
        """What tells these weights from others, without drawing them."""
        return f"random:{self.seed}"


Weights = Annotated[PretrainedWeights | FileWeights | RandomWeights, Field(discriminator="kind")]
"""The ways to fill a tower that open_clip has pretrained weights for."""
LocalWeights = Annotated[FileWeights | RandomWeights, Field(discriminator="kind")]
"""The ways to fill a tower that open_clip knows nothing of."""
