"""The vector-quantized auto-encoder: its energy by hand, its codes, its gradients, and what it learns."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import sklearn.cluster
import torch
from torch import Tensor, nn

from ebm.infer import Enumerate
from ebm.measure.collapse import BOX, SHUFFLED, collapse_report
from ebm.nets import mlp
from ebm.regularized.finite_scalar import FiniteScalarQuantization
from ebm.regularized.quantizer import Quantizer
from ebm.regularized.residual_quantization import ResidualQuantization
from ebm.regularized.vector_quantization import VectorQuantization
from ebm.regularized.vq_vae import VQVAE, QuantizedLoss
from ebm.testing import check_energy
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=DOUBLE)


def network(*sizes: int, seed: int = 1) -> nn.Module:
    return mlp(*sizes, activation=nn.Tanh, generator=seeded(seed)).double()


def quantizers() -> dict[str, Quantizer]:
    stages = [VectorQuantization(draw(4, 2, seed=s) / (1 + s), "gradient") for s in range(2)]
    return {
        "by averages": VectorQuantization(draw(5, 2, seed=3)),
        "by gradient, rotated": VectorQuantization(draw(5, 2, seed=3), "gradient", "rotation"),
        "of residuals": ResidualQuantization(stages),
        "finite scalars": FiniteScalarQuantization((4, 3)).double(),
    }


EVERY = pytest.mark.parametrize("quantizer", [pytest.param(q, id=name) for name, q in quantizers().items()])


def for_images(quantizer: Quantizer) -> VQVAE:
    """1 x 6 x 6 pixels to a grid of 3 x 3 codes and back."""
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 2, stride=2))
    decoder = nn.Sequential(nn.ConvTranspose2d(2, 4, 2, stride=2), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1))
    for seed, parameter in enumerate([*encoder.parameters(), *decoder.parameters()]):
        parameter.data = 0.5 * draw(*parameter.shape, seed=seed)
    return VQVAE(encoder, decoder, copy.deepcopy(quantizer))


def for_vectors(quantizer: Quantizer) -> VQVAE:
    return VQVAE(network(3, 8, 2), network(2, 8, 3, seed=2), copy.deepcopy(quantizer))


# --- the energy ---------------------------------------------------------------------------------------------


@EVERY
def test_energies_keep_their_contract(quantizer: Quantizer) -> None:
    images, vectors = for_images(quantizer), for_vectors(quantizer)
    y, v = draw(4, 1, 6, 6), draw(4, 3)
    z, w = images.quantizer.assign(images.encode(y)), vectors.quantizer.assign(vectors.encode(v))
    check_energy(images, {"y": y, "z": z})
    check_energy(vectors, {"y": v, "z": w})
    check_energy(vectors.free_energy.eval(), {"y": v})


@EVERY
def test_the_energy_by_hand(quantizer: Quantizer) -> None:
    model, y = for_images(quantizer), draw(5, 1, 6, 6)
    h = model.encoder(y)
    z = torch.randint(model.quantizer.choices, (5, 3, 3, quantizer.stages), generator=seeded(1))
    z = z if quantizer.stages > 1 else z[..., 0]
    for i in range(5):
        total, code = 0.0, torch.zeros(1, 2, 3, 3, dtype=DOUBLE)
        for row in range(3):
            for column in range(3):
                cell = z[i : i + 1, row, column]
                code[0, :, row, column] = model.quantizer.decode(cell)[0].detach()
                away = model.quantizer(h=h[i : i + 1, :, row, column], z=cell)
                total = total + quantizer.commitment * float(away.detach())
        total += float((y[i : i + 1] - model.decoder(code)).square().sum().detach())
        assert float(model(y=y, z=z)[i].detach()) == pytest.approx(total)
        torch.testing.assert_close(model.decode(z)[i], model.decoder(code)[0])


@EVERY
def test_codes_of_the_encoder_are_near_the_best_and_the_search_is_better(quantizer: Quantizer) -> None:
    model, y = for_vectors(quantizer), draw(30, 3)
    guess, best = model.infer(y), model.infer(y, Enumerate())
    assert guess.reasons[0] == "goal" and best.reasons[0] == "exhausted" and guess.converged.all()
    assert torch.equal(guess.value, model.quantizer.assign(model.encode(y)))
    torch.testing.assert_close(guess.energy, model(y=y, z=guess.value))
    assert (best.energy <= guess.energy + 1e-12).all() and (best.energy < guess.energy - 1e-6).any()
    torch.testing.assert_close(model.free_energy.eval()(y=y), guess.energy)
    torch.testing.assert_close(model.free_energy.train()(y=y), guess.energy)


def test_where_commitment_is_all_the_encoder_is_right() -> None:
    model, y = for_vectors(VectorQuantization(draw(5, 2, seed=3), commitment=1e6)), draw(30, 3)
    assert torch.equal(model.infer(y).value, model.infer(y, Enumerate()).value)


def test_an_encoded_y_is_encoded_once_a_bind() -> None:
    calls: list[int] = []
    model, y = for_vectors(quantizers()["by averages"]), draw(4, 3)
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    model.infer(y, Enumerate())
    assert len(calls) == 2  # once for the start


# --- gradients and the loss ---------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["straight-through", "rotation"])
def test_gradients_of_a_linear_model_by_hand(estimator: str) -> None:
    """∂L/∂h = J(-2 Wᵀ(y - Wc)) + 2β(h - c), and the codebook gets 2(c - h): no gradient of the decoder's."""
    weight, codebook, y = draw(3, 2), draw(5, 2, seed=3), draw(20, 3, seed=4)
    quantizer = VectorQuantization(codebook, "gradient", estimator, commitment=0.3)  # type: ignore[arg-type]
    encoder, decoder = nn.Linear(3, 2).double(), nn.Linear(2, 3, bias=False).double()
    decoder.weight.data = weight
    model = VQVAE(encoder, decoder, quantizer)
    output = QuantizedLoss()(model, y=y)
    output.loss.backward()
    with torch.no_grad():
        h, z = model.encode(y), model.infer(y).value
        assert isinstance(z, Tensor)
        c = codebook[z]
        back = -2 * (y - c @ weight.T) @ weight
        if estimator == "rotation":
            u, v = h / h.norm(dim=1, keepdim=True), c / c.norm(dim=1, keepdim=True)
            cos, sin = (u * v).sum(1), u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
            turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)  # (B, 2, 2)
            back = (c.norm(dim=1) / h.norm(dim=1)).unsqueeze(1) * torch.einsum("bij,bi->bj", turn, back)
        at_h = (back + 0.6 * (h - c)) / 20
        pulls = torch.stack([2 * (c - h)[z == k].sum(0) for k in range(5)]) / 20
    torch.testing.assert_close(encoder.weight.grad, at_h.T @ y)
    torch.testing.assert_close(encoder.bias.grad, at_h.sum(0))
    torch.testing.assert_close(quantizer.codebook.grad, pulls)


