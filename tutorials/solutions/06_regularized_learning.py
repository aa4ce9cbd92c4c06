# Solutions of chapter 06; a cell replaces the one with the same tags.

# %% tags=["exercise", "ista_step"]
def ista_step(
    z: torch.Tensor, y: torch.Tensor, D: torch.Tensor, lam: float, step_size: float
) -> torch.Tensor:
    v = z - step_size * (z @ D - y) @ D.T  # (B, K)
    return v.sign() * (v.abs() - step_size * lam).clamp(min=0)


# %% tags=["exercise", "variational_free_energy"]
def variational_free_energy(
    y: torch.Tensor, g: torch.Tensor, sigma: float, m: torch.Tensor, log_s: torch.Tensor, beta: float
) -> torch.Tensor:
    variance = (2 * log_s).exp()  # s², (B,)
    error = (y - m[:, None] * g).square().sum(1) + variance * g.square().sum()
    information = 0.5 * (m**2 + variance - 1) - log_s
    return error / (2 * sigma**2) + beta * information


# %% tags=["exercise", "lloyd_step"]
def lloyd_step(y: torch.Tensor, C: torch.Tensor) -> torch.Tensor:
    nearest = torch.cdist(y, C).argmin(1)
    z = torch.nn.functional.one_hot(nearest, len(C)).to(y)  # (B, K)
    rows = z.sum(0).unsqueeze(1)  # (K, 1), how many chose each
    return torch.where(rows > 0, z.T @ y / rows.clamp(min=1), C)
