"""A data set that `side4video data pack` rewrote into tar shards.

    dataset: {kind: packed, root: "${CLIPS}/k400-256"}       or s3://bucket/k400-256

Clips, order, labels, captions, spans and splits are those of the data set that it was made from.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from side4video.core.errors import InputError
from side4video.core.spec import PathText
from side4video.data.clip import SPLITS, TRAIN_AND_TEST, Clip, Split
from side4video.data.dataset_spec import DatasetSpec
from side4video.data.manifest import Manifest, read_clips, read_manifest
from side4video.data.storage import file_size, join_address, root_address


class PackedSpec(DatasetSpec):
    """Tar shards with a manifest, as `side4video data pack` writes them."""

    kind: Literal["packed"] = "packed"
    root: Annotated[PathText, Field(min_length=1)]
    """Folder that `side4video data pack` wrote, or an address such as `s3://bucket/k400-256`; may contain `${NAME}`."""

    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices; empty if clips have captions only."""
        return self._manifest().classes

    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Class names of each head, as in the original data set."""
        return {name: tuple(names) for name, names in self._manifest().heads.items()}

    def flipped_heads(self) -> tuple[Mapping[int, int], ...] | None:
        """`flipped_classes` of each head; None if flips are not allowed."""
        manifest = self._manifest()
        if not manifest.heads:
            return ()
        mirrored = manifest.mirrored_heads
        return None if mirrored is None else tuple({int(old): new for old, new in each.items()} for each in mirrored)

    def splits(self) -> tuple[Split, ...]:
        """Training, validation if the original data set had it, and test."""
        sides = {side for side, _ in read_clips(self._root(), self._manifest())}
        return SPLITS if "val" in sides else TRAIN_AND_TEST

    def clips(self, split: Split) -> list[Clip]:
        """The clips of a split in the order of the original list.

        Raises:
            InputError: The folder is not whole, or the split is empty.
        """
        clips = [clip for side, clip in read_clips(self._root(), self._manifest()) if side == split]
        if not clips:
            raise InputError(self._root(), f"no clip is for {split}", fix="pack a data set that has some")
        return clips

    def fingerprint(self) -> str:
        """SHA-256 of the manifest, which contains the hashes of all shards.

        For a bit-exact copy, the fingerprint of the original.
        """
        return self._manifest().fingerprint()

    def flipped_classes(self) -> Mapping[int, int] | None:
        """Label of a flipped clip, by label, as in the original data set; None if flips are not allowed."""
        mirrored = self._manifest().mirrored
        return None if mirrored is None else {int(label): other for label, other in mirrored.items()}

    def check(self) -> None:
        """Read the manifest and the list of clips, and check that all shards exist. No shard is opened.

        Raises:
            InputError: A file is missing, or a shard has another size than it was written with.
        """
        manifest = self._manifest()
        read_clips(self._root(), manifest)
        for shard in manifest.shards:
            size = file_size(join_address(self._root(), shard.name))
            if size != shard.bytes:
                found = "there is no such shard" if size is None else f"{size:,} bytes in place of {shard.bytes:,}"
                raise InputError(
                    join_address(self._root(), shard.name), found, fix="copy it again, or pack the data set again"
                )

    def _root(self) -> str:
        return root_address(self.root, "data.dataset.root")

    def _manifest(self) -> Manifest:
        return read_manifest(self._root())