@EVERY
def test_the_loss_and_its_terms(quantizer: Quantizer) -> None:
    model, y = for_images(quantizer), draw(7, 1, 6, 6)
    h, z = model.encode(y), model.infer(y).value
    assert isinstance(z, Tensor)
    loss = QuantizedLoss().eval()
    before = copy.deepcopy(model.state_dict())
    output = loss(model, y=y)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())  # nothing learned
    reconstruction = (y - model.decode(z)).square().flatten(1).sum(1)
    torch.testing.assert_close(output.loss, (reconstruction + model.quantizer.learning_cost(h, z)).mean())
    torch.testing.assert_close(output.terms["energy on data"], model(y=y, z=z).mean().detach())
    usage = model.usage(y)
    assert float(output.terms["bits"]) == pytest.approx(usage.bits) and usage.cells == 9
    assert float(output.terms["perplexity"]) == pytest.approx(usage.perplexity)
    loss.train()(model, y=y)
    moved = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    assert bool(moved) == (not isinstance(quantizer, FiniteScalarQuantization))
    assert ("quantizer.codebook" in moved) == (getattr(quantizer, "learning", "") == "ema")


def test_codes_learned_by_gradient_are_those_of_k_means() -> None:
    """Without networks: a fixed point of Lloyd's algorithm, with scikit-learn's inertia."""
    y = torch.cat([draw(60, 2, seed=k) + 6 * draw(1, 2, seed=9 + k) for k in range(4)])
    start = VectorQuantization.from_data(y, 4, "gradient", generator=seeded(2))
    kmeans = sklearn.cluster.KMeans(4, init=start.codebook.detach().numpy().copy(), n_init=1, tol=0).fit(
        y.numpy()
    )
    model = VQVAE(nn.Identity(), nn.Identity(), start)
    sgd = partial(torch.optim.SGD, lr=0.5)
    fit(model, QuantizedLoss(), {"y": y}, optimizer=sgd, steps=300, batch_size=len(y), progress=False)
    assert model.infer(y).energy.sum().item() == pytest.approx(1.25 * kmeans.inertia_, rel=1e-6)


