"""Batch normalisation over every token of a batch.

Legend: B clips, T frames, P patch tokens of a frame, D channels.
"""

from torch import Tensor, nn


class TokenBatchNorm(nn.Module):
    """`BatchNorm3d` on tokens with their channels last: statistics over batch, time and space per channel.

    The tokens are shown to the library's norm as a channels-last image [B·T, D, P, 1], a view, so that nothing is
    copied and its fast channels-last kernels run. The inner module is a plain `BatchNorm2d`, so the library's own
    conversion to `SyncBatchNorm` applies.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, tokens_BTPD: Tensor) -> Tensor:
        """Normalised tokens, of the same shape."""
        batch, frames, patches, dim = tokens_BTPD.shape
        image = tokens_BTPD.reshape(batch * frames, patches, 1, dim).permute(0, 3, 1, 2)
        return self.norm(image).permute(0, 2, 3, 1).reshape(batch, frames, patches, dim)
