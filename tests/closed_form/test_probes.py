"""Linear and nearest-neighbor probes against scikit-learn."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ebm.measure import knn_probe, linear_probe, spectrum
from ebm.measure.linear_probe import SoftmaxRegression

Pair = tuple[Tensor, Tensor]
LABELS = torch.tensor([-3, 4, 5, 11])  # any integers


def blobs(rows: int, seed: int, dim: int = 6, noise: float = 1.3, dtype: torch.dtype = torch.float64) -> Pair:
    """Codes of four classes that overlap, in units that differ from dimension to dimension."""
    centers = np.random.RandomState(99).standard_normal((4, dim))
    random = np.random.RandomState(seed)
    place = random.randint(0, 4, rows)
    z = (centers[place] + noise * random.standard_normal((rows, dim))) * 10.0 ** np.arange(dim) / 100 + 7
    return torch.from_numpy(z).to(dtype), LABELS[torch.from_numpy(place)]


TRAIN, TEST = blobs(300, 0), blobs(200, 1)


def scaled() -> tuple[np.ndarray, np.ndarray]:
    scaler = StandardScaler().fit(TRAIN[0].numpy())
    return scaler.transform(TRAIN[0].numpy()), scaler.transform(TEST[0].numpy())


# --- linear -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_linear_probe_equals_scikit_learn(kind: Any, strength: float) -> None:
    x, x_test = scaled()
    oracle = (
        LogisticRegression(C=1 / (300 * strength), tol=1e-10, max_iter=10_000)
        if kind == "logistic"
        else RidgeClassifier(alpha=300 * strength)
    )
    oracle.fit(x, TRAIN[1].numpy())
    result = linear_probe(TRAIN, TEST, kind=kind, strength=strength)
    assert result.predictions.dtype == torch.int64
    np.testing.assert_array_equal(result.predictions.numpy(), oracle.predict(x_test))
    assert result.accuracy == pytest.approx(oracle.score(x_test, TEST[1].numpy()))
    assert 0.3 < result.accuracy < 0.95  # so equality says something


def test_logistic_weights_equal_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = scaled()
    oracle = LogisticRegression(C=1 / (300 * 0.01), tol=1e-12, max_iter=10_000).fit(x, TRAIN[1].numpy())
    module = sys.modules["ebm.measure.linear_probe"]
    found: list[tuple[Tensor, Tensor]] = []
    fit = module._logistic

    def keep(*args: Any) -> tuple[Tensor, Tensor]:
        found.append(fit(*args))
        return found[0]

    monkeypatch.setattr(module, "_logistic", keep)
    linear_probe(TRAIN, TEST, strength=0.01)
    weights, bias = found[0]
    np.testing.assert_allclose(weights.T.numpy(), oracle.coef_, atol=1e-5)
    # a constant on all biases changes no probability: compare them without their mean
    np.testing.assert_allclose(
        (bias - bias.mean()).numpy(), oracle.intercept_ - oracle.intercept_.mean(), atol=1e-5
    )


def test_a_probe_that_did_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["ebm.measure.linear_probe"]
    whole = module.minimize
    monkeypatch.setattr(
        module, "minimize", lambda *args, **settings: whole(*args, **settings | {"max_steps": 2})
    )
    with pytest.warns(UserWarning, match="linear_probe.*converge"):
        linear_probe(TRAIN, TEST)


def test_softmax_regression_is_the_mean_cross_entropy_and_the_pull(generator: torch.Generator) -> None:
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    energy, w = SoftmaxRegression(x, y, 0.3), torch.randn(5, 4, 4, generator=generator, dtype=torch.float64)
    logits = x @ w[:, :3] + w[:, 3:]
    entropy = torch.stack([torch.nn.functional.cross_entropy(part, y) for part in logits])
    torch.testing.assert_close(energy(w=w), entropy + 0.15 * w[:, :3].square().sum((1, 2)))


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_linear_probe_doesnt_know_units_or_types(kind: Any) -> None:
    whole = linear_probe(TRAIN, TEST, kind=kind).predictions
    move = lambda pair: (pair[0] * 10.0 ** -torch.arange(6) - 3, pair[1])  # noqa: E731
    assert torch.equal(linear_probe(move(TRAIN), move(TEST), kind=kind).predictions, whole)
    dead = lambda pair: (torch.cat([pair[0], torch.full((len(pair[0]), 1), 0.1)], 1), pair[1])  # noqa: E731
    assert torch.equal(linear_probe(dead(TRAIN), dead(TEST), kind=kind).predictions, whole)
    narrow = lambda pair: (pair[0].float(), pair[1].int())  # noqa: E731
    assert torch.equal(linear_probe(narrow(TRAIN), narrow(TEST), kind=kind).predictions, whole)
    more = (torch.cat([TRAIN[0][:40], draw_wide(40)], 1), TRAIN[1][:40])  # more dimensions than rows
    assert linear_probe(more, more, kind=kind).accuracy == 1.0


def draw_wide(rows: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(5).standard_normal((rows, 80)))


def test_ridge_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = linear_probe(TRAIN, TEST, kind="ridge").predictions
    monkeypatch.setattr(spectrum, "ROWS", 24)
    assert torch.equal(linear_probe(TRAIN, TEST, kind="ridge").predictions, whole)


# --- nearest neighbors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 200, 300])
@pytest.mark.parametrize("temperature", [0.07, 1.0, None])
def test_knn_by_cosine_equals_scikit_learn(k: int, temperature: float | None) -> None:
    train, test = ((z / 10.0 ** torch.arange(6) * 100, y) for z, y in (TRAIN, TEST))
    train, test = ((z - z.mean(0), y) for z, y in (train, test))

    def weights(distance: np.ndarray) -> np.ndarray:  # the votes of Wu et al.: exp(cosine / τ)
        return np.ones_like(distance) if temperature is None else np.exp((1 - distance) / temperature)

    oracle = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights)
    oracle.fit(train[0].numpy(), train[1].numpy())
    result = knn_probe(train, test, k=k, temperature=temperature)
    np.testing.assert_array_equal(result.predictions.numpy(), oracle.predict(test[0].numpy()))
    assert result.accuracy == pytest.approx(oracle.score(test[0].numpy(), test[1].numpy()))


@pytest.mark.parametrize("k", [1, 7, 30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_knn_by_distance_equals_scikit_learn(k: int, dtype: torch.dtype) -> None:
    """Far from 0, too, where |z|² - 2⟨z, q⟩ + |q|² in float32 would be rounding errors only."""
    train, test = (((z / 10.0 ** torch.arange(6) + 3000).to(dtype), y) for z, y in (TRAIN, TEST))
    oracle = KNeighborsClassifier(k, algorithm="kd_tree").fit(train[0].numpy(), train[1].numpy())
    result = knn_probe(train, test, k=k, temperature=None, metric="euclidean")
    np.testing.assert_array_equal(result.predictions.numpy(), oracle.predict(test[0].numpy()))


def test_knn_by_hand_and_at_a_low_temperature() -> None:
    """At τ = 1 votes of exp(0.8) + exp(0.6) beat exp(1); at τ = 0.005 the nearest wins, though exp(200) is
    beyond float32."""
    codes = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0.0]])
    train, test = (codes, torch.tensor([1, 0, 0, 1])), (codes[:1].repeat(2, 1), torch.tensor([0, 1]))
    assert knn_probe(train, test, k=3, temperature=1.0).predictions.tolist() == [0, 0]
    assert knn_probe(train, test, k=3, temperature=0.005).predictions.tolist() == [1, 1]
    tie = knn_probe(train, test, k=4, temperature=None)
    assert tie.predictions.tolist() == [0, 0] and tie.accuracy == 0.5  # two votes each: the first class


@pytest.mark.parametrize(("others", "wins"), [(17, 1), (18, 0)])
def test_the_temperature_is_the_papers_unless_told_otherwise(others: int, wins: int) -> None:
    """At τ = 0.07 it takes exp(0.2 / τ) = 17.4 neighbors at a cosine of 0.8 to outvote one at 1."""
    codes = torch.tensor([[1.0, 0.0], *[[0.8, 0.6]] * others])
    labels = torch.tensor([1, *[0] * others])
    assert knn_probe((codes, labels), (codes[:2], labels[:2]), k=others + 1).predictions[0] == wins


def test_knn_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = knn_probe(TRAIN, TEST)
    monkeypatch.setattr(sys.modules["ebm.measure.knn_probe"], "ENTRIES", 300 * 7)
    assert torch.equal(knn_probe(TRAIN, TEST).predictions, whole.predictions)
    coarse = knn_probe((TRAIN[0].bfloat16(), TRAIN[1]), (TEST[0].bfloat16(), TEST[1]))
    assert abs(coarse.accuracy - whole.accuracy) < 0.1
    single = knn_probe(*((z.bfloat16().float(), y) for z, y in (TRAIN, TEST)))
    assert torch.equal(coarse.predictions, single.predictions)  # cosines of coarse codes aren't coarse


# --- both ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_a_label_that_training_never_saw_counts_as_wrong(probe: Callable[..., Any]) -> None:
    strange = (TEST[0], torch.full_like(TEST[1], 77))
    result = probe(TRAIN, strange)
    assert result.accuracy == 0.0 and set(result.predictions.tolist()) <= set(LABELS.tolist())


Z, Y = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: linear_probe(Z, (Z, Y)), TypeError, r"train is a pair \(codes \(N, D\), labels.*got Tensor"),
        (lambda: linear_probe((Z, Y), (Z, Y.float())), TypeError, "test labels are integers.*torch.float32"),
        (lambda: knn_probe((Z, Y), (Z, 1j * Y)), TypeError, "test labels are integers.*torch.complex64"),
        (lambda: knn_probe((Z, Y[:, None]), (Z, Y)), ValueError, r"each of 6 codes; got \(6, 1\)"),
        (lambda: linear_probe((Z, Y), (Z, [0, 1])), TypeError, "test labels are integers.*got list"),
        (
            lambda: knn_probe((Z, Y[:3]), (Z, Y)),
            ValueError,
            r"train needs a label for each of 6 codes; got \(3,\)",
        ),
        (lambda: knn_probe((Z, Y), (Z[:, :1], Y)), ValueError, "one encoder; got 2 and 1 dimensions"),
        (
            lambda: knn_probe((Z, 0 * Y), (Z, Y)),
            ValueError,
            r"tells classes apart; all training labels are \[0\]",
        ),
        (lambda: linear_probe((Z * math.nan, Y), (Z, Y)), ValueError, "train codes hold NaN"),
        (lambda: linear_probe((Z, Y), (Z, Y), kind="svm"), ValueError, "'logistic' or 'ridge'; got 'svm'"),
        (lambda: linear_probe((Z, Y), (Z, Y), strength=0), ValueError, "strength is positive.*got 0"),
        (lambda: linear_probe((Z, Y), (Z, Y), strength=math.inf), ValueError, "positive and finite; got inf"),
        (lambda: knn_probe((Z, Y), (Z, Y)), ValueError, "of 6 training codes.*got k=200"),
        (lambda: knn_probe((Z, Y), (Z, Y), k=0), ValueError, "got k=0"),
        (
            lambda: knn_probe((Z, Y), (Z, Y), k=1, temperature=0.0),
            ValueError,
            "temperature is positive.*got 0.0",
        ),
        (
            lambda: knn_probe((Z, Y), (Z, Y), k=1, metric="l2"),
            ValueError,
            "'cosine' or 'euclidean'; got 'l2'",
        ),
        (lambda: knn_probe((Z, Y), (Z, Y), k=1, metric="euclidean"), ValueError, "take temperature=None"),
    ],
)
def test_errors_teach(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
