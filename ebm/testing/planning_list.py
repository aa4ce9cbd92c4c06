"""The energies of plans and predictions on the list of energies, with a value for each variable."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.jepa.decoder import Decoding
from ebm.jepa.jepa import JEPA
from ebm.jepa.prediction import Prediction
from ebm.jepa.quasimetric import Quasimetric
from ebm.jepa.unrolled import UnrolledPrediction
from ebm.plan.collocation import VirtualStates
from ebm.plan.costs import ActionPenalty, Barrier, GoalDistance, LearnedCost, Smoothness, StageCost
from ebm.plan.disagreement import Disagreement
from ebm.plan.guardrails import Guardrail, KeepOut
from ebm.plan.trajectory import TrajectoryEnergy
from ebm.testing.examples import Example, randn
from ebm.world.ensemble import Ensemble
from ebm.world.known import KnownDynamics


def planning_energies() -> dict[str, tuple[Energy, Example]]:
    """Each energy with its example."""
    actions, states = {"actions": randn(4, 3, 2, seed=1)}, {"states": randn(4, 4, 2, seed=3)}
    here, goal = {"state": randn(4, 2)}, {"goal": randn(4, 2, seed=2)}
    virtual = VirtualStates(_world(1.0), 0.5, stop_gradient=False)
    ensemble = Ensemble([_world(speed) for speed in (0.5, 1.0, 2.0)])
    costs = GoalDistance("end") + 0.1 * ActionPenalty() + Disagreement(ensemble)
    distance = Quasimetric(2, 3, 4, 8, generator=torch.Generator().manual_seed(0)).double()
    frames = {"predicted": randn(4, 2, 3), "codes": randn(4, 3, 3, seed=1)}
    pair = {"s_x": randn(4, 2), "s_y": randn(4, 2, seed=1), "a": randn(4, 2, seed=2)}
    return {
        "ActionPenalty": (ActionPenalty(), actions),
        "Barrier": (Barrier(_height, margin=0.5), states),
        "Decoding": (Decoding(nn.Tanh()), {"code": randn(4, 3), "picture": randn(4, 3, seed=1)}),
        "Disagreement": (Disagreement(ensemble), {**here, **actions}),
        "GoalDistance": (GoalDistance(), {**states, **goal}),
        "Guardrail": (Guardrail(_height), states),
        "JEPA": (
            JEPA(nn.Tanh(), _Push(), conditions=("a",)),
            {"x": pair["s_x"], "y": pair["s_y"], "a": pair["a"]},
        ),
        "KeepOut": (KeepOut(torch.zeros(2, dtype=torch.float64), 1.0), states),
        "LearnedCost": (LearnedCost(distance), {**states, **goal}),
        "Prediction": (Prediction(_Push(), conditions=("a",)), pair),
        "Smoothness": (Smoothness(), actions),
        "StageCost": (StageCost(_effort), {**states, **actions}),
        "TrajectoryEnergy": (
            TrajectoryEnergy(ensemble, costs),
            {"observation": here["state"], **goal, **actions},
        ),
        "UnrolledPrediction": (UnrolledPrediction(), frames),
        "VirtualStates": (virtual, {**here, **goal, "states": states["states"][:, :2], **actions}),
    }


def _world(speed: float) -> KnownDynamics:
    return KnownDynamics(lambda s, a: torch.tanh(s + speed * a), action_size=2)


def _height(states: Tensor) -> Tensor:
    return states[..., 0].sin() + states[..., 1]


def _effort(states: Tensor, actions: Tensor) -> Tensor:
    return states[..., 0] + actions.square().sum(-1)


class _Push(nn.Module):
    """A predictor (B, S), (B, S) -> (B, S)."""

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        return torch.tanh(s + a)
