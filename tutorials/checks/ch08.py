"""Checks of chapter 08: the energy of a plan, the refit of the cross-entropy method, the receding horizon."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ebm.course import refuse, require, require_close, require_shape

Plan = Callable[[Tensor], Tensor]


def check_plan_energy(plan_energy: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """E = (1/T) Σ_{t=1..T} |s_t - g|², s_t = s_{t-1} + a_t."""
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        start, goal = torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g)
        actions = torch.randn(5, 4, 3, generator=g)
        path = [start]
        for t in range(4):
            path.append(path[-1] + actions[:, t])
        squares = torch.stack([(s - goal).square().sum(1) for s in path], 1)  # (5, 5): t = 0 to 4
        right, found = squares[:, 1:].mean(1), plan_energy(start, actions, goal)
        require_shape(found, (5,), "plan_energy")
        steps = (start[:, None] + actions - goal[:, None]).square().sum(2).mean(1)
        offsets = (actions.cumsum(1) - goal[:, None]).square().sum(2).mean(1)
        refuse(found, -right, "The sign is turned: a low energy is a good plan, so near to the goal is low.")
        refuse(
            found,
            steps,
            "The actions are not added up: s_t is the start plus the first t moves, not start plus move t.",
        )
        refuse(found, offsets, "The start is missing: s_t is the start plus the first t moves.")
        refuse(
            found,
            squares.mean(1),
            "The present state s_0 is in the mean; no action changes it: sum from t = 1.",
        )
        refuse(found, squares[:, -1], "This is the distance at the end alone; take the mean over t = 1 to T.")
        refuse(found, 4 * right, "1/T is missing: the mean over the steps, not the sum.")
        refuse(found, right / 3, "This is the mean over the coordinates, too; sum those.")
        refuse(found, squares[:, 1:].sqrt().mean(1), "These are distances; the energy has their squares.")
        require_close(found, right, "The energy differs from the mean over t = 1 to T of |s_t - goal|².")


def check_refit(refit: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Mean and standard deviation of the K plans of least energy, in each episode."""
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        plans, energies = torch.randn(3, 8, 4, 2, generator=g), torch.randn(3, 8, generator=g)

        def of(chosen: Tensor, correction: int = 0) -> Tensor:
            return torch.stack([chosen.mean(1), chosen.std(1, correction=correction)])

        def elite(by: Tensor, plans: Tensor = plans) -> Tensor:
            return torch.stack([p[e.sort().indices[:3]] for p, e in zip(plans, by, strict=True)])

        found, right, worst = refit(plans, energies, 3), of(elite(energies)), of(elite(-energies))
        require_shape(found, (2, 3, 4, 2), "refit")
        refuse(found, worst, "These are the worst plans: the elites have the LEAST energy.")
        over_episodes = plans[torch.arange(3)[:, None], energies.topk(3, dim=0, largest=False).indices]
        wrong_axis = (
            "The plans are ranked over the wrong axis: energies are (B, N), and the best of N tries are "
            "wanted for each of the B episodes (dim=1)."
        )
        refuse(found, of(over_episodes), wrong_axis)
        pooled = energies.mean(0).expand(3, 8)
        refuse(found, of(elite(pooled)), "All episodes have the same elites: each has its own best tries.")
        refuse(found, of(plans), "These are mean and width of all tries; only the elites count.")
        single = elite(energies)[:, :1]
        refuse(found[0], single[:, 0], "This is the best plan alone (argmin); refit to all the elites.")
        refuse(
            found,
            of(elite(energies), 1),
            "The standard deviation is divided by K - 1; here by K (correction=0).",
        )
        variance = torch.stack([right[0], right[1].square()])
        refuse(found, variance, "This is the variance; the width of the next tries is its root.")
        weights = torch.stack([right[1], right[0]])
        refuse(found, weights, "Mean and standard deviation are exchanged: the mean comes first.")
        require_close(found, right, "The result differs from mean and std of the K plans of least energy.")


def check_drive(drive: Callable[[Plan, Callable[[Tensor, Tensor], Tensor], Tensor, int], Tensor]) -> None:
    """Plan from where one is, do the first action, and again."""
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        start, goal, wind = (torch.randn(4, 2, generator=g) for _ in range(3))
        shares = torch.tensor([0.5, 0.25, 0.15, 0.1, 0.0])[:, None]  # of the way that is left, 5 actions

        def plan(state: Tensor, goal: Tensor = goal, shares: Tensor = shares) -> Tensor:
            return shares * (goal - state)[:, None]

        def step(state: Tensor, action: Tensor, wind: Tensor = wind) -> Tensor:
            return state + action + 0.3 * wind

        def go(
            which: Callable[[int, Tensor], Tensor], step: Callable = step, start: Tensor = start
        ) -> Tensor:
            states = [start]
            for t in range(4):
                states.append(step(states[-1], which(t, states[-1])))
            return torch.stack(states, 1)

        once, calls = plan(start), 0

        def counted(state: Tensor, plan: Plan = plan) -> Tensor:
            nonlocal calls
            calls += 1
            return plan(state)

        right, found = go(lambda t, s, plan=plan: plan(s)[:, 0]), drive(counted, step, start, 4)
        if isinstance(found, Tensor) and found.shape == (4, 4, 2):
            require(
                not torch.allclose(found, right[:, 1:]),
                "The start is missing: return steps + 1 states, the first is where it began.",
            )
        require_shape(found, (4, 5, 2), "drive")
        refuse(
            found,
            go(lambda t, s, once=once: once[:, t]),
            "This is open loop: one plan is made and all of it done. Plan again at every step, from where "
            "the world has led.",
        )
        refuse(
            found,
            go(lambda t, s, once=once: once[:, 0]),
            "Every step plans from the start; plan from the state that was reached last.",
        )
        refuse(
            found,
            go(lambda t, s, plan=plan: plan(s)[:, -1]),
            "The last action of the plan is done; do the first.",
        )
        refuse(
            found,
            go(lambda t, s, plan=plan: plan(s).mean(1)),
            "The mean of the planned actions is done; do the first one.",
        )
        refuse(
            found,
            go(lambda t, s, plan=plan: plan(s)[:, 0], lambda s, a: s + a),
            "The world is not asked: the next state is step(state, action), not state + action.",
        )
        require_close(found, right, "The states differ from planning anew, and doing the first action.")
        require(calls <= 4, f"{calls} plans were made in 4 steps; one a step is enough.")


CHECKS = {"plan_energy": check_plan_energy, "refit": check_refit, "drive": check_drive}
