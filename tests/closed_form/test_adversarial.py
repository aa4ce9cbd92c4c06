"""Adversarial losses: two gradients from one pass, the equilibrium of EBGAN, the distance of Wasserstein."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy
from ebm.contrastive import EBGAN, WGAN, Adversarial, AutoEncoder, pulling_away
from ebm.infer.starts import Normal, Uniform
from ebm.loss import OFF_DATA, ON_DATA
from ebm.nets import mlp
from ebm.targets import Mixture
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


class Net(Energy):
    """A network of points of the plane."""

    def __init__(self, seed: int = 0, width: int = 16):
        super().__init__()
        self.net = mlp(2, width, width, 1, activation=nn.SiLU, generator=seeded(seed)).double()

    def forward(self, y: Tensor) -> Tensor:
        return self.net(y).squeeze(1)


def network(seed: int = 1, width: int = 16) -> nn.Module:
    return mlp(3, width, 2, activation=nn.SiLU, generator=seeded(seed)).double()


def auto_encoder(seed: int = 2) -> tuple[AutoEncoder, nn.Module]:
    f, g = mlp(2, 8, 3, generator=seeded(seed)).double(), mlp(3, 8, 2, generator=seeded(seed + 1)).double()
    return AutoEncoder(nn.Sequential(f, g)), f


@pytest.mark.parametrize("kind", ["WGAN", "EBGAN", "EBGAN with codes"])
def test_one_backward_pass_gives_each_its_own_gradient(kind: str) -> None:
    """Those of two backward passes, each with the other's parameters held."""
    y = draw(12, 2, seed=5)
    E, encoder = (Net(), None) if kind == "WGAN" else auto_encoder()
    G = network()
    codes = encoder if kind == "EBGAN with codes" else None
    loss = (
        WGAN(G, Normal(3), 10.0, every=1)
        if kind == "WGAN"
        else EBGAN(G, Normal(3), 2.0, encoder=codes, pulling_away=0.5)
    )
    output = loss(E, seeded(6), y=y)
    theta, phi = list(E.parameters()), list(G.parameters())
    came = torch.autograd.grad(output.loss, [*theta, *phi])

    generator = seeded(6)
    made = G(torch.randn(12, 3, generator=generator, dtype=DOUBLE))
    v = made.detach()
    if kind == "WGAN":
        u = torch.rand(12, generator=generator, dtype=DOUBLE).unsqueeze(1)
        w = (v + u * (y - v)).requires_grad_()
        (slope,) = torch.autograd.grad(E(y=w).sum(), w, create_graph=True)
        critic = E(y=y).mean() - E(y=v).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
    else:
        critic = E(y=y).mean() + (2.0 - E(y=v)).clamp(min=0).mean()
    maker = E(y=made).mean()
    if codes is not None:
        s = codes(made)
        cosines = torch.nn.functional.cosine_similarity(s.unsqueeze(0), s.unsqueeze(1), dim=2)
        maker = maker + 0.5 * cosines[~torch.eye(12, dtype=torch.bool)].square().mean()
    expected = [*torch.autograd.grad(critic, theta), *torch.autograd.grad(maker, phi)]
    for gradient, right in zip(came, expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-10, atol=1e-12)
        assert bool(gradient.any()) or gradient.numel() == 1  # E's own bias moves nothing
    torch.testing.assert_close(output.loss, critic + maker)
    torch.testing.assert_close(output.terms["energy's loss"], critic.detach())
    torch.testing.assert_close(output.terms["network's loss"], maker.detach())
    torch.testing.assert_close(output.gap, (E(y=v).mean() - E(y=y).mean()).detach())


def test_the_network_waits_for_its_turn() -> None:
    E, loss = Net(), WGAN(network(), Normal(3), every=3)
    learned = []
    for _ in range(6):
        loss.zero_grad()
        loss(E, seeded(), y=draw(4, 2)).loss.backward()
        learned.append(next(loss.network.parameters()).grad is not None)
    assert learned == [False, False, True, False, False, True]
    assert int(loss.state_dict()["calls"]) == 6  # so that a checkpoint goes on in the same place
    loss.eval()(E, seeded(), y=draw(4, 2))
    assert int(loss.calls) == 6


