"""Masked tokens against a distribution that is written out, and on text that every Python has."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from ebm.contrastive import Denoising, MaskedTokens, MaskTokens, PseudoLikelihood
from ebm.data import Characters, python_reference, windows
from ebm.energy import Energy
from ebm.nets import TokenTransformer
from ebm.train import fit

DOUBLE = torch.float64
MASK = 2  # after the symbols 0 and 1
P = torch.tensor([0.20, 0.05, 0.10, 0.15, 0.02, 0.18, 0.05, 0.25], dtype=DOUBLE)  # of 000, 001, ... 111
STATES = torch.tensor(list(itertools.product((0, 1), repeat=3)))
SEEN = torch.tensor(list(itertools.product((0, 1, MASK), repeat=3)))  # all that a network can be shown


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Table(nn.Module):
    """A network that knows no structure: free scores for every sequence it can be shown."""

    def __init__(self, scores: Tensor):
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scores[tokens @ torch.tensor([9, 3, 1])]


def conditionals(share: float, random: float, keep: float) -> tuple[Tensor, Tensor]:
    """p(y_t = 1 | seen) by enumeration, (27, 3), and the probability of being shown each, (27,)."""
    chance = torch.zeros(8, 27, dtype=DOUBLE)
    for (i, y), (j, seen) in itertools.product(enumerate(STATES.tolist()), enumerate(SEEN.tolist())):
        of_one = 1.0
        for true, shown in zip(y, seen, strict=True):
            wrong = share * random / 2  # each of the two symbols, the true one included
            stays = 1 - share + share * keep
            masked = share * (1 - random - keep)
            of_one *= masked if shown == MASK else wrong + (stays if shown == true else 0)
        chance[i, j] = P[i] * of_one
    total = chance.sum(0)
    return (chance.T @ STATES.double()) / total.clamp_min(1e-300)[:, None], total


def known() -> MaskedTokens:
    """The energy whose network knows every conditional when tokens are masked and never made wrong."""
    ones = conditionals(0.5, 0.0, 0.0)[0]
    scores = torch.stack([(1 - ones), ones, torch.zeros_like(ones)], 2).clamp_min(1e-300).log()
    return MaskedTokens(Table(scores), MASK)


@pytest.mark.parametrize("random, keep", [(0.0, 0.0), (0.1, 0.1), (0.5, 0.2)])
def test_the_corruption_has_the_shares_that_it_says(random: float, keep: float) -> None:
    y = torch.zeros(400, 300, dtype=torch.int64)
    seen = MaskTokens(mask=5, share=0.4, random=random, keep=keep)(y, seeded())
    shares = {5: 0.4 * (1 - random - keep), **dict.fromkeys(range(1, 5), 0.4 * random / 5)}
    for symbol, p in shares.items():
        found = float((seen == symbol).double().mean())
        assert abs(found - p) <= 4 * math.sqrt(p * (1 - p) / y.numel())
    assert int(y.sum()) == 0 and torch.equal(MaskTokens(5, 0.0)(y), y)


def test_training_finds_the_conditionals_of_bert_by_enumeration() -> None:
    """80 / 10 / 10: what a table learns from a sample is p(y_t | seen) within 4 standard errors."""
    share, random, keep = 0.5, 0.1, 0.1
    rows = 20_000
    y = STATES[torch.multinomial(P, rows, replacement=True, generator=seeded())]
    model = MaskedTokens(Table(torch.zeros(27, 3, 3, dtype=DOUBLE)), MASK)
    loss = Denoising(MaskTokens(MASK, share, random=random, keep=keep))
    search = torch.optim.LBFGS(model.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = loss(model, seeded(1), y=y).loss
        value.backward()
        return value

    search.step(closure)
    with torch.no_grad():
        found = model.log_probabilities(SEEN).exp()
    exact, chance = conditionals(share, random, keep)
    error = (exact * (1 - exact) / (rows * chance[:, None])).sqrt()
    off = (found[..., 1] - exact).abs() / error
    assert float(off.max()) < 4 and float(error.max()) < 0.05
    assert float(found[..., MASK].max()) < 1e-3  # never to be predicted


def test_scores_are_those_of_the_distribution() -> None:
    """A network that knows p scores with Σ_t log p(y_t | y_{-t}), by enumeration."""
    model = known()
    whole = P.view(2, 2, 2)
    expected = torch.stack([(whole / whole.sum(d, keepdim=True)).log().flatten() for d in range(3)], 1)
    found = model.log_conditionals(STATES).detach()
    torch.testing.assert_close(found.gather(2, STATES.unsqueeze(2)).squeeze(2), expected)
    torch.testing.assert_close(model.pseudo_log_likelihood(STATES).detach(), expected.sum(1))
    for rows in (1, 9, 20):
        torch.testing.assert_close(
            model.pseudo_log_likelihood(STATES, max_rows=rows).detach(), expected.sum(1)
        )

    class Given(Energy):  # pseudo-likelihood of an energy asks for the same
        def forward(self, y: Tensor) -> Tensor:
            return -P.log()[(y @ torch.tensor([4.0, 2.0, 1.0], dtype=DOUBLE)).long()]

    asked = PseudoLikelihood()(Given(), y=STATES.double()).loss
    torch.testing.assert_close(-model.pseudo_log_likelihood(STATES).detach().mean(), asked)


def test_the_energy_is_the_sum_of_costs_in_either_form() -> None:
    scores = torch.randn(27, 3, 3, dtype=DOUBLE, generator=seeded())
    model = MaskedTokens(Table(scores), MASK)
    y, seen = STATES[:5], SEEN[[1, 26, 4, 9, 13]]
    by_hand = [
        -sum(
            math.log(float(torch.softmax(scores[r @ torch.tensor([9, 3, 1]), t], 0)[row[t]]))
            for t in range(3)
        )
        for row, r in zip(y, seen, strict=True)
    ]
    expected = torch.tensor(by_hand, dtype=DOUBLE)
    torch.testing.assert_close(model(y=y, seen=seen).detach(), expected)
    torch.testing.assert_close(model(y=torch.eye(3, dtype=DOUBLE)[y], seen=seen).detach(), expected)
    torch.testing.assert_close(model(y=y), model(y=y, seen=y))
    torch.testing.assert_close(model(y=torch.eye(3, dtype=DOUBLE)[y]), model(y=y))


def test_text_is_predicted_better_than_by_counting_letters() -> None:
    """Held-out characters under masks: the perplexity is below the unigram's by more than a third."""
    text = python_reference()
    letters = Characters(text)
    assert letters.decode(letters.encode(text[:50])) == text[:50]
    length = 16
    pieces = windows(letters.encode(text), length)
    train, test = pieces[: len(pieces) * 9 // 10], pieces[len(pieces) * 9 // 10 :][:512]
    net = TokenTransformer(letters.mask + 1, length, width=64, depth=1, hidden=64, generator=seeded(1))
    model = MaskedTokens(net, letters.mask)
    adam = partial(torch.optim.Adam, lr=1e-2)
    loss = Denoising(MaskTokens(letters.mask, share=0.3))
    history = fit(
        model, loss, train, optimizer=adam, steps=300, batch_size=48, generator=seeded(), progress=False
    )
    seen = MaskTokens(letters.mask, random=0.0, keep=0.0)(test, seeded(2))
    hidden = seen == letters.mask
    with torch.no_grad():
        cost = -model.log_probabilities(seen).gather(2, test.unsqueeze(2)).squeeze(2)[hidden]
    share = torch.bincount(train.flatten(), minlength=letters.mask) / train.numel()
    unigram = -share[test[hidden]].clamp_min(1e-6).log()
    error = float((cost - unigram).std()) / math.sqrt(len(cost))
    gain = float((unigram - cost).mean())
    assert gain > 0.4 and gain > 10 * error, (gain, error)
    assert float(history.column("energy gap")[-1]) > 1 > float(history.column("energy gap")[0])


def test_bad_tokens_are_told() -> None:
    with pytest.raises(ValueError, match=r"random \+ keep in \[0, 1\]; got 1.2"):
        MaskTokens(3, random=0.6, keep=0.6)
    with pytest.raises(ValueError, match="mask is the symbol after all others"):
        MaskTokens(0)
    with pytest.raises(ValueError, match=r"\[0, 2\), below the mask; got torch.int64 from 0 to 2"):
        MaskTokens(MASK)(SEEN)
    with pytest.raises(ValueError, match=r"below the mask; got torch.float32"):
        MaskTokens(MASK)(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"\(2, 3\) \+ \(K,\) with K > 2, the mask; it returned \(2, 3\)"):
        MaskedTokens(nn.Identity(), MASK)(y=STATES[:2])
    with pytest.raises(ValueError, match="not in the alphabet: 'xz'"):
        Characters("abc").encode("axbz")
    with pytest.raises(ValueError, match="an empty text has no alphabet"):
        Characters("")
    with pytest.raises(ValueError, match="pieces have 1 to 3 symbols"):
        windows(torch.arange(3), 4)
    with pytest.raises(ValueError, match=r"whole numbers, T at most 2; got torch.int64 of shape \(8, 3\)"):
        TokenTransformer(3, 2, 4, 1, 1)(STATES)
    with pytest.raises(ValueError, match="heads share it evenly; got width=6 and heads=4"):
        TokenTransformer(3, 2, 6, 1, 4)
