"""Wrong answers to chapter 05: (exercise, what stands in the solution, what to put there, the message)."""

STEP = """(slope,) = torch.autograd.grad(energy(chain).sum(), chain)
        chain = (chain - step_size * slope + math.sqrt(2 * step_size) * xi).detach()"""
THROUGH = """(slope,) = torch.autograd.grad(energy(chain).sum(), chain, create_graph=True)
        chain = chain - step_size * slope + math.sqrt(2 * step_size) * xi"""

WRONG = [
    (
        "nce_loss",
        "softplus(-on_data).mean() + ratio * softplus(on_noise)",
        "softplus(on_data).mean() + ratio * softplus(-on_noise)",
        "phases are exchanged",
    ),
    ("nce_loss", " - math.log(ratio)", "", "log ν is missing"),
    ("nce_loss", "ratio * softplus", "softplus", "counts too little"),
    ("nce_loss", " - c", " + c", "sign of c"),
    ("nce_loss", "= -E", "= E", "sign of the energy"),
    ("nce_loss", ".mean()", ".sum()", "1/B is missing|differs from"),
    ("nce_loss", "ratio = ", "log_noise_data = log_noise_noise = 0.0\n    ratio = ", "density is missing"),
    ("contrastive_divergence", STEP, THROUGH, "differentiates through the chain"),
    (
        "contrastive_divergence",
        "energy(y).mean() - energy(chain).mean()",
        "energy(chain).mean() - energy(y).mean()",
        "phases are exchanged",
    ),
    ("contrastive_divergence", "math.sqrt(2 * step_size)", "math.sqrt(step_size)", "√ε"),
    ("contrastive_divergence", "chain - step_size", "chain + step_size", "uphill"),
    ("contrastive_divergence", "energy(chain).mean()", "energy(chain).mean().detach()", "negative phase"),
    ("contrastive_divergence", "chain = y.detach().clone()", "chain = y", "copy of it"),
    ("contrastive_divergence", "in noise", "in noise[:1]", "one step only"),
    ("denoising_loss", "noise / sigma ", "sigma * noise ", "1/σ² is missing"),
    ("denoising_loss", "slope - target", "slope + target", "sign of the target"),
    ("denoising_loss", "0.5 * ", "", "factor ½"),
    ("denoising_loss", ".sum(1).mean()", ".mean()", "mean over the coordinates"),
    ("denoising_loss", ", create_graph=True", "", "create_graph"),
    ("denoising_loss", "(y + sigma * noise)", "y.clone()", "at the data"),
]
