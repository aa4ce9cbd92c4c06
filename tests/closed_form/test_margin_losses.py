"""The losses of an answer, against table 1 of the tutorial, brute force, and what can collapse under them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy
from ebm.contrastive import (
    AllAnswers,
    Answers,
    AnswerSet,
    Contrast,
    EmpiricalErrorLoss,
    HingeLoss,
    LogLoss,
    LVQ2Loss,
    MaximumLikelihood,
    MCELoss,
    MostOffending,
    PerceptronLoss,
    SquareExponentialLoss,
    SquareSquareLoss,
)
from ebm.infer import CEM, LBFGS, AugmentedLagrangian, Enumerate, GradientDescent
from ebm.infer.starts import Data, Normal, Zeros
from ebm.loss import OFF_DATA, ON_DATA, AverageEnergy, Loss
from ebm.measure.collapse import collapse_report
from ebm.nodes import AllChoices
from ebm.train import fit

DOUBLE = torch.float64
Make = Callable[[Answers], Loss]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


@energy
def table(x: Tensor, y: Tensor) -> Tensor:
    """x holds the energy of every answer."""
    return x.gather(1, y.unsqueeze(1)).squeeze(1)


def likelihood(answers: Answers, beta: float = 1.0) -> Loss:
    """The negative log-likelihood (1/β) Σ -log p(y | x) of all choices."""
    assert isinstance(answers, AllAnswers)
    return MaximumLikelihood(AllChoices(answers.n, normalized=False), beta=beta) / beta


LOSSES: dict[str, Make] = {
    "energy": lambda answers: AverageEnergy(),
    "perceptron": PerceptronLoss,
    "hinge": HingeLoss,
    "log": LogLoss,
    "LVQ2": LVQ2Loss,
    "MCE": MCELoss,
    "square-square": SquareSquareLoss,
    "square-exponential": SquareExponentialLoss,
    "likelihood": likelihood,
    "empirical error": EmpiricalErrorLoss,
}
NO_MARGIN = ("energy", "perceptron", "LVQ2")

# of the energies (1, 2, 4), with the first answer right and with the second; and of (0, 0, 0)
TABLE = {
    "energy": (1.0, 2.0, 0.0),
    "perceptron": (0.0, 1.0, 0.0),
    "hinge": (0.0, 2.0, 1.0),
    "log": (0.31326169, math.log1p(math.e), math.log(2)),
    "LVQ2": (0.0, 1.0, 0.0),
    "MCE": (0.26894142, 1 - 0.26894142, 0.5),
    "square-square": (1.0, 4.0, 1.0),
    "square-exponential": (1.13533528, 4 + math.exp(-1), 1.0),
    "likelihood": (0.34901222, 1.34901222, math.log(3)),
    "empirical error": (0.29461549, 1 - math.exp(-1.34901222), 2 / 3),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_table_of_losses(name: str) -> None:
    loss = LOSSES[name](AllAnswers(3))
    rows = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0], [0.0, 0.0, 0.0]], dtype=DOUBLE)
    right = torch.tensor([0, 1, 1])
    came = [float(loss(table, x=rows[i : i + 1], y=right[i : i + 1]).loss) for i in range(3)]
    assert came == pytest.approx(TABLE[name], abs=1e-8)
    assert float(loss(table, x=rows, y=right).loss) == pytest.approx(sum(TABLE[name]) / 3, abs=1e-8)


def test_the_terms_are_the_energies_of_right_and_most_offending_answers() -> None:
    x, y = draw(40, 5), torch.randint(5, (40,), generator=seeded(1))
    output = HingeLoss(AllAnswers(5))(table, x=x, y=y)
    right = [float(row[i]) for row, i in zip(x, y, strict=True)]
    others = [min(float(row[j]) for j in range(5) if j != i) for row, i in zip(x, y.tolist(), strict=True)]
    assert float(output.terms[ON_DATA]) == pytest.approx(sum(right) / 40)
    assert float(output.terms[OFF_DATA]) == pytest.approx(sum(others) / 40)
    assert float(output.gap) == pytest.approx((sum(others) - sum(right)) / 40)
    errors = sum(a <= b for a, b in zip(others, right, strict=True)) / 40
    assert float(output.terms["wrong answers"]) == errors == float((x.argmin(1) != y).double().mean())


def test_a_large_beta_makes_the_likelihood_the_perceptron_and_the_empirical_error_a_count() -> None:
    x, y = torch.tensor([[1.0, 2.0, 4.0]], dtype=DOUBLE), torch.tensor([1])
    assert float(likelihood(AllAnswers(3), 10.0)(table, x=x, y=y).loss) == pytest.approx(1.0000045, abs=1e-7)
    rows, right = draw(200, 4, seed=2), torch.randint(4, (200,), generator=seeded(3))
    cold, perceptron = likelihood(AllAnswers(4), 1e4), PerceptronLoss(AllAnswers(4))
    difference = cold(table, x=rows, y=right).loss - perceptron(table, x=rows, y=right).loss
    assert -1e-12 <= float(difference) <= math.log(4) / 1e4
    count = EmpiricalErrorLoss(AllAnswers(4), beta=1e6)(table, x=rows, y=right)
    assert float(count.loss) == pytest.approx(float(count.terms["wrong answers"]), abs=1e-9)


def test_with_two_answers_the_likelihood_is_the_log_loss_and_the_empirical_error_is_mce() -> None:
    x, y = draw(30, 2, seed=4), torch.randint(2, (30,), generator=seeded(5))
    two = AllAnswers(2)
    for one, other in ((likelihood, LogLoss), (EmpiricalErrorLoss, MCELoss)):
        torch.testing.assert_close(one(two)(table, x=x, y=y).loss, other(two)(table, x=x, y=y).loss)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_push_where_they_should(name: str) -> None:
    """dℓ/dE_C >= 0 and dℓ/dE_I <= 0, for every wrong answer; exact ones are those of finite differences."""
    x = draw(8, 4, seed=6).abs().requires_grad_()
    y = torch.randint(4, (8,), generator=seeded(7))
    loss = LOSSES[name](AllAnswers(4))
    assert torch.autograd.gradcheck(lambda v: loss(table, x=v, y=y).loss, (x,))
    (slope,) = torch.autograd.grad(loss(table, x=x, y=y).loss, x)
    right = torch.nn.functional.one_hot(y, 4).bool()
    assert bool((slope[right] >= 0).all()) and bool((slope[~right] <= 0).all())


def test_equally_low_wrong_answers_share_the_push() -> None:
    x = torch.zeros(1, 3, dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(HingeLoss(AllAnswers(3))(table, x=x, y=torch.tensor([0])).loss, x)
    assert slope.tolist() == [[1.0, -0.5, -0.5]]


# --- what counts as a wrong answer --------------------------------------------------------------------------


def test_structured_answers_are_all_tried() -> None:
    field = draw(20, 3, seed=8)

    @energy
    def chain(x: Tensor, y: Tensor) -> Tensor:
        spins = 2.0 * y - 1
        return (x * spins).sum(1) - (spins[:, 1:] * spins[:, :-1]).sum(1)

    y = torch.randint(2, (20, 3), generator=seeded(9))
    contrast = HingeLoss(AllAnswers(2, 3)).contrast(chain, x=field, y=y)
    for i in range(20):
        every = torch.cartesian_prod(*(torch.arange(2),) * 3)
        others = every[(every != y[i]).any(1)]
        lowest = min(float(chain(x=field[i : i + 1], y=other[None])) for other in others)
        assert float(contrast.offending[i]) == pytest.approx(lowest)
    assert contrast.incorrect.shape == (20, 8) and bool((contrast.incorrect.isinf().sum(1) == 1).all())


def test_members_of_a_set_are_wrong_beyond_the_radius() -> None:
    values, y = draw(7, 2, seed=10), draw(15, 2, seed=11)

    @energy
    def far(y: Tensor) -> Tensor:
        return (y - 1).square().sum(1)

    contrast = HingeLoss(AnswerSet(values, radius=0.7)).contrast(far, y=y)
    for i in range(15):
        others = [v for v in values if float((v - y[i]).norm()) > 0.7]
        assert float(contrast.offending[i]) == pytest.approx(min(float(far(y=v[None])) for v in others))
    inside = HingeLoss(AnswerSet(values)).contrast(far, y=values)
    assert bool((inside.incorrect.isinf() == torch.eye(7, dtype=torch.bool)).all())


METHODS = {
    "enumeration": (Enumerate(torch.cartesian_prod(*(torch.linspace(-2, 2, 161, dtype=DOUBLE),) * 2)), 0.03),
    "CEM": (CEM(400, 60, smoothing=0.3), 1e-3),
    "augmented Lagrangian": (AugmentedLagrangian(LBFGS()), 1e-5),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_most_offending_answer_lies_on_the_far_side_of_the_radius(name: str) -> None:
    """E = ½ θ |y|² and y_i at distance d < ε from 0: ȳ is on the ray through 0, with E_I = ½ θ (ε - d)²."""
    method, close = METHODS[name]
    theta = torch.tensor(1.7, dtype=DOUBLE, requires_grad=True)

    @energy
    def bowl(y: Tensor) -> Tensor:
        return 0.5 * theta * y.square().sum(1)

    y = torch.tensor([[0.2, 0.1], [-0.3, 0.3], [0.05, 0.0]], dtype=DOUBLE)
    answers = MostOffending(method, Normal(2, scale=0.8), radius=0.6, max_steps=300)
    contrast = HingeLoss(answers).contrast(bowl, seeded(), y=y)
    distance = 0.6 - y.norm(dim=1)
    torch.testing.assert_close(contrast.offending, 0.5 * theta * distance**2, rtol=0, atol=close)
    value, _ = answers.wrong(bowl, "y", y, {}, seeded())
    assert float((value.squeeze(1) - y).norm(dim=1).min()) >= 0.6 - 1e-12
    (slope,) = torch.autograd.grad(contrast.offending.sum(), theta)  # that of the minimum, by the envelope
    torch.testing.assert_close(slope, (0.5 * distance**2).sum(), rtol=0, atol=3 * close)


def test_without_a_radius_any_method_will_do_and_the_perceptron_sees_the_minimum() -> None:
    @energy
    def bowl(x: Tensor, y: Tensor) -> Tensor:
        return (y - x).square().sum(1) + 3

    x, y = draw(6, 2, seed=12), draw(6, 2, seed=13)
    loss = PerceptronLoss(MostOffending(GradientDescent(0.4), Zeros(2), radius=0.0))
    torch.testing.assert_close(loss(bowl, x=x, y=y).loss, (y - x).square().sum(1).mean(), rtol=0, atol=1e-9)


def test_an_observation_is_encoded_once_however_many_answers_are_tried() -> None:
    class Counted(nn.Linear):
        rows = 0

        def forward(self, x: Tensor) -> Tensor:
            Counted.rows += len(x)
            return super().forward(x)

    encoder = Counted(3, 10, dtype=DOUBLE)
    E = table.compose(x=(encoder, "image"))
    y = torch.randint(10, (8,), generator=seeded(14))
    HingeLoss(AllAnswers(10))(E, image=draw(8, 3, seed=15), y=y)
    assert Counted.rows == 8


# --- which of them can collapse -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_the_sufficient_condition_holds_for_losses_with_a_margin(name: str) -> None:
    """Some (E_C, E_I) with E_C + m < E_I costs less than all with E_C + m > E_I, on a grid of [0, 5]²."""
    at = torch.linspace(0, 5, 6, dtype=DOUBLE)
    x, loss = torch.cartesian_prod(at, at), LOSSES[name](AllAnswers(2))
    right = torch.zeros(1, dtype=torch.int64)
    cost = torch.stack([loss(table, x=row[None], y=right).loss for row in x])

    def fit_for_learning(margin: float) -> bool:
        room = x[:, 1] - x[:, 0] - margin
        return bool(cost[room > 1e-9].min() < cost[room < -1e-9].min() - 1e-9)

    assert fit_for_learning(1.0) == (name not in NO_MARGIN)
    assert fit_for_learning(0.0)  # the perceptron and LVQ2 do tell right from wrong, by no margin


class Distance(Energy):
    """E(x, y) = |G x - h(y)|²: two learned codes, so that the energy can be flat, at 0."""

    def __init__(self, scale: float):
        super().__init__()
        self.encode = nn.Linear(2, 2, bias=False, dtype=DOUBLE)
        self.place = nn.Parameter(scale * draw(3, 2, seed=21))
        self.encode.weight.data = scale * draw(2, 2, seed=20)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.encode(x) - self.place[y]).square().sum(1)


@pytest.mark.parametrize("name", LOSSES)
def test_a_flat_energy_stays_flat_under_those_without_a_margin_and_under_no_other(name: str) -> None:
    """Classes at the corners of a triangle. Started all but flat, a good loss opens a gap."""
    y = torch.randint(3, (120,), generator=seeded(22))
    angle = y * (2 * math.pi / 3)
    x = torch.stack([angle.cos(), angle.sin()], 1).double() + 0.1 * draw(120, 2, seed=23)
    E, answers = Distance(1e-3), AllAnswers(3)
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    fit(E, LOSSES[name](answers), {"x": x, "y": y}, optimizer=sgd, steps=110, batch_size=120, progress=False)
    contrast = Contrast(*(e.detach() for e in HingeLoss(answers).contrast(E, x=x, y=y)))
    gap = float((contrast.offending - contrast.correct).mean())
    if name in NO_MARGIN:
        assert abs(gap) < 1e-4 and float(contrast.offending.max()) < 1e-3
    else:
        assert gap > 0.9 and float((contrast.offending > contrast.correct).double().mean()) > 0.97


class Curve(Energy):
    """E(x, y) = |g(x) - h(y)|² for real x and y, with networks for both."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(30)
            make = (nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 3))
            self.g, self.h = nn.Sequential(*make).double(), nn.Sequential(nn.Linear(1, 16), nn.Tanh())
            self.h.append(nn.Linear(16, 3)).double()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.g(x) - self.h(y)).square().sum(1)


