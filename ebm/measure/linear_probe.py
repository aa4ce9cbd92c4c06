"""The linear probe: what a linear classifier reads off codes.

    ridge       W = argmin (1/N) Σ_n |e_{y_n} - W x_n - b|² + γ |W|²
    logistic    W = argmin (1/N) Σ_n (ln Σ_k exp(W x_n + b)_k - (W x_n + b)_{y_n}) + ½ γ |W|²
    x = (z - z̄) / std(z), by dimension, with mean and standard deviation of the training codes

and the prediction is the greatest entry of W x + b. Ridge regression on one-hot targets e_y is one linear
system; logistic regression is an energy of W, minimized by L-BFGS in the coordinates in which the codes'
covariance and γ together are round (without which it takes some hundred steps for a few correlated ones).
Standardized codes make γ free of units: a probe does not depend on the scale of any dimension.
γ corresponds to scikit-learn's alpha = N γ (RidgeClassifier) and C = 1 / (N γ) (LogisticRegression).

Reference: Alain & Bengio (2017), "Understanding intermediate layers using linear classifier probes"; Hastie,
Tibshirani & Friedman (2009), "The Elements of Statistical Learning", sect. 4.2 and 4.4.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ebm.energy import Energy
from ebm.infer.lbfgs import LBFGS
from ebm.infer.minimize import minimize, warn_unconverged
from ebm.measure.probe import Examples, Labeled, ProbeResult, examples
from ebm.measure.spectrum import blocks, double
from ebm.solution import one_tensor

Kind = Literal["logistic", "ridge"]


def linear_probe(
    train: Labeled, test: Labeled, *, kind: Kind = "logistic", strength: float = 1e-3
) -> ProbeResult:
    """Fit a linear classifier to training codes, and count how often it is right on test codes.

    Everything is computed in float64.

    Args:
        train, test: codes and their labels, (N, D) floating point and (N,) integers; N may differ.
        kind: "logistic" or "ridge", which is many times faster.
        strength: γ > 0, the pull of the weights to 0.

    Raises:
        TypeError, ValueError: for input of another form, or a setting out of range.

    Example:
        >>> from ebm.data import digits
        >>> train, test = [(images.flatten(1), labels) for images, labels in (digits(), digits("test"))]
        >>> [round(linear_probe(train, test, kind=kind).accuracy, 2) for kind in ("logistic", "ridge")]
        [0.9, 0.86]
    """
    if kind not in ("logistic", "ridge"):
        raise ValueError(f"kind is 'logistic' or 'ridge'; got {kind!r}.")
    if not 0 < strength < math.inf:
        raise ValueError(f"strength is positive and finite; got {strength}.")
    data = examples(train, test)
    mean, scale = _moments(data.codes)
    fit = _logistic if kind == "logistic" else _ridge
    weights, bias = fit(data, mean, scale, strength)
    best = [((part - mean) * scale @ weights + bias).argmax(1) for part in blocks(data.test_codes)]
    return data.result(torch.cat(best).to(data.classes.device))


class SoftmaxRegression(Energy):
    """E(w) = (1/N) Σ_n (ln Σ_k exp(x_nᵀw)_k - (x_nᵀw)_{y_n}) + ½ Σ_d γ_d |w_d|²; w's last row is the bias.

    Args:
        x: features, (N, D).
        y: classes 0 to K - 1, (N,) int64.
        strength: γ, the same for all features, or one for each, (D,).

    Example:
        >>> E = SoftmaxRegression(torch.eye(2), torch.tensor([0, 1]), strength=0.1)
        >>> E(w=torch.zeros(1, 3, 2))  # ln 2
        tensor([0.6931])
    """

    closed_form: ClassVar[tuple[str, ...]] = ("w",)

    x: Tensor
    targets: Tensor
    pull: Tensor

    def __init__(self, x: Tensor, y: Tensor, strength: float | Tensor):
        super().__init__()
        self.register_buffer("x", torch.cat([x, x.new_ones(len(x), 1)], 1))
        self.register_buffer("targets", one_hot(y).to(x))  # (N, K)
        pull = torch.as_tensor(strength, dtype=x.dtype, device=x.device).expand(x.shape[1])
        self.register_buffer("pull", torch.cat([pull, x.new_zeros(1)]).unsqueeze(1))

    def forward(self, w: Tensor) -> Tensor:
        return self._energy(w, self._log_p(w))

    def value_and_grad(self, name: str, w: Tensor) -> tuple[Tensor, Tensor]:
        """The energy (B,) and its gradient (B, D + 1, K): xᵀ(p - e_y) / N + γ w."""
        log_p = self._log_p(w)
        off = log_p.exp() - self.targets
        gradient = (off.mT @ self.x).mT / len(self.x) + self.pull * w  # four times as fast as xᵀ @ off
        return self._energy(w, log_p), gradient

    def _log_p(self, w: Tensor) -> Tensor:
        return torch.log_softmax(self.x @ w, 2)  # (B, N, K)

    def _energy(self, w: Tensor, log_p: Tensor) -> Tensor:
        entropy = -(self.targets * log_p).flatten(1).sum(1) / len(self.x)
        return entropy + 0.5 * (self.pull * w.square()).flatten(1).sum(1)


def _moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, and 1 / standard deviation (divided by N); 0 for a dimension that never changes."""
    first = double(z[0])
    mean = first + torch.stack([(part - first).sum(0) for part in blocks(z)]).sum(0) / len(z)
    variance = torch.stack([(part - mean).square().sum(0) for part in blocks(z)]).sum(0) / len(z)
    return mean, variance.rsqrt().masked_fill(variance == 0, 0.0)


def _ridge(data: Examples, mean: Tensor, scale: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """With x centered, b is the share of each class and W solves (xᵀx / N + γ I) W = xᵀe / N."""
    count, classes = len(data.codes), len(data.classes)
    gram, cross = mean.new_zeros(len(mean), len(mean)), mean.new_zeros(len(mean), classes)
    start = 0
    for part in blocks(data.codes):
        x = (part - mean) * scale
        targets = one_hot(data.places[start : start + len(x)], classes).to(x)
        gram += x.T @ x
        cross += x.T @ targets
        start += len(x)
    gram.diagonal().add_(count * strength)
    share = torch.bincount(data.places, minlength=classes).to(mean) / count
    return torch.cholesky_solve(cross, torch.linalg.cholesky(gram)), share


def _logistic(data: Examples, mean: Tensor, scale: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    x = (double(data.codes) - mean) * scale
    variances, axes = torch.linalg.eigh(x.T @ x / len(x))
    axes = axes * (variances.clamp(min=0) + strength).rsqrt()  # w = axes v: every direction curves alike
    energy = SoftmaxRegression(x @ axes, data.places.to(x.device), strength * axes.square().sum(0))
    start = x.new_zeros(1, len(mean) + 1, len(data.classes))
    solution = minimize(energy, start, LBFGS(), max_steps=2000, tol=1e-6)
    warn_unconverged(solution, "linear_probe")
    v = one_tensor(solution.value)[0]
    return axes @ v[:-1], v[-1]
