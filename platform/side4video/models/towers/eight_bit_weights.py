"""A frozen tower's weights held in eight bits, restored one matrix at a time when it is used.

Each row of a matrix has a scale of its own, so a weight's error is at most 1/254 of the largest in its row. Norms,
biases, positions and the patch embedding stay as they are: they are small, and the tokens begin with them.
"""

from torch import Tensor, nn
from torch.nn.utils import parametrize

from side4video.models.layers.eight_bit import round_to_eight_bits


class EightBitMatrix(nn.Module):
    """A bf16 matrix [O, I] as int8 codes [O, I] and bf16 scales [O, 1]."""

    def forward(self, codes_OI: Tensor, scales_O1: Tensor) -> Tensor:
        """The matrix."""
        return codes_OI.to(scales_O1.dtype) * scales_O1

    def right_inverse(self, matrix_OI: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and scales of a matrix."""
        return round_to_eight_bits(matrix_OI)


def hold_in_eight_bits(trunk: object) -> None:
    """Hold the matrices of a trunk's blocks in eight bits, in place."""
    visual = getattr(trunk, "visual", None)
    if not isinstance(visual, nn.Module):
        raise TypeError("the trunk has no module of its own")
    for name, module in list(visual.named_modules()):
        if "blocks." not in name:
            continue
        for matrix in ("weight", "in_proj_weight"):
            parameter = module._parameters.get(matrix)
            if parameter is not None and parameter.ndim == 2:
                parametrize.register_parametrization(module, matrix, EightBitMatrix())
