"""The planning energy: what a sequence of actions would cost, as the world model imagines it.

    E(observation, goal, actions) = C(rollout(enc(observation), actions), actions, enc(goal))

It is an energy of `actions` like any other: `minimize` over them is planning, with whichever method. What is
observed is encoded once a solve, however many sequences of actions are tried.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 3.1 (mode 2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ebm.energy import Energy, View
from ebm.world.model import Encode, Rollout, WorldModel


class TrajectoryEnergy(View):
    """A world model and costs as one energy of (observation, goal, actions).

    Variables of the cost other than `states`, `state`, `actions` and `goal` stay variables. If it has no
    `goal`, neither has this.

    Args:
        model: `encode` and `rollout` of a world.
        cost: an energy of `states` (B, T + 1, S) and any of `actions` (B, T, A), `goal`, `state`: a sum of
            the costs in `ebm.plan.costs`.
        latent: the name of a variable that the model's rollout takes too, "z"; None for none.
        risk: what becomes of the latent, a function from the energy with it to one without:
            `partial(marginal_over, latent="z", beta=0.0, by=nodes)` is the mean, beta = -inf the worst case;
            `partial(CVaR, latent="z", level=0.8, by=nodes)` the mean of the worst fifth.

    Attributes:
        imagined: the same energy of (state, goal, actions), both already encoded.
        cost: the energy of (states, actions, goal) as it was given.

    Raises:
        TypeError: if the model is no `WorldModel`, or the cost no energy of states or actions.

    Example:
        >>> import torch
        >>> from ebm import minimize
        >>> from ebm.infer import LBFGS
        >>> from ebm.plan import ActionPenalty, GoalDistance
        >>> from ebm.world import KnownDynamics
        >>> model = KnownDynamics(lambda s, a: s + a, action_size=2)
        >>> E = TrajectoryEnergy(model, GoalDistance("end") + 0.1 * ActionPenalty())
        >>> given = {"observation": torch.zeros(1, 2), "goal": torch.ones(1, 2)}
        >>> minimize(E, {"actions": torch.zeros(1, 5, 2)}, LBFGS(), given=given).value["actions"][0, 0]
        tensor([0.1992, 0.1992])
    """

    def __init__(
        self,
        model: WorldModel,
        cost: Energy,
        latent: str | None = None,
        risk: Callable[[Energy], Energy] | None = None,
    ):
        if not isinstance(model, WorldModel):
            raise TypeError(f"a trajectory is imagined by a WorldModel; got {model!r}.")
        if not isinstance(cost, Energy) or not {"states", "actions"} & set(cost.variables):
            raise TypeError(f"the cost is an energy of states or actions; got {cost!r}.")
        imagine = partial(_imagine, model=model, latent=latent, risk=risk)
        imagined = imagine(cost)
        encode = Encode(model)
        sources = {"state": "observation", "goal": "goal"}
        functions = {name: (encode, of) for name, of in sources.items() if name in imagined.variables}
        super().__init__(imagined, functions=functions)
        self.model, self.cost, self.imagined, self._imagine = model, cost, imagined, imagine

    def imagine(self, energy: Energy) -> Energy:
        """Another energy of states, such as a guardrail, on the path imagined here, and at the same risk."""
        return self._imagine(energy)


def _imagine(
    energy: Energy, model: WorldModel, latent: str | None, risk: Callable[[Energy], Energy] | None
) -> Energy:
    if "states" not in energy.variables:
        return energy
    path = ("state", "actions") if latent is None else ("state", "actions", latent)
    imagined = energy.compose(states=(Rollout(model), *path))
    return imagined if risk is None else risk(imagined)
