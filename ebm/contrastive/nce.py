"""Noise-contrastive estimation: learn to tell data from noise whose density is known.

    G(y) = log p_θ(y) - log p_n(y),        log p_θ = -E_θ - c,        ν points of noise for each of data
    L = -⟨log σ(G - log ν)⟩_data - ν ⟨log(1 - σ(G - log ν))⟩_noise

The best classifier of data against noise knows the ratio of their densities; p_n is known, so what is learned
is p. And c is not fixed by hand: pushed up by the data and down by the noise, it ends at log Z, exactly. The
model need not be normalized on the way.

What it costs: 1 + ν energies a row, no chain, no second derivative. When it fails: noise far from the data is
told apart by anything, and teaches nothing; noise must cover all data (p_n > 0) and look like them. The more
noise (ν), the nearer to maximum likelihood.

With p_θ = p_data = p_n: L = (1 + ν) log(1 + ν) - ν log ν. To leave out log ν would put it into c.

Reference: Gutmann & Hyvärinen (2012), "Noise-Contrastive Estimation of Unnormalized Statistical Models, with
Applications to Natural Image Statistics".
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebm.contrastive.points import Points, like_data, on_and_off
from ebm.energy import Energy
from ebm.infer.method import count
from ebm.loss import Loss, LossOutput
from ebm.signature import describe


class NCE(Loss):
    """The cross-entropy of telling data from noise, L = ⟨softplus(log ν - G)⟩ + ν⟨softplus(G - log ν)⟩.

    `loss.log_z` is the learned c, a parameter, which `fit` hands to the optimizer with those of the energy:
    -E - c is a log-density in nats. Terms: the energy on the data and on the noise, and "log Z", that is c.
    With other variables given, Z depends on them and one number c can't follow: an energy that is flexible
    enough then absorbs its own log Z.

    Args:
        noise: an energy of one variable, of which draws and log Z are known: a target (`ebm.targets.Gaussian`
            with mean and covariance of the data is the usual choice) or a model with `sample`, a flow for
            instance. It is not trained.
        ratio: ν >= 1, points of noise for each row of data.
        log_z: where c begins.
        noise_log_z: log Z of the noise, where it has no `log_z` of its own; 0 for a normalized density.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        TypeError: if the noise can't be drawn, or its density is not known for want of log Z; on a call, for
            data of more digits than the noise, or of whole numbers beside noise of real ones.
        ValueError: if the ratio isn't a positive integer; on a call, if the noise has another shape than the
            data, or density 0 at some of them.

    Example:
        >>> from ebm.targets import Gaussian
        >>> noise = Gaussian(torch.zeros(1))
        >>> loss = NCE(noise, log_z=noise.log_z)  # the model begins as the noise
        >>> g = torch.Generator().manual_seed(0)
        >>> round(loss(noise, g, y=torch.randn(8, 1, generator=g)).loss.item(), 5)  # 2 log 2
        1.38629
    """

    def __init__(
        self,
        noise: Energy,
        ratio: int = 1,
        *,
        log_z: float = 0.0,
        noise_log_z: float | None = None,
        variable: str = "y",
    ):
        super().__init__()
        if not isinstance(noise, Energy) or len(noise.variables) != 1:
            said = describe(noise) if isinstance(noise, Energy) else repr(noise)
            raise TypeError(f"noise is an energy of one variable, ebm.targets.Gaussian for instance; {said}.")
        known = getattr(noise, "log_z", None) if noise_log_z is None else noise_log_z
        if known is None:
            raise TypeError(
                f"NCE needs the density of the noise, and the log Z of {noise.label} is not known. Pass "
                f"noise_log_z=... (0 if exp(-E) is a density already), or take Gaussian or Mixture of "
                f"ebm.targets; losses that need no density: ConditionalNCE, ScoreMatching."
            )
        if not callable(_sampler(noise)):
            raise TypeError(
                f"NCE draws its noise, and {noise.label} has neither `exact_samples(n, generator)` nor "
                f"`sample(n, generator)`. Take Gaussian or Mixture of ebm.targets, or a flow."
            )
        self.noise, self.ratio, self.variable = noise, count("ratio", ratio), variable
        self.noise_log_z = float(known() if callable(known) else known)
        self.log_z = nn.Parameter(torch.tensor(float(log_z)))

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator, real=False)
        y, k = points.y, self.ratio
        draws = self.draw(len(y) * k, generator)
        noise = like_data(draws, y, self.noise.label).view(len(y), k, *y.shape[1:])
        both = torch.cat([y.unsqueeze(1), noise], 1)  # (B, 1 + ν, *shape)
        energies = points.energies(both)
        if torch.promote_types(draws.dtype, y.dtype) != draws.dtype:
            raise TypeError(
                f"the noise, {self.noise.label}, is {draws.dtype} and {self.variable!r} is {y.dtype}, whose "
                f"density would be rounded; convert the loss too: loss.to({y.dtype})."
            )
        density = self.log_density(both.flatten(0, 1), draws.shape[1:]).view_as(energies).to(energies)
        _refuse_uncovered(density, self.noise.label)
        odds = energies + (density + math.log(k)) + self.log_z.to(energies)  # log ν - G
        on_data, off_data = odds.split((1, k), 1)
        loss = softplus(on_data).mean() + k * softplus(-off_data).mean()
        terms = on_and_off(energies.detach()[:, 0], energies.detach()[:, 1:])
        return LossOutput(loss, {**terms, "log Z": self.log_z.detach().to(energies)})

    @torch.no_grad()
    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws of the noise, (n, *event)."""
        draws: Tensor = _sampler(self.noise)(n, generator)
        return draws

    @torch.no_grad()
    def log_density(self, y: Tensor, event: torch.Size | None = None) -> Tensor:
        """log p_n, (n,), of points (n, *shape); `event` is the shape that the noise knows them in."""
        shaped = y if event is None else y.reshape(len(y), *event)
        return -self.noise(**{self.noise.variables[0]: shaped}) - self.noise_log_z


def _sampler(noise: Energy) -> Any:
    """What draws from a target, or from a model; None where nothing does."""
    return getattr(noise, "exact_samples", getattr(noise, "sample", None))


def _refuse_uncovered(density: Tensor, who: str) -> None:
    """Refuse rows, (B, 1 + ν), whose first point has density 0."""
    if density.device.type == "cpu" and density.sum().item() > -math.inf:  # nearly always
        return
    rows = torch.isneginf(density[:, 0]).nonzero().flatten().tolist()
    if rows:
        raise ValueError(
            f"{who} has density 0 at {len(rows)} rows of the data, {rows[:5]}; there is nothing to tell "
            f"them from. Take noise that covers the data, a wider Gaussian."
        )
