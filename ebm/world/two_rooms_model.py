"""A world model of Two Rooms: what moves is encoded apart from what stays.

    s = f(dot channel),    [c, d] = C · pool(wall channel)
    h = σ(W₁ [s, a]),    s' = s + W₄ σ(W₃ σ(W₂ h + G (h ∘ c) + d)),    σ = SiLU, W₄ = 0 at the start

One encoder of both channels would fall into the slow-feature trap: a wall that never moves is the easiest
thing to predict. And the product h ∘ c lets the walls decide which moves go through; with plain concatenation
they are ignored, and the model walks through walls.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, silu

from ebm.nets.layers import linear
from ebm.world.model import ModelState, WorldModel
from ebm.world.two_rooms import SIDE

PATCH = 5  # px of a cell of the dot's picture
POOL = 5  # px of a cell in which walls are averaged


class DotEncoder(nn.Module):
    """A convolution with stride and kernel 5 whose blank cells are skipped, and two layers on its map.

    s = W₂ σ(W₁ m + b₁) + b₂,    m_cell = σ(W₀ patch_cell + b₀) if anything is there, else 0

    Most of a picture of one dot is blank, so it is looked at only where something is.

    (N, H, W) uint8 -> (N, S).
    """

    def __init__(self, side: int, state_size: int, generator: Generator | None = None):
        super().__init__()
        if side % PATCH:
            raise ValueError(f"cells of {PATCH} px don't divide pictures of {side} px.")
        self.cells = side // PATCH
        self.patch = linear(PATCH**2, 8, generator=generator)
        self.hidden = linear(8 * self.cells**2, 32, generator=generator)
        self.code = linear(32, state_size, generator=generator)

    def forward(self, dots: Tensor) -> Tensor:
        n, g = len(dots), self.cells
        ink = dots.reshape(n * g, PATCH, g * PATCH).amax(1).view(n, g, g, PATCH).amax(3)
        row, i, j = ink.nonzero(as_tuple=True)
        patches = dots.reshape(n, g, PATCH, g, PATCH)[row, i, :, j, :].flatten(1)
        seen = silu(self.patch(patches.to(self.patch.weight.dtype) / 255))
        maps = seen.new_zeros(n * g * g, seen.shape[1]).index_copy(0, (row * g + i) * g + j, seen)
        return self.code(silu(self.hidden(maps.view(n, -1))))


class GatedPredictor(nn.Module):
    """The residual predictor, (B, S), (B, A), (B, 2H) -> (B, S); the context is [c, d]."""

    def __init__(self, state_size: int, action_size: int, hidden: int, generator: Generator | None = None):
        super().__init__()
        self.first = linear(state_size + action_size, hidden, generator=generator)
        self.second = linear(hidden, hidden, generator=generator)
        self.gated = linear(hidden, hidden, bias=False, generator=generator)
        self.third = linear(hidden, hidden, generator=generator)
        self.last = linear(hidden, state_size, generator=generator)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, s: Tensor, actions: Tensor, context: Tensor) -> Tensor:
        c, d = context.chunk(2, 1)
        h = silu(self.first(torch.cat([s, actions], 1)))
        h = silu(self.second(h) + self.gated(h * c) + d)
        return s + self.last(silu(self.third(h)))

    def rollout(self, s: Tensor, actions: Tensor, contexts: Tensor) -> Tensor:
        """Steps one after the other, of R rooms with N rows each, one room's rows side by side.

            W₂ h + G (h ∘ c) + d = (W₂ + G diag c) h + d

        so a room's walls enter its weights, once.

        Args:
            s: (R · N, S).
            actions: (R · N, T, A).
            contexts: (R, 2H).

        Returns:
            (R · N, T + 1, S).
        """
        c, d = contexts.chunk(2, 1)
        rooms, hidden = c.shape
        gated = (self.second.weight + self.gated.weight * c.unsqueeze(1)).transpose(1, 2)  # (R, H, H)
        offset, path = (self.second.bias + d).unsqueeze(1), [s]
        layers = self.first, self.third, self.last
        (first, b1), (third, b3), (last, b4) = ((each.weight.t(), each.bias) for each in layers)
        for action in actions.unbind(1):
            h = silu(torch.addmm(b1, torch.cat([s, action], 1), first)).view(rooms, -1, hidden)
            h = silu(torch.baddbmm(offset, h, gated)).view(-1, hidden)
            h = silu(torch.addmm(b3, h, third))
            s = s + torch.addmm(b4, h, last)
            path.append(s)
        return torch.stack(path, 1)


class TwoRoomsModel(WorldModel):
    """An action-conditioned JEPA of `TwoRooms`; its states are (s, c).

    Args:
        state_size: S, width of s.
        hidden: H, width of the predictor's layers, of c and of d.
        generator: source of the weights; the global one if None.

    Raises:
        ValueError: if a size isn't positive.

    Example:
        >>> model = TwoRoomsModel(generator=torch.Generator().manual_seed(0))
        >>> state = model.encode(torch.zeros(3, 2, 65, 65, dtype=torch.uint8))
        >>> model.rollout(state, torch.zeros(3, 5, 2)).shape
        torch.Size([3, 6, 16])
    """

    action_size = 2

    def __init__(self, state_size: int = 16, hidden: int = 128, *, generator: Generator | None = None):
        super().__init__()
        self.code_size = state_size
        self.dots = DotEncoder(SIDE, state_size, generator)
        self.context = linear((SIDE // POOL) ** 2, 2 * hidden, generator=generator)
        self.predictor = GatedPredictor(state_size, 2, hidden, generator)

    def encode(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """The code of the dot, (B, S), and the context, (B, 2H), of observations (B, 2, 65, 65) uint8."""
        return self.dots(observation[:, 0]), self.see_walls(observation[:, 1])

    def encode_frames(self, observations: Tensor) -> tuple[Tensor, ModelState]:
        batch = len(observations)
        codes = self.dots(observations[:, :, 0].flatten(0, 1)).unflatten(0, (batch, -1))
        walls = self.see_walls(observations[:, 0, 1])  # which stay, so they are seen once
        return codes, (codes[:, 0], walls)

    def see_walls(self, walls: Tensor) -> Tensor:
        """The context of wall channels, (B, 65, 65) -> (B, 2H)."""
        pixels = walls.to(self.context.weight.dtype).unsqueeze(1) / 255
        return self.context(avg_pool2d(pixels, POOL).flatten(1))

    def step(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> ModelState:
        s, context = state
        return self.predictor(s, actions, context), context

    def rollout(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> Tensor:
        s, context = state
        if context.requires_grad:  # each row is to have its own gradient
            return super().rollout(state, actions)
        rooms, rows = torch.unique_consecutive(context, return_counts=True, dim=0)
        few = len(rooms) == 1 or (len(s) >= 4 * len(rooms) and bool((rows == rows[0]).all()))
        return self.predictor.rollout(s, actions, rooms) if few else super().rollout(state, actions)
