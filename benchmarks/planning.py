"""Two planning problems, and the loop in which a planner is scored on them; shared by the planners compared.

    a_t = command(s_t),   s_{t+1} = f(s_t, a_t),   total = Σ_{t<20} c(s_{t+1}, a_t)

A point mass with an obstacle in its way, and a random network of 3 layers as a world model. float32, CPU.
Both sides call the same step f and the same cost c, and know nothing else of the problem.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import mean

import torch
from torch import Tensor

from ebm import Energy

COMMANDS = 20


class World:
    """A step and a cost over any leading dimensions; actions lie in [-1, 1]."""

    horizon: int
    actions: int
    start: Tensor

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """The next state, (..., S)."""
        raise NotImplementedError

    def cost(self, state: Tensor, action: Tensor) -> Tensor:
        """What it costs to have come to a state by an action, (...)."""
        raise NotImplementedError


class PointMass(World):
    """A mass is pushed to a goal 3 m away, around a disk of which it must not come nearer than 5 cm."""

    horizon, actions = 30, 2

    def __init__(self) -> None:
        self.start = torch.tensor([-1.5, 0.0, 0.0, 0.0])
        self.goal, self.center, self.radius = torch.tensor([1.5, 0.0]), torch.tensor([0.0, 0.05]), 0.5
        self.dt = 0.2

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        place, speed = state[..., :2], state[..., 2:]
        faster = speed + self.dt * action.clamp(-1, 1)
        return torch.cat([place + self.dt * (speed + faster) / 2, faster], -1)

    def cost(self, state: Tensor, action: Tensor) -> Tensor:
        place, speed = state[..., :2], state[..., 2:]
        too_near = torch.relu(self.radius + 0.05 - (place - self.center).norm(dim=-1))
        away, fast = (place - self.goal).square().sum(-1), speed.square().sum(-1)
        return away + 0.1 * fast + 0.01 * action.square().sum(-1) + 500 * too_near**2


class Network(World):
    """A random network moves 32 numbers; the goal is where a hidden smooth sequence of actions leads."""

    horizon, actions = 20, 2

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(0)

        def weight(outputs: int, inputs: int) -> Tensor:
            return torch.randn(outputs, inputs, generator=g) / math.sqrt(inputs)

        self.w1 = weight(256, 34)
        self.w1[:, 32:] *= 6  # so that actions matter
        self.b1 = torch.randn(256, generator=g) * 0.1
        self.w2 = weight(256, 256)
        self.b2 = torch.randn(256, generator=g) * 0.1
        self.w3 = weight(32, 256)
        self.start = torch.randn(32, generator=g) * 0.3
        t = torch.arange(20) / 20
        hidden = 0.9 * torch.stack([torch.sin(2 * math.pi * t + 0.5), torch.cos(math.pi * t)], -1)
        self.goal = self.start
        for action in hidden:
            self.goal = self.step(self.goal, action)

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        inputs = torch.cat([state, action.clamp(-1, 1)], -1)
        h = torch.tanh(torch.nn.functional.linear(inputs, self.w1, self.b1))
        h = torch.tanh(torch.nn.functional.linear(h, self.w2, self.b2))
        return 0.98 * state + 0.15 * torch.tanh(torch.nn.functional.linear(h, self.w3))

    def cost(self, state: Tensor, action: Tensor) -> Tensor:
        return (state - self.goal).square().sum(-1) + 0.001 * action.square().sum(-1)


class Plan(Energy):
    """E(state, actions) = Σ_t c(s_{t+1}, a_t) along s_{t+1} = f(s_t, a_t); the costs are taken at once."""

    def __init__(self, world: World):
        super().__init__()
        self.world = world

    def forward(self, state: Tensor, actions: Tensor) -> Tensor:
        states = []
        for action in actions.unbind(1):
            state = self.world.step(state, action)
            states.append(state)
        return self.world.cost(torch.stack(states, 1), actions).sum(1)


def closed_loop(world: World, command: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """The total cost of 20 commands, and the mean CPU time of one, the first included, in seconds."""
    state, total, seconds = world.start, 0.0, []
    for _ in range(COMMANDS):
        begun = time.process_time()
        action = command(state)
        seconds.append(time.process_time() - begun)
        state = world.step(state, action)
        total += float(world.cost(state, action))
    return total, mean(seconds)
