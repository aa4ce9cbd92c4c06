"""Contraction as a term: the Jacobian it charges for, how that is found, the auto-encoder that is its sum."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from ebm import minimize
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.infer import LBFGS
from ebm.nets import mlp
from ebm.regularized import ContractiveAutoEncoder, Reconstruction, SigmoidEncoder
from ebm.regularizers import L2, Contraction, squared_jacobian

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def smooth(*sizes: int, seed: int = 1) -> nn.Sequential:
    return mlp(*sizes, activation=nn.Tanh, generator=seeded(seed)).double()


def by_autograd(f: nn.Module, y: Tensor) -> Tensor:
    rows = [torch.autograd.functional.jacobian(lambda u: f(u[None])[0], row) for row in y]
    return torch.stack([row.square().sum() for row in rows])


def test_it_is_the_squared_norm_of_the_jacobian() -> None:
    f, y = smooth(3, 6, 4), draw(5, 3)
    energy = Contraction(f, "y")
    assert energy.variables == ("y",)
    torch.testing.assert_close(energy(y=y), by_autograd(f, y))
    torch.testing.assert_close(energy.cost(y), by_autograd(f, y))
    image = nn.Sequential(nn.Flatten(), smooth(6, 5), nn.Unflatten(1, (5, 1)))
    y = draw(5, 2, 3)
    torch.testing.assert_close(Contraction(image, "y")(y=y), by_autograd(image, y))
    linear = nn.Linear(3, 7).double()
    expected = linear.weight.square().sum().expand(4)
    torch.testing.assert_close(Contraction(linear, "s")(s=draw(4, 3)), expected)


def test_a_closed_form_is_taken_where_the_map_offers_one() -> None:
    encoder, y = SigmoidEncoder(5, 7, generator=seeded()).double(), draw(4, 5).requires_grad_()
    energy = Contraction(encoder, "y", probes=1, size=7)
    assert energy.training
    torch.testing.assert_close(energy(y=y), by_autograd(encoder, y.detach()))  # exact, so not probed
    general = squared_jacobian(encoder, y)
    parameters = [y, *encoder.parameters()]
    slopes = torch.autograd.grad(energy(y=y).sum(), parameters)
    for slope, expected in zip(slopes, torch.autograd.grad(general.sum(), parameters), strict=True):
        torch.testing.assert_close(slope, expected)

    class Told(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            return 3 * y

        def squared_jacobian(self, y: Tensor) -> Tensor:
            return y.new_full((len(y),), 42.0)

    assert Contraction(Told(), "y")(y=draw(2, 3)).tolist() == [42.0, 42.0]


def test_random_signs_are_without_bias_in_training_and_not_used_otherwise() -> None:
    f, rows, y = smooth(3, 6, 4), 40_000, draw(1, 3)
    energy, exact = Contraction(f, "y", probes=2, size=4), by_autograd(f, y)
    with torch.no_grad():
        values = energy.bind({"y": y.expand(rows, 3)}, seeded(3))()
        spread = float(values.std()) / math.sqrt(rows)
        assert spread > 0 and abs(float(values.mean() - exact)) < 4 * spread
        again = energy.bind({"y": y.expand(rows, 3)}, seeded(3))()
        assert torch.equal(again, values)
    torch.testing.assert_close(energy.eval()(y=y), exact)


@pytest.mark.parametrize("of", ["code", "reconstruction"])
@pytest.mark.parametrize("encoder", ["network", "sigmoid"])
def test_an_auto_encoder_plus_contraction_is_the_contractive_auto_encoder(of: str, encoder: str) -> None:
    f = smooth(3, 6, 4) if encoder == "network" else SigmoidEncoder(3, 4, generator=seeded()).double()
    g, y = smooth(4, 6, 3, seed=2), draw(5, 3).requires_grad_()
    r = nn.Sequential(f, g)
    moved = f if of == "code" else r
    total = AutoEncoder(r) + 0.7 * Contraction(moved, "y")
    model = ContractiveAutoEncoder(f, g, 0.7, of=of)  # type: ignore[arg-type]
    torch.testing.assert_close(model(y=y), total(y=y))
    expected = (y - g(f(y))).square().sum(1) + 0.7 * by_autograd(moved, y.detach())
    torch.testing.assert_close(model(y=y), expected)
    parameters = [y, *r.parameters()]
    slopes = torch.autograd.grad(model(y=y).sum(), parameters)
    for slope, other in zip(slopes, torch.autograd.grad(total(y=y).sum(), parameters), strict=True):
        torch.testing.assert_close(slope, other)
    terms = model.terms(y=y)
    assert set(terms) == {"AutoEncoder", "Contraction"}
    torch.testing.assert_close(terms["Contraction"], 0.7 * by_autograd(moved, y.detach()))


def test_what_the_contractive_auto_encoder_shows_of_its_parts() -> None:
    f, g, y = smooth(3, 6, 4), smooth(4, 6, 3, seed=2), draw(5, 3)
    model = ContractiveAutoEncoder(f, g, 0.7, probes=2, size=4)
    assert model.encoder is f and model.decoder is g and model.contraction == 0.7 and model.of == "code"
    torch.testing.assert_close(model.reconstruct(y), g(f(y)))
    assert {id(p) for p in model.parameters()} == {id(p) for p in [*f.parameters(), *g.parameters()]}
    other = copy.deepcopy(model)
    assert other.encoder is not f
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.eval()(y=y), model.eval()(y=y))
    model.train()
    loss = Denoising(Gaussian(0.1))(model, seeded(), y=y).loss  # its network may see y spoilt
    assert torch.isfinite(loss)


def test_it_adds_to_any_energy_of_its_variable() -> None:
    """With a quadratic map ½u², |J|² = |u|², so that contraction pulls as L2 does, twice as hard."""

    class Half(nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            return 0.5 * u.square()

    dictionary, y, start = draw(4, 6), draw(3, 6, seed=1), torch.zeros(3, 4, dtype=DOUBLE)
    one, other = (
        minimize(Reconstruction(dictionary) + term, start, LBFGS(), given={"y": y}, tol=1e-9).value
        for term in (0.3 * Contraction(Half(), "z"), 0.6 * L2("z"))
    )
    torch.testing.assert_close(one, other, atol=1e-7, rtol=0)
    assert one.norm() > 0.1


def test_bad_settings_are_told() -> None:
    f = nn.Identity()
    with pytest.raises(ValueError, match="probes need the size of what they probe"):
        Contraction(f, "y", probes=2)
    with pytest.raises(ValueError, match="probes must be an integer of at least 1, or None; got 0"):
        Contraction(f, "y", probes=0, size=3)
    with pytest.raises(ValueError, match=r"size must be an integer of at least 1, or None; got 2\.0"):
        Contraction(f, "y", probes=1, size=2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Contraction needs the name of its variable"):
        Contraction(f, "")
    with pytest.raises(ValueError, match=r"probes are \(2, n, 3\).*`size` of a Contraction"):
        Contraction(f, "y", probes=2, size=5)(y=draw(2, 3))
