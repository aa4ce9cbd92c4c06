"""Plans made of primitives: a few short sequences of actions, put one after another.

    E(state, goal, surprises, choices) = Σ_t λ k(c_t) + |s_T - g|,    s_{t+1} = rollout(s_t, primitive c_t)

k is the length of a primitive; the last choice is to rest, which takes no time and changes nothing. With 12
headings held for 4 steps, 40 choices are a detour of 160 steps: what is left to search is a graph of places
(`GraphSearch`), not a tree of actions. An edge that has surprised, whose outcome was far from what had been
predicted, costs +inf: the model is wrong there, and a plan had better not rely on it again.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ebm.infer.method import positive
from ebm.plan.surprises import Surprises
from ebm.staged import Staged
from ebm.world.model import ModelState, WorldModel, moving


class PrimitivePlan(Staged):
    """The energy of a sequence of primitives: time, and the distance to the goal at the end.

    Its variables are `state`, `goal`, `surprises` and `choices`, (B, T) of n + 1 values.

    Args:
        model: a world model.
        primitives: (n, k, A) actions.
        time: λ >= 0, the cost of an action, in the units of the states.
        forget: an edge is forbidden if it began within this distance of one that surprised.

    Raises:
        ValueError: if the primitives aren't (n, k, A), or a setting is negative.

    Example:
        >>> from ebm import Choices, minimize
        >>> from ebm.infer import GraphSearch
        >>> from ebm.plan import no_surprise
        >>> from ebm.world import KnownDynamics
        >>> E = PrimitivePlan(KnownDynamics(lambda s, a: s + a, 2), headings(4, 1.0, 2), time=0.01)
        >>> given = {"state": torch.zeros(1, 2), "goal": torch.tensor([[4.0, 2.0]])}
        >>> given["surprises"] = no_surprise(1, 2)
        >>> plan = minimize(E, Choices(E.resting(1, 5), n=5), GraphSearch(0.5, good_enough=0.1), given=given)
        >>> plan.value, E.actions(plan.value).shape, round(plan.energy.item(), 3)
        (tensor([[0, 0, 1, 4, 4]]), torch.Size([1, 10, 2]), 0.06)
    """

    primitives: Tensor

    def __init__(self, model: WorldModel, primitives: Tensor, *, time: float = 0.0, forget: float = 0.0):
        super().__init__("choices")
        if primitives.ndim != 3 or primitives.shape[2] != model.action_size or not primitives.numel():
            raise ValueError(
                f"primitives are (n, k, {model.action_size}), n sequences of k actions; got "
                f"{tuple(primitives.shape)}."
            )
        self.model, self.rest = model, len(primitives)
        self.time = float(positive("time", time, zero=True))
        self.forget = float(positive("forget", forget, zero=True))
        pause = torch.zeros_like(primitives[:1])
        self.register_buffer("primitives", torch.cat([primitives, pause]))

    @property
    def held(self) -> int:
        """k, the actions in a primitive."""
        return self.primitives.shape[1]

    def start(  # type: ignore[override]  # its parameters name the variables
        self, state: ModelState, goal: ModelState, surprises: Surprises
    ) -> dict[str, Any]:
        return {"state": state, "goal": moving(goal), "surprises": surprises}

    def stage(self, state: dict[str, Any], choice: Tensor, t: int) -> tuple[Tensor, dict[str, Any]]:
        here, resting = state["state"], choice == self.rest
        if choice.device.type == "cpu" and bool(resting.all()):  # the end of most plans
            return torch.zeros_like(moving(here)[:, 0]), state
        after = self.predict(here, choice)
        s = torch.where(resting[:, None], moving(here), moving(after))
        cost = torch.where(
            resting,
            0.0,
            self.time * self.held + state["surprises"].cost(here, choice, self.forget),
        )
        return cost, {**state, "state": s if isinstance(here, Tensor) else (s, *here[1:])}

    def final(self, state: dict[str, Any]) -> Tensor:
        return torch.linalg.vector_norm(moving(state["state"]) - state["goal"], dim=1)

    def place(self, state: dict[str, Any]) -> Tensor:
        """Where a beginning leads to, for the measure of novelty, (B, S)."""
        return moving(state["state"])

    def predict(self, state: ModelState, choice: Tensor) -> ModelState:
        """The states after a primitive, choice (B,)."""
        for action in self.primitives[choice].unbind(1):
            state = self.model.step(state, action)
        return state

    def actions(self, choices: Tensor) -> Tensor:
        """The actions of sequences of choices, (B, T) -> (B, T k, A)."""
        return self.primitives[choices].flatten(1, 2)

    def choices(self, actions: Tensor) -> Tensor:
        """The primitives of which actions are made, (B, T k, A) -> (B, T); rest where it is none of them."""
        pieces = actions.unflatten(1, (-1, self.held)).unsqueeze(2)  # (B, T, 1, k, A)
        same = (pieces == self.primitives.to(actions.dtype)).flatten(3).all(3)  # (B, T, n + 1)
        return torch.where(same.any(2), same.to(torch.uint8).argmax(2), self.rest)

    def resting(self, batch: int, length: int) -> Tensor:
        """Plans that do nothing, (B, T) int64: where a search starts."""
        return torch.full((batch, length), self.rest, device=self.primitives.device)


def headings(count: int, speed: float, held: int) -> Tensor:
    """Primitives that go straight on, (count, held, 2): `held` actions of length `speed`, evenly around.

    Example:
        >>> headings(4, 2.0, 1)[:, 0].round(decimals=3).abs()
        tensor([[2., 0.],
                [0., 2.],
                [2., 0.],
                [0., 2.]])
    """
    if count < 1 or held < 1:
        raise ValueError(f"count and held are at least 1; got {count} and {held}.")
    angle = torch.arange(count) * (2 * math.pi / count)
    way = float(positive("speed", speed)) * torch.stack([angle.cos(), angle.sin()], 1)
    return way[:, None].repeat(1, held, 1)
