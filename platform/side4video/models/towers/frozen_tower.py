"""A frozen tower that yields its tokens block by block.

Legend: B clips, T frames of a clip, N = B*T frames, C channels, H, W pixels, P tokens of a frame (prefix tokens
first), D width, E channels of a projected feature.

A tower that reads clips takes clips in place of frames: N is then their number, and its tokens are those of a clip.

The tower yields the output of each requested block and keeps no more than the tokens between two blocks. Frames can
pass through a block in chunks. Then the block's temporary tensors (queries, keys, values, the MLP's hidden channels:
about ten times its tokens) exist for one chunk at a time.
"""

from collections.abc import Collection, Iterator, MutableMapping
from contextlib import AbstractContextManager
from typing import Literal, Self

import torch
from torch import Tensor, nn

from side4video.core.errors import InputError
from side4video.models.backbones.shape import TowerShape
from side4video.models.feature_request import EMBEDDING
from side4video.models.layers.int8 import quantize_blocks
from side4video.models.layers.precision import autocast_off
from side4video.models.towers.trunk import Trunk

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "8-bit": torch.bfloat16}
"""Data type of the tokens, and of the weights unless they are held in eight bits."""


class FrozenTower(nn.Module):
    """An image tower whose parameters never change and need no gradient.

    It is always in evaluation mode, ignores the caller's autocast, and never changes a tensor after it was yielded.
    """

    trunk: Trunk
    mean: Tensor
    """[C, 1, 1], fp32."""
    std: Tensor
    """[C, 1, 1], fp32."""

    def __init__(
        self,
        trunk: Trunk,
        shape: TowerShape,
        *,
        precision: Literal["fp32", "bf16", "8-bit"],
        chunk_frames: int | Literal["all"] = "all",
        keeps_int8: bool = False,
        fingerprint: str = "",
    ) -> None:
        """Freeze a trunk whose weights are already in `precision`.

        `precision` is that of weights and tokens; with `8-bit`, weights are held in eight bits and tokens are bf16.
        `chunk_frames` frames pass through a block at a time. `keeps_int8` means that students store the tokens in
        eight bits. The fingerprint of the weights is empty on `meta`.

        Raises:
            ValueError: Trunk and shape have different prefix tokens, class tokens or pooling.
        """
        super().__init__()
        layouts = [(each.prefix_tokens, each.class_token, each.pooling) for each in (trunk, shape)]
        if layouts[0] != layouts[1]:
            raise ValueError(f"prefix tokens, class token, pooling: the trunk has {layouts[0]}, the shape {layouts[1]}")
        self.trunk = trunk
        self.shape = shape
        self.dtype = PRECISIONS[precision]
        self.chunk_frames = chunk_frames
        self.keeps_int8 = keeps_int8
        self._fingerprint = fingerprint
        device = next(trunk.visual.parameters()).device
        for name, values in (("mean", shape.mean), ("std", shape.std)):
            self.register_buffer(name, torch.tensor(values, device=device).view(-1, 1, 1), persistent=False)
        self.requires_grad_(False)
        if precision == "8-bit":
            quantize_blocks(trunk.blocks)
        self.eval()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.mean.device

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        del mode
        return super().train(False)

    def fingerprint(self) -> str:
        """SHA-256 over names, shapes and fp32 values of the image tower's weights, the same in any precision.

        Raises:
            ValueError: The tower is on `meta` and has no weights.
        """
        if not self._fingerprint:
            raise ValueError("a tower on the meta device has no weights, and so no fingerprint")
        return self._fingerprint

    def release_weights(self) -> None:
        """Free the memory of the weights. `shape`, `fingerprint` and `normalise` still work; `stream` does not."""
        self.trunk.visual.to("meta")

    @torch.no_grad()
    def normalise(self, video: Tensor) -> Tensor:
        """Pixels minus `mean`, over `std`, on the tower's device and in its precision.

        `video` is [..., C, H, W], uint8 in 0..255 or floating point in 0..1.
        """
        pixels = video.to(self.device, non_blocking=True)
        pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
        return ((pixels - self.mean) / self.std).to(self.dtype)

    @torch.no_grad()
    def difference(self, frames: Tensor) -> Tensor:
        """How far successive frames differ, over `std`, in fp32: [..., K - 1, C, H, W] of frames [..., K, C, H, W].

        Frames are uint8. The difference is taken before any rounding to the tower's precision.
        """
        pixels = frames.to(self.device, non_blocking=True).float() / 255
        return (pixels[..., 1:, :, :, :] - pixels[..., :-1, :, :, :]) / self.std

    def stream(
        self,
        frames_NCHW: Tensor,
        taps: Collection[int],
        *,
        attention: Collection[int] = (),
        into: MutableMapping[int, tuple[Tensor, Tensor]] | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the output tokens of each tapped block in ascending order; stop after the last tap.

        The tower drops its reference to a yielded tensor as soon as the next block has read it.

        Args:
            frames_NCHW: Frames [N, C, H, W], for a tower that reads clips [N, T, C, H, W]: uint8, normalised here
                chunk by chunk, or floating point, already normalised.
            taps: Blocks to read, 0-based, in any order; `EMBEDDING` is the input of the first block.
            attention: Blocks whose queries and keys [N, h, P, k] are stored in `into` before their tokens are yielded.
            into: Filled with (queries, keys) by block.

        Returns:
            Pairs of a block's index and its tokens [N, P, D], in the tower's precision.

        Raises:
            InputError: The frames are not of the size that the position embeddings are for.
            ValueError: The tower has no such block.
        """
        requested = frozenset(taps)
        if any(not EMBEDDING <= tap < self.shape.depth for tap in requested):
            raise ValueError(f"taps {sorted(requested)} are not all in 0..{self.shape.depth - 1}, the tower's blocks")
        size, of_clip = self.shape.image_size, int(self.shape.reads_clips)
        if frames_NCHW.ndim != 4 + of_clip or tuple(frames_NCHW.shape[-3:]) != (3, size, size):
            raise InputError(
                "frames",
                f"the tower was given frames of shape {list(frames_NCHW.shape)}",
                allowed=f"[{'clips, ' * of_clip}frames, 3, {size}, {size}]: its position embeddings are for {size} "
                "pixels",
                fix=f"let the data make frames of {size} pixels",
            )
        return self._walk(frames_NCHW, requested, frozenset(attention), {} if into is None else into)

    def forward(self, frames_NCHW: Tensor, taps: Collection[int]) -> dict[int, Tensor]:
        """The tokens of all tapped blocks at once; see `stream`."""
        return dict(self.stream(frames_NCHW, taps))

    @torch.no_grad()
    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """Pooled frame features [N, D] from the last block's tokens."""
        with self.own_precision():
            return self.trunk.pool(tokens_NPD)

    @torch.no_grad()
    def project(self, features_ND: Tensor) -> Tensor:
        """Pooled features projected into the space shared with the text tower, [N, E]."""
        with self.own_precision():
            return self.trunk.project(features_ND)

    def _walk(
        self,
        frames_NCHW: Tensor,
        requested: frozenset[int],
        attention: frozenset[int],
        into: MutableMapping[int, tuple[Tensor, Tensor]],
    ) -> Iterator[tuple[int, Tensor]]:
        if not requested:
            return
        # A list, from which the last tokens are popped when they are yielded: a local variable of this suspended
        # generator would keep them in memory.
        held, chunk = [self._embed(frames_NCHW)], self._chunk(frames_NCHW)
        del frames_NCHW
        for index in range(EMBEDDING, max(requested) + 1):
            if index != EMBEDDING:
                read: list[tuple[Tensor, Tensor]] | None = [] if index in attention else None
                may_overwrite = index - 1 not in requested
                held.append(self._run_block(index, held.pop(), chunk=chunk, may_overwrite=may_overwrite, read=read))
                if read is not None:
                    into[index] = _join(read)
            if index == max(requested):
                yield index, held.pop()
            elif index in requested:
                yield index, held[0]

    @torch.no_grad()
    def _embed(self, frames_NCHW: Tensor) -> Tensor:
        with self.own_precision():
            embedded = []
            chunk = self._chunk(frames_NCHW)
            for part in (frames_NCHW,) if chunk == "all" else frames_NCHW.split(chunk):
                is_raw = part.dtype == torch.uint8
                embedded.append(self.trunk.embed(self.normalise(part) if is_raw else part.to(self.device, self.dtype)))
            return embedded[0] if len(embedded) == 1 else torch.cat(embedded)

    @torch.no_grad()
    def _run_block(
        self,
        index: int,
        tokens_NPD: Tensor,
        *,
        chunk: int | Literal["all"],
        may_overwrite: bool,
        read: list[tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        # `len` would become a constant in a graph that is exported for any number of clips.
        frames = tokens_NPD.shape[0]
        with self.own_precision():
            if chunk == "all" or chunk >= frames:
                return self.trunk.run_block(index, tokens_NPD, read)
            if self.shape.merges:  # a block may change the shape of the tokens
                return torch.cat([self.trunk.run_block(index, part, read) for part in tokens_NPD.split(chunk)])
            output_NPD = tokens_NPD if may_overwrite else torch.empty_like(tokens_NPD)
            for start in range(0, frames, chunk):
                part = slice(start, start + chunk)
                output_NPD[part] = self.trunk.run_block(index, tokens_NPD[part], read)
            return output_NPD

    def _chunk(self, frames_NCHW: Tensor) -> int | Literal["all"]:
        """How many frames, or whole clips, pass through a block at a time."""
        chunk = self.chunk_frames
        if not isinstance(chunk, int):
            return "all"
        return max(1, chunk // frames_NCHW.shape[1]) if self.shape.reads_clips else chunk

    def own_precision(self) -> AbstractContextManager[object]:
        """A context without autocast: the caller's autocast is for the layers that it trains."""
        return autocast_off(self.device.type)


def _join(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    queries, keys = zip(*parts, strict=True)
    return (queries[0], keys[0]) if len(parts) == 1 else (torch.cat(queries), torch.cat(keys))
