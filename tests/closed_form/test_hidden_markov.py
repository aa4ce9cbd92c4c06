"""Hidden Markov models: Viterbi, evidence and posterior against the sum over all ways; learning."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Generator, Tensor, nn

from ebm import minimize
from ebm.choices import Choices
from ebm.infer import Enumerate
from ebm.loss import AverageEnergy
from ebm.regularized import CategoricalEmission, GaussianEmission, HiddenMarkov
from ebm.train import fit

STATES, LENGTH, ROWS, WORDS = 3, 5, 4, 6


def randn(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def models(generator: Generator) -> list[tuple[HiddenMarkov, Tensor]]:
    start, move = randn(generator, STATES), 2 * randn(generator, STATES, STATES)
    gauss = GaussianEmission(
        randn(generator, STATES, 2), 0.5 + torch.rand(STATES, 2, generator=generator).double()
    )
    words = CategoricalEmission(randn(generator, STATES, WORDS))
    seen = torch.randint(WORDS, (ROWS, LENGTH), generator=generator)
    return [
        (HiddenMarkov(start, move, gauss), randn(generator, ROWS, LENGTH, 2)),
        (HiddenMarkov(start, move, words), seen),
    ]


def every_way(model: HiddenMarkov, row: Tensor) -> tuple[Tensor, Tensor]:
    """All K^T ways, and -log of the product of their probabilities, written out."""
    ways = torch.tensor(list(itertools.product(range(STATES), repeat=LENGTH)))
    first, move = model.start_logits.softmax(0), model.transition_logits.softmax(1)
    if isinstance(model.emission, CategoricalEmission):
        sight = model.emission.logits.softmax(1)[:, row].T
    else:
        normal = torch.distributions.Normal(model.emission.mean, model.emission.log_std.exp())
        sight = normal.log_prob(row.unsqueeze(1)).sum(2).exp()
    p = first[ways[:, 0]]
    for t in range(LENGTH):
        p = p * sight[t, ways[:, t]] * (move[ways[:, t - 1], ways[:, t]] if t else 1)
    return ways, -p.log()


def test_everything_is_that_of_all_ways(generator: Generator) -> None:
    for model, y in models(generator):
        found, F, posterior = model.infer(y), model.free_energy(y=y), model.posterior(y)
        for row in range(ROWS):
            ways, E = every_way(model, y[row])
            torch.testing.assert_close(model(y=y[row].expand(len(ways), *y[row].shape), z=ways), E)
            assert found.value[row].tolist() == ways[E.argmin()].tolist()  # type: ignore[index]
            torch.testing.assert_close(found.energy[row], E.min())
            torch.testing.assert_close(F[row], -(-E).logsumexp(0))
            share = (F[row] - E).exp()
            for k in range(STATES):
                marginal = ((ways == k) * share.unsqueeze(1)).sum(0)
                torch.testing.assert_close(posterior[row, :, k], marginal)


def test_enumeration_finds_viterbis_way(generator: Generator) -> None:
    for model, y in models(generator):
        z = Choices(torch.zeros(ROWS, LENGTH, dtype=torch.int64), n=STATES)
        found = minimize(model, {"z": z}, Enumerate(), given={"y": y})
        assert torch.equal(found.value["z"], model.infer(y).value)  # type: ignore[arg-type, index]


def test_learning_lowers_f_and_finds_what_was_planted(generator: Generator) -> None:
    stays = torch.tensor([[0.95, 0.05], [0.1, 0.9]], dtype=torch.float64)
    z = [torch.zeros(300, dtype=torch.int64)]
    for _ in range(24):
        z.append(torch.multinomial(stays[z[-1]], 1, generator=generator).flatten())
    hidden = torch.stack(z, 1)
    y = (4.0 * hidden - 2).unsqueeze(2) + 0.5 * randn(generator, 300, 25, 1)
    emission = GaussianEmission(torch.tensor([[-0.5], [0.5]]).double(), 1.0)
    model = HiddenMarkov(torch.zeros(2).double(), nn.Parameter(torch.zeros(2, 2).double()), emission)
    fit(
        model.free_energy,
        AverageEnergy(),
        {"y": y},
        optimizer=lambda p: torch.optim.Adam(p, lr=0.05),
        steps=200,
        batch_size=300,
        generator=generator,
        progress=False,
    )
    torch.testing.assert_close(
        emission.mean.detach(), torch.tensor([[-2.0], [2.0]]).double(), rtol=0, atol=0.05
    )
    torch.testing.assert_close(model.transition_logits.detach().softmax(1), stays, rtol=0, atol=0.03)
    assert float((model.infer(y).value == hidden).double().mean()) > 0.99  # type: ignore[union-attr]


def test_what_does_not_fit_is_refused(generator: Generator) -> None:
    with pytest.raises(ValueError, match=r"transition \(K, K\)"):
        HiddenMarkov(torch.zeros(3), torch.zeros(2, 2), nn.Identity())
    wrong = HiddenMarkov(torch.zeros(3), torch.zeros(3, 3), nn.Identity())
    with pytest.raises(ValueError, match="emission makes"):
        wrong.infer(torch.zeros(2, 5, 4))
    (gauss, _), (words, _) = models(generator)
    with pytest.raises(ValueError, match="y is"):
        gauss.infer(torch.zeros(2, 5).double())
    with pytest.raises(ValueError, match="int64"):
        words.infer(torch.zeros(2, 5).double())
