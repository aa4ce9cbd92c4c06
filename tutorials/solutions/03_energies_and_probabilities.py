# Solutions of chapter 03; a cell replaces the one with the same tags.

# %% tags=["exercise", "langevin_step"]
def langevin_step(
    y: torch.Tensor, gradient: torch.Tensor, step_size: float, beta: float, noise: torch.Tensor
) -> torch.Tensor:
    return y - step_size * gradient + math.sqrt(2 * step_size / beta) * noise


# %% tags=["exercise", "accept_chance"]
def accept_chance(
    energy, gradient, y: torch.Tensor, new: torch.Tensor, step_size: float, beta: float
) -> torch.Tensor:
    there = -beta * (new - y + step_size * gradient(y)).square().sum(1) / (4 * step_size)
    back = -beta * (y - new + step_size * gradient(new)).square().sum(1) / (4 * step_size)
    log_ratio = beta * (energy(y) - energy(new)) + back - there
    return log_ratio.exp().clamp(max=1)


# %% tags=["exercise", "log_z"]
def log_z(energies: torch.Tensor, volume: float, beta: float) -> torch.Tensor:
    return torch.logsumexp(-beta * energies, 0) - math.log(len(energies)) + math.log(volume)
