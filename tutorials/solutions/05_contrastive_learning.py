# Solutions of chapter 05; a cell replaces the one with the same tags.

# %% tags=["exercise", "nce_loss"]
def nce_loss(
    E_data: torch.Tensor,
    E_noise: torch.Tensor,
    log_noise_data: torch.Tensor,
    log_noise_noise: torch.Tensor,
    c: torch.Tensor,
) -> torch.Tensor:
    ratio = E_noise.shape[1]  # ν
    on_data = -E_data - c - log_noise_data - math.log(ratio)
    on_noise = -E_noise - c - log_noise_noise - math.log(ratio)
    softplus = torch.nn.functional.softplus
    return softplus(-on_data).mean() + ratio * softplus(on_noise).mean()


# %% tags=["exercise", "contrastive_divergence"]
def contrastive_divergence(energy, y: torch.Tensor, noise: torch.Tensor, step_size: float) -> torch.Tensor:
    chain = y.detach().clone()
    for xi in noise:
        chain.requires_grad_()
        (slope,) = torch.autograd.grad(energy(chain).sum(), chain)
        chain = (chain - step_size * slope + math.sqrt(2 * step_size) * xi).detach()
    return energy(y).mean() - energy(chain).mean()


# %% tags=["exercise", "denoising_loss"]
def denoising_loss(energy, y: torch.Tensor, noise: torch.Tensor, sigma: float) -> torch.Tensor:
    spoilt = (y + sigma * noise).requires_grad_()
    (slope,) = torch.autograd.grad(energy(spoilt).sum(), spoilt, create_graph=True)
    target = noise / sigma  # (ỹ - y) / σ²
    return 0.5 * (slope - target).square().sum(1).mean()
