"""The network of gated recurrence: a core whose state goes from frame to frame, and a readout of the last state.

Legend: B clips, T time steps, S tokens of a time step (state and frame have the same), D tower width, R readout width,
h heads, k channels of a head, Q queries.
"""

from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from side4video.models.layers.frozen_copy import frozen_copy
from side4video.models.layers.pre_norm_mlp import PreNormMLP
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower

INITIAL_STD = 0.02
CORE_EPSILON = 1e-6


class Attention(nn.Module):
    """Attention of some tokens to others, with a projection out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, asking_BQD: Tensor, seen_BSD: Tensor) -> Tensor:
        """[B, Q, D]."""
        asked = rearrange(self.query(asking_BQD), "B Q (h k) -> B h Q k", h=self.heads)
        parts = rearrange(self.key_value(seen_BSD), "B S (n h k) -> n B h S k", n=2, h=self.heads)
        mixed = F.scaled_dot_product_attention(asked, *parts.unbind(0))
        return self.leave(rearrange(mixed, "B h Q k -> B Q (h k)"))


class CoreLayer(nn.Module):
    """Cross-attention to the gated state, MLP, self-attention; all pre-norm with residual connections."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.cross_norm = nn.LayerNorm(width, eps=CORE_EPSILON)
        self.cross = Attention(width, heads)
        self.mlp = PreNormMLP(width, epsilon=CORE_EPSILON)
        self.own_norm = nn.LayerNorm(width, eps=CORE_EPSILON)
        self.own = Attention(width, heads)

    def forward(self, tokens_BSD: Tensor, state_BSD: Tensor) -> Tensor:
        """The frame's tokens [B, S, D]; the gated state is not normalised again."""
        tokens_BSD = tokens_BSD + self.cross(self.cross_norm(tokens_BSD), state_BSD)
        tokens_BSD = tokens_BSD + self.mlp(tokens_BSD)
        normed_BSD = self.own_norm(tokens_BSD)
        return tokens_BSD + self.own(normed_BSD, normed_BSD)


class GatedCore(nn.Module):
    """s' = (1 - u) s + u h(x, r LN(s)), with update gate u and reset gate r of the frame x and the state s."""

    def __init__(self, width: int, *, layers: int, heads: int) -> None:
        super().__init__()
        self.update_of_frame = nn.Linear(width, width, bias=False)
        self.update_of_state = nn.Linear(width, width, bias=False)
        self.reset_of_frame = nn.Linear(width, width, bias=False)
        self.reset_of_state = nn.Linear(width, width, bias=False)
        self.state_norm = nn.LayerNorm(width, eps=CORE_EPSILON)
        self.layers = nn.ModuleList(CoreLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=CORE_EPSILON)

    def forward(self, frame_BSD: Tensor, state_BSD: Tensor) -> Tensor:
        """The next state [B, S, D], fp32."""
        update_BSD = (self.update_of_frame(frame_BSD) + self.update_of_state(state_BSD)).float().sigmoid()
        reset_BSD = (self.reset_of_frame(frame_BSD) + self.reset_of_state(state_BSD)).float().sigmoid()
        read_BSD = reset_BSD * self.state_norm(state_BSD)
        tokens_BSD = frame_BSD
        for layer in self.layers:
            tokens_BSD = layer(tokens_BSD, read_BSD)
        return (1 - update_BSD) * state_BSD + update_BSD * self.norm(tokens_BSD).float()


class Readout(nn.Module):
    """One learned query over the tokens of a state."""

    def __init__(self, width: int, *, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.key_value = nn.Linear(width, 2 * inner)
        self.query_R = nn.Parameter(torch.empty(inner))
        self.leave = nn.Linear(inner, inner)
        self.mlp = PreNormMLP(inner, epsilon=1e-5)

    def forward(self, state_BSD: Tensor) -> Tensor:
        """Features [B, R]."""
        parts = rearrange(self.key_value(self.norm(state_BSD)), "B S (n h k) -> n B h S k", n=2, h=self.heads)
        # A copy: counters of multiply-adds fail on a view of a parameter as a module's input.
        query_B1R = self.query_R.repeat(state_BSD.shape[0], 1, 1)
        asked = rearrange(query_B1R, "B Q (h k) -> B h Q k", h=self.heads).to(parts.dtype)
        mixed = F.scaled_dot_product_attention(asked, *parts.unbind(0))
        query_B1R = query_B1R + self.leave(rearrange(mixed, "B h Q k -> B Q (h k)"))
        return (query_B1R + self.mlp(query_B1R)).squeeze(1)


class GatedRecurrence(nn.Module):
    """The tower's final norm, the core over the time steps, a norm of the last state, and the readout."""

    def __init__(
        self,
        tower: FrozenTower,
        *,
        steps: int,
        layers: int = 4,
        heads: int = 12,
        readout_heads: int = 12,
        readout_head_width: int = 64,
        recomputes: bool = True,
    ) -> None:
        """`steps` are the time steps of a clip; with `recomputes`, a step's activations are computed again."""
        super().__init__()
        width = tower.shape.width
        self.tap, self.steps, self.recomputes = tower.shape.depth - 1, steps, recomputes
        self.output_dim = readout_heads * readout_head_width
        self.final_norm = frozen_copy(tower.trunk.last_layers().norm)
        self.core = GatedCore(width, layers=layers, heads=heads)
        self.state_norm = nn.LayerNorm(width)
        self.readout = Readout(width, heads=readout_heads, head_width=readout_head_width)
        for module in (*self.core.modules(), *self.readout.modules()):
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.readout.query_R, std=INITIAL_STD)

    def forward(self, features: FrozenFeatures) -> Tensor:
        """Features [B, R] of the state after the last time step."""
        tokens_BTSD = features.read(self.tap).unflatten(0, (-1, self.steps))
        state_BSD = torch.zeros_like(tokens_BTSD[:, 0], dtype=torch.float32)
        for step in range(self.steps):
            if self.recomputes and torch.is_grad_enabled():
                found = checkpoint(
                    self._advance, tokens_BTSD[:, step], state_BSD, use_reentrant=False, preserve_rng_state=False
                )
                state_BSD = cast("Tensor", found)
            else:
                state_BSD = self._advance(tokens_BTSD[:, step], state_BSD)
        return self.readout(self.state_norm(state_BSD)).float()

    def _advance(self, tokens_BSD: Tensor, state_BSD: Tensor) -> Tensor:
        return self.core(self.final_norm(tokens_BSD.float()), state_BSD)
