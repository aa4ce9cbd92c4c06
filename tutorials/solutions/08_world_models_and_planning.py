# Solutions of chapter 08; a cell replaces the one with the same tags.

# %% tags=["exercise", "plan_energy"]
def plan_energy(start: torch.Tensor, actions: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    states = start[:, None] + actions.cumsum(1)  # (B, T, D), from s_1 on
    return (states - goal[:, None]).square().sum(2).mean(1)


# %% tags=["exercise", "refit"]
def refit(plans: torch.Tensor, energies: torch.Tensor, elites: int) -> torch.Tensor:
    best = energies.topk(elites, dim=1, largest=False).indices  # (B, K)
    chosen = plans[torch.arange(len(plans))[:, None], best]  # (B, K, T, A)
    return torch.stack([chosen.mean(1), chosen.std(1, correction=0)])


# %% tags=["exercise", "drive"]
def drive(plan, step, start: torch.Tensor, steps: int) -> torch.Tensor:
    states = [start]
    for _ in range(steps):
        actions = plan(states[-1])  # from where we are
        states.append(step(states[-1], actions[:, 0]))
    return torch.stack(states, 1)
