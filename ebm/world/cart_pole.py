"""A cart that is pushed left or right under a pole that is not to fall.

    h = (F + m l ω² sin θ) / M,   ω̇ = (g sin θ - h cos θ) / (l (4/3 - m cos² θ / M))
    v̇ = h - m l ω̇ cos θ / M
    (x, v, θ, ω) <- (x + v dt, v + v̇ dt, θ + ω dt, ω + ω̇ dt),        F = ±10,  dt = 0.02

with pole m = 0.1 and l = 0.5 (half its length), cart and pole M = 1.1, g = 9.8. It is over when the cart is
farther than 2.4 from the middle or the pole leans by more than 12°; every step until then costs -1.

Reference: Barto, Sutton & Anderson (1983), "Neuronlike adaptive elements ..."; gymnasium's CartPole-v1, with
which it agrees step for step; written from its equations.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ebm.regularizers import Box
from ebm.world.shapes import BLUE, DARK, LIGHT, VERMILION, Pictures
from ebm.world.world import State, World

GRAVITY, POLE, CART, HALF_LENGTH, FORCE, DT = 9.8, 0.1, 1.0, 0.5, 10.0, 0.02
TOTAL = CART + POLE
MAX_ANGLE, MAX_X = 12 * 2 * math.pi / 360, 2.4
HEIGHT, WIDTH, SCALE, TRACK = 96, 192, 40, 72  # of a picture; pixels per unit; the row of the track


class CartPole(World):
    """The world of cart and pole; its state holds "state", (B, 4): x, its speed, the pole's angle, its speed.

    There are two actions, -1 (left) and 1 (right); of other numbers the sign counts, and 0 is left. An
    episode begins with four numbers drawn evenly from [-0.05, 0.05].

    Args:
        steps: length of an episode.

    Raises:
        ValueError: if steps isn't positive.

    Example:
        >>> world, state = CartPole(), {"state": torch.zeros(2, 4)}
        >>> state = world.step(state, torch.tensor([[-1.0], [0.3]]))
        >>> state["state"]
        tensor([[ 0.0000, -0.1951,  0.0000,  0.2927],
                [ 0.0000,  0.1951,  0.0000, -0.2927]])
        >>> world.cost(state, torch.ones(2, 1)), world.ended(state)
        (tensor([-1., -1.]), tensor([False, False]))
    """

    action_size = 1
    choices = 2

    def __init__(self, *, steps: int = 500):
        if steps < 1:
            raise ValueError(f"steps is positive; got {steps}.")
        self.steps = steps

    @property
    def bounds(self) -> Box:
        return Box("actions", -1.0, 1.0)

    def reset(
        self,
        batch: int,
        generator: Generator | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        u = torch.rand(batch, 4, generator=generator, device=device, dtype=dtype)
        return {"state": 0.1 * u - 0.05}

    def move(self, state: State, actions: Tensor, generator: Generator | None) -> State:
        return {**state, "state": self.dynamics(state["state"], actions)}

    def dynamics(self, state: Tensor, actions: Tensor) -> Tensor:
        """The next state as a differentiable function, (..., 4), (..., 1) -> (..., 4).

        Here actions are any share of the force, from -1 to 1, so that gradients with respect to them exist.
        """
        x, speed, angle, turn = state.unbind(-1)
        sin, cos = angle.sin(), angle.cos()
        force = FORCE * actions[..., 0].clamp(-1, 1)
        held = (force + POLE * HALF_LENGTH * turn**2 * sin) / TOTAL
        turning = (GRAVITY * sin - cos * held) / (HALF_LENGTH * (4.0 / 3.0 - POLE * cos**2 / TOTAL))
        pushed = held - POLE * HALF_LENGTH * turning * cos / TOTAL
        return torch.stack([x + DT * speed, speed + DT * pushed, angle + DT * turn, turn + DT * turning], -1)

    def observe(self, state: State) -> Tensor:
        return state["state"].clone()

    def ended(self, state: State) -> Tensor:
        """Whether the cart is out of its range or the pole has fallen, (B,) bool."""
        x, _, angle, _ = state["state"].unbind(-1)
        return (x.abs() > MAX_X) | (angle.abs() > MAX_ANGLE)

    def cost(self, state: State, actions: Tensor) -> Tensor:
        """-1 for a step that begins before the end, 0 after it, (B,)."""
        return torch.where(self.ended(state), 0.0, -1.0).to(state["state"])

    def frames(self, state: State) -> Tensor:
        x, _, angle, _ = state["state"].float().unbind(-1)
        pictures = Pictures(len(x), HEIGHT, WIDTH, x.device)
        cart = torch.stack([(WIDTH - 1) / 2 + SCALE * x, torch.full_like(x, TRACK)], 1)
        pictures.box(cart.new_tensor([[(WIDTH - 1) / 2, TRACK]]), WIDTH, 1.0, LIGHT)
        pictures.box(cart, 16.0, 10.0, DARK)
        top = cart + 2 * HALF_LENGTH * SCALE * torch.stack([angle.sin(), -angle.cos()], 1)
        pictures.line(cart, top, 2.0, VERMILION)
        pictures.disc(cart, 1.5, BLUE)
        return pictures.frames()
