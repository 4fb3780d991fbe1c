"""The source of a tower's weights, which has no default."""

import hashlib
import zipfile
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from side4video.core.bounded_files import check_weights_file
from side4video.core.bounds import Seed
from side4video.core.errors import InputError
from side4video.core.paths import expand
from side4video.core.spec import PathText, Spec


class PretrainedWeights(Spec):
    """Pretrained weights of the backbone's library, downloaded at the first use."""

    kind: Literal["pretrained"] = "pretrained"
    tag: str = Field(min_length=1)
    """The library's name of the weights: of open_clip such as `openai` or `laion2b_s34b_b88k`, of timm such as
    `lvd142m`, of a clip tower such as `pretrained` or `KINETICS400_V1`."""

    def check(self, where: str) -> None:
        """Nothing to check on this machine."""

    def identity(self) -> str:
        """A name for the weights that does not require loading them."""
        return f"pretrained:{self.tag}"


class FileWeights(Spec):
    """Weights in a local file: safetensors, or a torch file of tensors.

    Their names are those of the library: open_clip, OpenAI or EVA-CLIP; timm; for clip towers transformers or
    torchvision.
    """

    kind: Literal["file"] = "file"
    path: PathText = Field(min_length=1)
    """The file. `${NAME}` is an environment variable, `~` the home folder."""

    def check(self, where: str) -> None:
        """Check that the file exists and begins as a file of weights does. Its tensors are not read.

        Raises:
            InputError: A variable is not set, or there is no such file, or it is of another kind.
        """
        path = self.resolve(where)
        try:
            weights_format(path)
            check_weights_file(path)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{where}.path", f"{path} cannot be read ({error})", fix="download it again") from error

    def resolve(self, where: str = "weights") -> Path:
        """The file's path on this machine.

        Raises:
            InputError: A variable is not set, or there is no such file.
        """
        path = Path(expand(self.path, f"{where}.path"))
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"{where}.path", f"{path} {found}", allowed="a file of weights", fix="correct the path")
        return path

    def identity(self) -> str:
        """A name for the weights that does not require loading them: the SHA-256 of the file.

        Raises:
            InputError: There is no such file.
        """
        path = self.resolve()
        return f"file:{_sha256(str(path), path.stat().st_mtime_ns)}"


def weights_format(path: Path) -> Literal["safetensors", "torch", "torch before 1.6"]:
    """The format of a file of weights, by its first bytes; its name does not count.

    Raises:
        ValueError: It is empty, or of another format, such as a web page or a pointer of Git LFS.
    """
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":
        return "safetensors"
    if zipfile.is_zipfile(path):
        return "torch"
    if head[:1] == b"\x80":
        return "torch before 1.6"
    raise ValueError("neither safetensors nor a torch file" if head else "it is empty")


@cache
def _sha256(path: str, modified_ns: int) -> str:  # noqa: ARG001 - part of the cache's key
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class RandomWeights(Spec):
    """Random weights, for trials and tests."""

    kind: Literal["random"] = "random"
    seed: Seed = 0
    """The same seed gives the same weights, bit by bit, on every machine."""

    def check(self, where: str) -> None:
        """Nothing to check on this machine."""

    def identity(self) -> str:
        """A name for the weights that does not require generating them."""
        return f"random:{self.seed}"


Weights = Annotated[PretrainedWeights | FileWeights | RandomWeights, Field(discriminator="kind")]
"""For towers of a library with pretrained weights."""
LocalWeights = Annotated[FileWeights | RandomWeights, Field(discriminator="kind")]
"""For other towers."""
