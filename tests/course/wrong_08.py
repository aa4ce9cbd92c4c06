"""Wrong answers to chapter 08: (exercise, what stands in the solution, what to put there, the message)."""

WRONG = [
    ("plan_energy", "return (", "return -(", "sign is turned"),
    ("plan_energy", "actions.cumsum(1)", "actions", "not added up"),
    ("plan_energy", "start[:, None] + actions", "actions", "start is missing"),
    (
        "plan_energy",
        "start[:, None] + actions.cumsum(1)",
        "start[:, None] + torch.cat([0 * actions[:, :1], actions.cumsum(1)], 1)",
        "present state",
    ),
    ("plan_energy", ".sum(2).mean(1)", ".sum(2)[:, -1]", "at the end alone"),
    ("plan_energy", ".sum(2).mean(1)", ".sum(2).sum(1)", "1/T is missing"),
    ("plan_energy", ".sum(2).mean(1)", ".mean(2).mean(1)", "mean over the coordinates"),
    ("plan_energy", ".sum(2).mean(1)", ".sum(2).sqrt().mean(1)", "has their squares"),
    ("refit", "largest=False", "largest=True", "worst plans"),
    ("refit", "dim=1", "dim=0", "wrong axis"),
    (
        "refit",
        "energies.topk(elites, dim=1, largest=False).indices",
        "energies.mean(0).topk(elites, largest=False).indices.expand(len(plans), -1)",
        "same elites",
    ),
    ("refit", "topk(elites,", "topk(energies.shape[1],", "only the elites count"),
    ("refit", "chosen.mean(1)", "plans[torch.arange(len(plans)), energies.argmin(1)]", "argmin"),
    ("refit", ", correction=0", "", "divided by K - 1"),
    ("refit", "chosen.std(", "chosen.var(", "variance"),
    ("drive", "plan(states[-1])", "plan(start)", "from the start"),
    ("drive", "actions[:, 0]", "actions[:, -1]", "last action"),
    ("drive", "actions[:, 0]", "actions.mean(1)", "mean of the planned"),
    ("drive", "step(states[-1], actions[:, 0])", "states[-1] + actions[:, 0]", "world is not asked"),
    ("drive", "torch.stack(states, 1)", "torch.stack(states[1:], 1)", "start is missing"),
    (
        "drive",
        "    for _ in range(steps):\n        actions = plan(states[-1])  # from where we are\n"
        "        states.append(step(states[-1], actions[:, 0]))",
        "    actions = plan(start)\n    for t in range(steps):\n"
        "        states.append(step(states[-1], actions[:, t]))",
        "open loop",
    ),
]