# --- learning -----------------------------------------------------------------------------------------------


def parities(rows: int, seed: int) -> Tensor:
    """Four free signs and two products of them, a bit blurred: 16 clusters that span all 6 dimensions."""
    g = seeded(seed)
    signs = 2.0 * torch.randint(2, (rows, 4), generator=g, dtype=DOUBLE) - 1
    products = signs.view(rows, 2, 2).prod(2)
    return torch.cat([signs, products], 1) + 0.3 * torch.randn(rows, 6, generator=g, dtype=DOUBLE)


def test_sixteen_clusters_take_four_bits_and_it_is_alive() -> None:
    encoder, decoder = (mlp(*sizes, generator=seeded(1)).double() for sizes in ((6, 64, 4), (4, 64, 6)))
    y, unseen = parities(2000, 0), parities(1000, 9)
    model = VQVAE.from_data(y, encoder, decoder, 16, expire=1.0, generator=seeded(2))
    adam = partial(torch.optim.Adam, lr=5e-3)
    history = fit(
        model,
        QuantizedLoss(),
        {"y": y},
        optimizer=adam,
        steps=600,
        batch_size=100,
        generator=seeded(3),
        progress=False,
    )
    usage = model.usage(unseen)
    assert usage.fixed_bits == pytest.approx(4) and 3.7 < usage.bits <= 4 and usage.perplexity > 13
    assert float(history.column("expired").sum()) > 0
    within = 6 * 0.3**2
    with torch.no_grad():
        decoded = model.decode(model.infer(unseen).value)  # type: ignore[arg-type]
        reconstruction = (unseen - decoded).square().sum(1).mean()
    assert within * (1 - 4 * math.sqrt(2 / 6000)) < float(reconstruction) < 1.6 * within
    report = collapse_report(model.free_energy.eval(), unseen, generator=seeded(4))
    assert report.verdict == "alive", report
    for name in (BOX, SHUFFLED):
        assert report.off_data[name].auroc > 0.8  # one in four shuffled points is data, so 0.875 is all


@EVERY
def test_training_lowers_the_energy_with_every_quantizer(quantizer: Quantizer) -> None:
    y, model = draw(200, 1, 6, 6).cumsum(3), for_images(quantizer)
    before = float(model.infer(y).energy.mean())
    adam = partial(torch.optim.Adam, lr=1e-2)
    settings = {"steps": 60, "batch_size": 50, "generator": seeded(3), "progress": False}
    again = [copy.deepcopy(model) for _ in range(2)]
    for each in again:
        settings["generator"] = seeded(3)
        fit(each, QuantizedLoss(), {"y": y}, optimizer=adam, **settings)  # type: ignore[arg-type]
    assert float(again[0].infer(y).energy.mean()) < 0.7 * before
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in again), strict=True))


@EVERY
def test_half_precision_trains_it_too(quantizer: Quantizer) -> None:
    model, y = for_images(quantizer).float(), draw(64, 1, 6, 6).cumsum(3).float()
    adam = partial(torch.optim.Adam, lr=1e-2)
    settings = {"steps": 30, "batch_size": 32, "generator": seeded(), "progress": False}
    history = fit(model, QuantizedLoss(), {"y": y}, optimizer=adam, autocast=torch.bfloat16, **settings)  # type: ignore[arg-type]
    assert history.rows[-1]["loss"] < history.rows[0]["loss"]
    assert all(value.dtype != torch.bfloat16 for value in model.state_dict().values())


def test_what_is_refused_is_told() -> None:
    model, y = for_vectors(quantizers()["by averages"]), draw(4, 3)
    with pytest.raises(TypeError, match="needs a Quantizer"):
        VQVAE(nn.Identity(), nn.Identity(), nn.Identity())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"gives \(B, 2, \*cells\); it gave \(4, 3\)"):
        VQVAE(nn.Identity(), nn.Identity(), model.quantizer).encode(y)
    with pytest.raises(ValueError, match=r"what y is, \(4, 3\); it gave \(4, 2\)"):
        VQVAE(model.encoder, nn.Identity(), model.quantizer)(y=y, z=torch.zeros(4, dtype=torch.int64))
    with pytest.raises(TypeError, match="is for a VQVAE"):
        QuantizedLoss()(model.free_energy, y=y)
    with pytest.raises(TypeError, match="takes y, at least one row, alone"):
        QuantizedLoss()(model, x=y)
    with pytest.raises(ValueError, match="9 codes need as many vectors; there are 4"):
        VQVAE.from_data(y, model.encoder, model.decoder, 9)