@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (lambda answers: AverageEnergy(), "flat energy"),
        (PerceptronLoss, "flat energy"),
        (partial(HingeLoss, margin=4.0), "alive"),
    ],
)
def test_the_collapse_meter_agrees_for_real_answers(make: Make, verdict: str) -> None:
    """y = sin 2x, answers on a grid, of which those within 0.3 are right."""
    x = 3 * torch.rand(64, 1, generator=seeded(31), dtype=DOUBLE) - 1.5
    y = (2 * x).sin()
    grid = torch.linspace(-1.3, 1.3, 27, dtype=DOUBLE).unsqueeze(1)
    E, loss = Curve(), make(AnswerSet(grid, radius=0.3))
    adam = partial(torch.optim.Adam, lr=0.05)
    fit(E, loss, {"x": x, "y": y}, optimizer=adam, steps=150, batch_size=64, progress=False)
    report = collapse_report(E, y, given={"x": x}, generator=seeded(32))
    assert report.verdict.startswith(verdict), f"{report}"


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [SquareSquareLoss, SquareExponentialLoss])
def test_square_losses_refuse_energies_below_zero(make: Make) -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [0.5, 2.0, -0.1]], dtype=DOUBLE)
    with pytest.raises(ValueError, match=r"never below 0.*row 1 \(1 of 2\) has one of -0\.1"):
        make(AllAnswers(3))(table, x=x, y=torch.tensor([0, 0]))


