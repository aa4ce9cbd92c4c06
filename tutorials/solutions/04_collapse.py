# Solutions of chapter 04; a cell replaces the one with the same tags.

# %% tags=["exercise", "likely_volume"]
def likely_volume(energies: torch.Tensor, beta: float) -> torch.Tensor:
    log_w = torch.log_softmax(-beta * energies, 0)
    entropy = -(log_w.exp() * log_w).sum()
    return entropy.exp() / len(energies)


# %% tags=["exercise", "effective_rank"]
def effective_rank(z: torch.Tensor) -> torch.Tensor:
    sigma = torch.linalg.svdvals(z - z.mean(0))
    p = sigma / sigma.sum()
    return torch.special.entr(p).sum().exp()


# %% tags=["exercise", "joint_slope"]
def joint_slope(W: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    d = x @ W.T - y @ W.T  # (B, K)
    return 2 * d.T @ x / len(x)
