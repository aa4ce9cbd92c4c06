"""Every way in which a model with a latent can fail, made on purpose; bits where information is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from ebm import Energy, min_over, minimize
from ebm.infer import Enumerate
from ebm.infer.starts import Zeros
from ebm.measure.model_report import model_report
from ebm.regularized import LatentPredictor, SparseCoding
from ebm.regularized.exact import exactly
from ebm.solution import Solution, Stop
from ebm.testing import ContractError, check_collapse

CORNERS = torch.tensor([[-3.0, -3.0], [-3.0, 3.0], [3.0, -3.0], [3.0, 3.0]], dtype=torch.float64)


class Gaussian(Energy):
    """E(y, z) = |y - zW|² / (2σ²) + ½|z|², whose latent is known in closed form."""

    def __init__(self, loading: Tensor, noise: float):
        super().__init__()
        self.register_buffer("loading", loading)
        self.noise = noise

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        off = (y - z @ self.loading).square().sum(1) / self.noise**2
        return 0.5 * (off + z.square().sum(1))

    def infer(self, y: Tensor) -> Solution:
        eye = torch.eye(len(self.loading), dtype=y.dtype)
        hessian = self.loading @ self.loading.T / self.noise**2 + eye
        z = torch.linalg.solve(hessian, self.loading @ y.T / self.noise**2).T
        return exactly(z, self(y=y, z=z), Stop.GRADIENT)

    @property
    def free_energy(self) -> Energy:
        return Fitted(self)


class Fitted(Energy):
    """F(y) = E(y, z*)."""

    def __init__(self, model: Gaussian):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        return self.model.infer(y).energy


class Codebook(Energy):
    """E(y, z) = |y - c_z|² / (2σ²), or of something else than c_z."""

    def __init__(self, values: Tensor, noise: float = 1.0, heard: bool = True):
        super().__init__()
        self.register_buffer("values", values)
        self.noise, self.heard = noise, heard

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        said = self.values[z] if self.heard else self.values.mean(0)
        return (y - said).square().sum(1) / (2 * self.noise**2)

    def infer(self, y: Tensor) -> Solution:
        z = torch.cdist(y, self.values).argmin(1)
        return exactly(z, self(y=y, z=z), Stop.EXHAUSTED)

    @property
    def free_energy(self) -> Energy:
        return Fitted(self)  # type: ignore[arg-type]


def clusters(generator: Generator, n: int = 800) -> Tensor:
    return CORNERS.repeat(n // 4, 1) + 0.3 * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def test_a_choice_of_four_is_two_bits(generator: Generator) -> None:
    report = model_report(Codebook(CORNERS, 0.5), clusters(generator), generator=generator)
    assert report.verdict == "alive" and report.used == report.values == 4
    assert report.bits == pytest.approx(2.0) and report.perplexity == pytest.approx(4.0)
    # of three others two are 6 away and one 6√2: |6|² / (2 · 0.5²) = 72 and 144, less a row that is like it
    z = Codebook(CORNERS).infer(clusters(generator)).value
    assert isinstance(z, Tensor)
    assert 0.6 * 72 < report.gap < 1.4 * 72


def test_bits_are_the_mutual_information_of_a_gaussian_channel(generator: Generator) -> None:
    width, seen, noise = 3, 6, 0.4
    rotation = torch.linalg.qr(torch.randn(seen, width, generator=generator, dtype=torch.float64))[0].T
    loading = torch.tensor([2.0, 1.0, 0.3]).double().unsqueeze(1) * rotation
    z = torch.randn(200_000, width, generator=generator, dtype=torch.float64)
    y = z @ loading + noise * torch.randn(200_000, seen, generator=generator, dtype=torch.float64)
    expected = sum(0.5 * math.log2(1 + (scale / noise) ** 2) for scale in (2.0, 1.0, 0.3))
    report = model_report(Gaussian(loading, noise), y, points=500, generator=generator)
    assert report.bits == pytest.approx(expected, abs=4 * 3 / math.sqrt(200_000) / math.log(2))
    assert report.verdict == "alive"


def failures(g: Generator) -> list[tuple[str, object, Tensor]]:
    y = clusters(g)
    wide = torch.randn(600, 20, generator=g, dtype=torch.float64)
    line = wide[:, :1] * torch.ones(1, 20).double() + 0.01 * wide
    far = torch.cat([CORNERS, 50 + torch.arange(12).double().view(6, 2)])
    return [
        ("flat energy", 0.0 * Codebook(CORNERS), y),
        ("constant code", Codebook(torch.cat([0 * CORNERS[:1], 40 + CORNERS])), y),
        ("constant code", SparseCoding(torch.eye(2).double(), 1e3), y),
        ("latent ignored", Codebook(CORNERS, heard=False), y),
        ("latent carries everything", SparseCoding(torch.eye(2).double(), 1e-6), y),
        ("latent carries everything", Gaussian(1e3 * torch.eye(2).double(), 1.0), y),
        ("dimensional collapse", Gaussian(torch.eye(20).double(), 0.1), line),
        ("dead codes", Codebook(far, 0.5), y),
        ("alive", Codebook(CORNERS, 0.5), y),
    ]


class Weighted(Energy):
    """A model whose energy is multiplied."""

    def __init__(self, part: Codebook, weight: float):
        super().__init__()
        self.part, self.weight, self.values = part, weight, part.values

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return self.weight * self.part(y=y, z=z)

    def infer(self, y: Tensor) -> Solution:
        return self.part.infer(y)

    @property
    def free_energy(self) -> Energy:
        return self.weight * self.part.free_energy


def test_every_failure_is_told_from_the_others(generator: Generator) -> None:
    for verdict, model, y in failures(generator):
        if verdict == "flat energy":
            model = Weighted(Codebook(CORNERS), 0.0)
        report = model_report(model, y, generator=generator)  # type: ignore[arg-type]
        assert report.verdict == verdict, f"expected {verdict}\n{report}"
        assert report.numbers()["verdict"] == verdict and str(report).endswith(verdict)
        if verdict == "alive":
            check_collapse(model, y, generator=generator)  # type: ignore[arg-type]
        else:
            with pytest.raises(ContractError, match=verdict):
                check_collapse(model, y, generator=generator)  # type: ignore[arg-type]
            check_collapse(model, y, expected=verdict, generator=generator)  # type: ignore[arg-type]


def test_one_hot_codes_are_choices(generator: Generator) -> None:
    class Sum(torch.nn.Module):
        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return x + z @ CORNERS

    class Given(Energy):
        def __init__(self, part: LatentPredictor):
            super().__init__()
            self.part, self.values = part, part.values

        def forward(self, y: Tensor, z: Tensor) -> Tensor:
            return self.part(x=torch.zeros_like(y), y=y, z=z)

        def infer(self, y: Tensor) -> Solution:
            return minimize(self, Zeros(4), Enumerate(self.values), given={"y": y})

        @property
        def free_energy(self) -> Energy:
            return min_over(self, "z", Enumerate(self.values), Zeros(4))

    model = Given(LatentPredictor(Sum(), torch.eye(4).double(), 0.5))
    report = model_report(model, clusters(generator), generator=generator)
    assert (report.values, report.used) == (4, 4) and report.bits == pytest.approx(2.0)


def test_energies_without_a_latent_are_checked_too(generator: Generator) -> None:
    y = clusters(generator)
    F = Codebook(CORNERS, 0.5).free_energy
    check_collapse(F, y, generator=generator)
    with pytest.raises(ContractError, match="flat energy"):
        check_collapse(0 * F, y, generator=generator)
