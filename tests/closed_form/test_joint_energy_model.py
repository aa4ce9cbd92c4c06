"""Joint energy models against enumeration and closed forms, and what they are for; calibration, AUROC."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from ebm import marginal_over
from ebm.contrastive import (
    AllAnswers,
    ClassifierEnergy,
    ContrastiveDivergence,
    JEMLoss,
    MaximumLikelihood,
    ScoreMatching,
)
from ebm.infer import MALA
from ebm.loss import AverageEnergy
from ebm.measure import auroc, auroc_report, calibration
from ebm.nets import mlp
from ebm.nodes import AllChoices, Grid
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def network(seed: int = 1) -> nn.Module:
    return mlp(2, 16, 5, activation=nn.Tanh, generator=seeded(seed)).double()


LABELS = torch.randint(5, (30,), generator=seeded(3))


def test_the_free_energy_is_the_labels_marginalized() -> None:
    E, x = ClassifierEnergy(network()), draw(30, 2)
    by = AllChoices(5, normalized=False)
    free = marginal_over(E, "y", 1.0, by)
    torch.testing.assert_close(E.free_energy(x=x), free(x=x))
    torch.testing.assert_close(E.probability(x), free.posterior(x=x).probability)
    log_p = -E(x=x, y=LABELS) + E.free_energy(x=x)
    torch.testing.assert_close(log_p, E.probability(x).log()[torch.arange(30), LABELS])


def test_a_constant_moves_the_free_energy_alone_and_its_slope_is_minus_the_softmax() -> None:
    logits = draw(30, 5).requires_grad_()
    E = ClassifierEnergy(nn.Identity())
    (slope,) = torch.autograd.grad(E.free_energy(x=logits).sum(), logits)
    torch.testing.assert_close(slope, -torch.softmax(logits, 1).detach())
    moved = logits + 2.5
    torch.testing.assert_close(E.free_energy(x=moved), E.free_energy(x=logits) - 2.5)
    torch.testing.assert_close(E.probability(moved), E.probability(logits))


def test_the_loss_is_the_likelihood_of_both() -> None:
    """With the exact likelihood of x for its part, L = -⟨log p(x, y)⟩ on a grid where p is normalized."""
    E, x = ClassifierEnergy(network()), draw(30, 2)
    box = Grid([-6.0, -6.0], [6.0, 6.0], 60, normalized=False)
    output = JEMLoss(MaximumLikelihood(box, variable="x"))(E, x=x, y=LABELS)
    nodes = torch.cartesian_prod(*(torch.linspace(-5.9, 5.9, 60, dtype=DOUBLE),) * 2)
    every = torch.stack([-E(x=nodes, y=torch.full((3600,), k)) for k in range(5)])
    log_z = torch.logsumexp(every.flatten(), 0) + 2 * math.log(0.2)
    torch.testing.assert_close(output.loss, (E(x=x, y=LABELS).mean() + log_z))
    assert float(output.terms["accuracy"]) == float((E.probability(x).argmax(1) == LABELS).double().mean())
    entropy = nn.functional.cross_entropy(E.network(x), LABELS).detach()
    torch.testing.assert_close(output.terms["-log p(y | x)"], entropy)
    weighed = JEMLoss(AverageEnergy(), weight=0.3)(E, x=x, y=LABELS).loss
    torch.testing.assert_close(weighed.detach(), entropy + 0.3 * E.free_energy(x=x).mean().detach())


def test_any_contrastive_loss_is_a_part() -> None:
    E, x = ClassifierEnergy(network()), draw(12, 2)
    for part in (ContrastiveDivergence(MALA(0.1), 3, variable="x"), ScoreMatching(variable="x")):
        output = JEMLoss(part)(E, seeded(4), x=x, y=LABELS[:12])
        alone = part(E.free_energy, seeded(4), x=x)
        expected = MaximumLikelihood(AllChoices(5, normalized=False))(E, x=x, y=LABELS[:12]).loss + alone.loss
        torch.testing.assert_close(output.loss, expected)
        assert set(alone.terms) < set(output.terms)


def test_it_tells_points_that_are_unlike_its_data() -> None:
    """Two classes of blobs. The free energy of a classifier alone doesn't know a third place from the data's;
    with the likelihood of x in its loss it does, and it classifies as well."""
    g, label = seeded(5), torch.randint(2, (400,), generator=seeded(6))
    x = 0.4 * draw(400, 2, seed=7)
    x[:, 0] += 2.0 * label - 1
    elsewhere = 0.3 * draw(300, 2, seed=8) + torch.tensor([2.5, 2.5], dtype=DOUBLE)
    box = Grid([-5.0, -5.0], [5.0, 5.0], 18, normalized=False)
    found = {}
    for weight in (0.0, 1.0):
        f = mlp(2, 24, 24, 2, activation=nn.Tanh, generator=seeded(9)).double()
        E, loss = ClassifierEnergy(f), JEMLoss(MaximumLikelihood(box, variable="x"), weight)
        adam = partial(torch.optim.Adam, lr=0.01)
        data = {"x": x, "y": label}
        history = fit(E, loss, data, optimizer=adam, steps=120, batch_size=400, generator=g, progress=False)
        with torch.no_grad():
            found[weight] = auroc_report(E.free_energy(x=x), E.free_energy(x=elsewhere))
        assert history.rows[-1]["accuracy"] > 0.97
    assert found[1.0].value > 0.99 and found[0.0].value < 0.8, found


def test_what_does_not_fit_is_told() -> None:
    E, x = ClassifierEnergy(network()), draw(3, 2)
    with pytest.raises(TypeError, match="labels are int64"):
        E(x=x, y=torch.ones(3))
    with pytest.raises(ValueError, match=r"labels lie in \[0, 5\).* 1 to 5"):
        E(x=x, y=torch.tensor([1, 2, 5]))
    with pytest.raises(ValueError, match="one label a row"):
        E(x=x, y=torch.tensor([[1], [2], [3]]))
    with pytest.raises(ValueError, match=r"\(B, K\)"):
        ClassifierEnergy(nn.Flatten(0))(x=x, y=LABELS[:3])
    with pytest.raises(TypeError, match="adds a loss"):
        JEMLoss(AllAnswers(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ClassifierEnergy"):
        JEMLoss(AverageEnergy())(E.free_energy, x=x)


# --- calibration and AUROC ----------------------------------------------------------------------------------


def test_calibration_is_that_of_a_loop() -> None:
    p = torch.softmax(2 * draw(500, 4), 1)
    label = torch.randint(4, (500,), generator=seeded(1))
    report = calibration(p, label, bins=12)
    error, largest = 0.0, 0.0
    for b in range(12):
        rows = [i for i in range(500) if b / 12 < float(p[i].max()) <= (b + 1) / 12]
        assert int(report.count[b]) == len(rows)
        if rows:
            sure = sum(float(p[i].max()) for i in rows) / len(rows)
            right = sum(int(p[i].argmax()) == int(label[i]) for i in rows) / len(rows)
            assert float(report.confidence[b]) == pytest.approx(sure)
            assert float(report.accuracy[b]) == pytest.approx(right)
            error, largest = error + len(rows) / 500 * abs(sure - right), max(largest, abs(sure - right))
    assert report.error == pytest.approx(error) and report.largest == pytest.approx(largest)
    assert str(report).count("\n") == 1 + int((report.count > 0).sum())


def test_answers_drawn_from_the_probabilities_are_calibrated_up_to_chance() -> None:
    """100 sets of 400: the mean ECE is what `by_chance` says, within 4 standard errors and the 5 % that a
    normal in place of a binomial costs."""
    errors, chances = [], []
    for k in range(100):
        p = torch.softmax(1.5 * draw(400, 3, seed=k), 1)
        label = torch.multinomial(p, 1, generator=seeded(1000 + k)).squeeze(1)
        report = calibration(p, label, bins=10)
        errors.append(report.error)
        chances.append(report.by_chance)
    e, c = torch.tensor(errors), torch.tensor(chances)
    assert abs(float((e - c).mean())) < 4 * float((e - c).std()) / 10 + 0.05 * float(c.mean())
    sure = calibration(torch.softmax(5 * p.log(), 1), label, bins=10)  # sharpened: too sure of itself
    assert sure.error > 4 * sure.by_chance


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_that_of_scikit_learn_and_its_error_that_of_repeated_samples(ties: bool) -> None:
    def sample(seed: int) -> tuple[Tensor, Tensor]:
        on, off = draw(25, seed=seed), draw(200, seed=seed + 5000) + 0.8
        return ((2 * on).round(), (2 * off).round()) if ties else (on, off)

    reports = []
    for seed in range(300):
        on, off = sample(seed)
        report = auroc_report(on, off)
        reports.append(report)
        if seed < 20:
            kinds = torch.cat([torch.zeros(25), torch.ones(200)])
            assert report.value == pytest.approx(roc_auc_score(kinds, torch.cat([on, off])), abs=1e-12)
            assert report.value == auroc(on, off)
    values = torch.tensor([r.value for r in reports], dtype=DOUBLE)
    claimed = torch.tensor([r.standard_error for r in reports], dtype=DOUBLE).square().mean()
    # the variance of 300 near-normal values has the relative standard error √(2/299)
    assert abs(float(values.var() / claimed) - 1) < 4 * math.sqrt(2 / 299)


def test_measures_refuse_what_makes_no_sense() -> None:
    p, label = torch.full((4, 2), 0.5), torch.tensor([0, 1, 1, 0])
    with pytest.raises(ValueError, match=r"row 2 \(1 of 4\) adds up to 1.5"):
        calibration(torch.where(torch.arange(4)[:, None] == 2, 0.75, p), label)
    for bad in ((p, label[:2]), (p[0], label), (p[:0], label[:0])):
        with pytest.raises(ValueError, match="expected probabilities"):
            calibration(*bad)
    with pytest.raises(ValueError, match="labels are int64"):
        calibration(p, label + 1)
    with pytest.raises(ValueError, match="bins"):
        calibration(p, label, bins=0)
    with pytest.raises(ValueError, match="off is a vector"):
        auroc_report(torch.zeros(3), torch.tensor([0.0, math.nan]))
    assert math.isnan(auroc_report(torch.zeros(3), torch.ones(1)).standard_error)