def test_an_energy_of_answers_has_a_network_that_reads_the_question() -> None:
    @energy
    def fits(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().sum(1)

    class Reader(nn.Linear):
        def forward(self, noise: Tensor, x: Tensor) -> Tensor:
            return super().forward(torch.cat([noise, x], 1))

    loss = WGAN(Reader(3, 2, dtype=DOUBLE), Uniform(1), 0.0, reads=["x"], every=1)
    x, y = draw(5, 2), draw(5, 2, seed=1)
    output = loss(fits, seeded(3), x=x, y=y)
    noise = torch.rand(5, 1, generator=seeded(3), dtype=DOUBLE)
    made = loss.network(noise, x)
    assert float(output.terms[OFF_DATA]) == pytest.approx(fits(x=x, y=made).mean().item())
    assert float(output.terms[ON_DATA]) == pytest.approx(float(fits(x=x, y=y).mean()))


# --- EBGAN --------------------------------------------------------------------------------------------------


class Table(Energy):
    """A free energy, never below 0, for each of K points 0, 1, ... of a line."""

    def __init__(self, values: Tensor):
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, y: Tensor) -> Tensor:
        return self.values[y[:, 0].round().long()]


class Places(nn.Module):
    """Sends uniform noise to points 0, 1, ... with given probabilities."""

    def __init__(self, probability: Tensor):
        super().__init__()
        self.edges = probability.cumsum(0)[:-1]

    def forward(self, noise: Tensor) -> Tensor:
        return torch.bucketize(noise, self.edges).to(noise)


def test_the_best_energy_is_0_where_data_are_denser_and_the_margin_where_made_points_are() -> None:
    """Lemma 1: minimize ⟨E⟩_p + ⟨[m - E]₊⟩_q over a table with E >= 0, p and q of four points."""
    p, q = (torch.tensor(v, dtype=DOUBLE) for v in ([0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]))
    E, loss = Table(torch.full((4,), 0.8, dtype=DOUBLE)), EBGAN(Places(q), Uniform(1), margin=1.5)
    g = seeded()
    y = torch.multinomial(p, 20_000, replacement=True, generator=g).double().unsqueeze(1)
    for _ in range(60):
        E.zero_grad()
        output = loss(E, g, y=y)
        output.loss.backward()
        with torch.no_grad():
            E.values -= 0.3 * E.values.grad
            E.values.clamp_(0.0)
    assert bool((E.values[:2] < 0.05).all()) and bool(((E.values[2:] - 1.5).abs() < 0.1).all())
    least = 1.5 * float(torch.minimum(p, q).sum())
    assert float(loss(E, g, y=y).terms["energy's loss"]) == pytest.approx(least, abs=0.05)


def test_at_the_equilibrium_the_energy_is_flat_and_its_loss_is_the_margin() -> None:
    """q = p and E = γ everywhere, γ in [0, m]: the loss is m whatever γ, and no slope is left."""
    p = torch.tensor([0.25, 0.25, 0.5], dtype=DOUBLE)
    noise = torch.rand(4000, 1, generator=seeded(3), dtype=DOUBLE)
    y = Places(p)(noise)  # exactly as many of each as are made from the same draws
    for level in (0.0, 0.6, 2.0):
        E = Table(torch.full((3,), level, dtype=DOUBLE))
        output = EBGAN(Places(p), Uniform(1), margin=2.0)(E, seeded(3), y=y)
        assert float(output.terms["energy's loss"]) == pytest.approx(2.0, abs=1e-12)
        if 0 < level < 2:
            output.loss.backward()
            assert float(E.values.grad.abs().max()) < 1e-12


def test_pulling_away_is_the_mean_squared_cosine_of_pairs() -> None:
    codes = draw(6, 4, seed=4)
    pairs = [
        float(torch.dot(a, b) / (a.norm() * b.norm())) ** 2
        for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j
    ]  # fmt: skip
    assert float(pulling_away(codes)) == pytest.approx(sum(pairs) / 30)
    assert float(pulling_away(torch.ones(5, 3, dtype=DOUBLE))) == pytest.approx(1.0)
    assert float(pulling_away(torch.eye(5, dtype=DOUBLE))) == 0.0
    with pytest.raises(ValueError, match="at least two"):
        pulling_away(codes[:1])


# --- WGAN ---------------------------------------------------------------------------------------------------


class Slope(Energy):
    """E(y) = s ⟨a, y⟩ with |a| = 1: a critic between two points along a."""

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(0.1, dtype=DOUBLE))

    def forward(self, y: Tensor) -> Tensor:
        return self.s * (0.6 * y[:, 0] + 0.8 * y[:, 1])