def test_what_does_not_fit_is_told() -> None:
    x = draw(2, 3)
    hinge = HingeLoss(AllAnswers(3))
    with pytest.raises(TypeError, match="AllAnswers"):
        HingeLoss(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="margin"):
        HingeLoss(AllAnswers(3), margin=0.0)
    with pytest.raises(ValueError, match=r"answers lie in \[0, 3\)"):
        hinge(table, x=x, y=torch.tensor([0, 3]))
    with pytest.raises(TypeError, match="int64"):
        hinge(table, x=x, y=torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"AllAnswers\(n, \*shape\)"):
        hinge(table, x=x, y=torch.tensor([[0], [1]]))
    with pytest.raises(TypeError, match="'y' is missing"):
        hinge(table, x=x)
    with pytest.raises(ValueError, match="two or more"):
        AllAnswers(1)
    with pytest.raises(TypeError, match="MostOffending, which finds one"):
        EmpiricalErrorLoss(MostOffending(CEM(20, 5), Normal(1), 0.1))
    with pytest.raises(TypeError, match="AugmentedLagrangian"):  # a gradient method and a constraint
        HingeLoss(MostOffending(GradientDescent(0.1), Zeros(1), 0.5))(energy(lambda y: y.sum(1)), y=x[:, :1])
    with pytest.raises(TypeError, match="AllAnswers"):
        HingeLoss(MostOffending(CEM(20, 5), Data("correct"), 0.5))(table, x=x, y=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"row 1 .* has no wrong answer"):
        HingeLoss(AnswerSet(torch.zeros(1, 1, dtype=DOUBLE), radius=1.0))(
            energy(lambda y: y.sum(1)), y=torch.tensor([[3.0], [0.5]], dtype=DOUBLE)
        )
    with pytest.raises(ValueError, match="radius"):
        AnswerSet(torch.zeros(1, 1), radius=-1.0)
    assert Contrast(torch.ones(2), torch.ones(2, 3)).every.shape == (2, 4)