class Constant(nn.Module):
    def forward(self, noise: Tensor) -> Tensor:
        return torch.tensor([[0.6, 0.8]], dtype=noise.dtype).expand(len(noise), 2) * 3.0


def test_between_two_points_the_critic_finds_their_distance() -> None:
    """-s d + λ (s - 1)² is least at s = 1 + d / 2λ, where the gap is d + d² / 2λ; d = 3 here."""
    for penalty in (10.0, 1000.0):
        E, loss = Slope(), WGAN(Constant(), Normal(1), penalty)
        y = torch.zeros(8, 2, dtype=DOUBLE)
        for _ in range(200):
            E.zero_grad()
            output = loss(E, seeded(), y=y)
            output.loss.backward()
            with torch.no_grad():
                E.s -= 0.3 / penalty * E.s.grad
        assert float(E.s.detach()) == pytest.approx(1 + 3 / (2 * penalty))
        assert float(output.gap) == pytest.approx(3 + 9 / (2 * penalty))
    assert abs(float(output.gap) - 3) < 0.01  # nearly the Wasserstein distance of the two


# --- learning -----------------------------------------------------------------------------------------------


def blobs(modes: int, loss: Adversarial, E: Energy, rates: tuple[float, float], steps: int) -> Tensor:
    """The share of made points within 0.9 of each of the blobs, which have radius 0.3, after training."""
    target, g = Mixture.on_circle(modes=modes, radius=2.0, width=0.3), seeded(3)
    y = target.exact_samples(2000, g).float()
    groups = [{"params": E.parameters()}, {"params": loss.network.parameters(), "lr": rates[1]}]
    adam = torch.optim.Adam(groups, lr=rates[0], betas=(0.5, 0.9))
    falling = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps)
    shares = []
    for trained in (False, True):
        if trained:
            history = fit(
                E, loss, y, optimizer=adam, steps=steps, batch_size=128, generator=g, schedule=falling,
                progress=False,
            )  # fmt: skip
            assert all(map(math.isfinite, history.column("loss").tolist()))
        with torch.no_grad():
            nearest = torch.cdist(loss.make(y, None, g), target.means.float()).min(1)
        shares.append(torch.bincount(nearest.indices[nearest.values < 0.9], minlength=modes) / len(y))
    assert float(shares[0].sum()) < 0.05
    return shares[1]


@pytest.mark.slow
def test_the_network_of_wgan_finds_all_modes() -> None:
    G = mlp(3, 32, 32, 2, activation=nn.ReLU, generator=seeded(6))
    share = blobs(4, WGAN(G, Normal(3), 0.2, every=1), Net(0, 32).float(), (5e-3, 2e-3), 700)
    assert float(share.sum()) > 0.5 and float(share.min()) > 0.08, share  # all, when measured: 0.67, 0.155


def test_the_network_of_ebgan_comes_to_where_data_are() -> None:
    f, g = mlp(2, 32, 32, 3, generator=seeded(4)), mlp(3, 32, 32, 2, generator=seeded(5))
    G = mlp(3, 32, 32, 2, activation=nn.SiLU, generator=seeded(6))
    loss = EBGAN(G, Normal(3), 1.0, encoder=f)
    share = blobs(2, loss, AutoEncoder(nn.Sequential(f, g)), (2e-3, 1e-3), 300)
    assert float(share.sum()) > 0.3, share  # when measured: 0.47, in both


def test_what_does_not_fit_is_told() -> None:
    y = draw(3, 2)
    with pytest.raises(TypeError, match="a network from noise to points"):
        WGAN(lambda e: e, Normal(2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Normal\(8\)"):
        EBGAN(network(), 3, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"points of shape \(3, 3\), and 'y' is \(3, 2\)"):
        WGAN(nn.Linear(2, 3, dtype=DOUBLE), Normal(2))(Net(), y=y)
    with pytest.raises(ValueError, match="never below 0"):
        EBGAN(network(), Normal(3), 1.0)(Net() - 5.0 * AutoEncoder(nn.Identity()) + below, y=y)
    for make in (partial(WGAN, penalty=-1.0), partial(EBGAN, margin=0.0), partial(WGAN, every=0)):
        with pytest.raises(ValueError, match=r"penalty|margin|every"):
            make(network(), Normal(3))


@energy
def below(y: Tensor) -> Tensor:
    return -9 - y.square().sum(1)
