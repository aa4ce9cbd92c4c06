"""Is a sample of numbers drawn from N(0, 1)? Statistics that are small if so, differentiable by the sample.

    EppsPulley       T = N ∫ |φ_N(t) - e^(-t²/2)|² e^(-t²/2) dt,    φ_N(t) = ⟨exp(i t x_n)⟩_n
    CramerVonMises   T = N ∫ (F_N(x) - Φ(x))² dΦ(x),                F_N the sample's distribution function
    Moments          T = |m_1| + Σ_{k=2}^K e^(-k) |m_k - E[g^k]|,   m_k = ⟨x_n^k⟩_n,  g ~ N(0, 1)
    Quantiles        T = ⟨(x_(n) - Φ⁻¹(n/(N+1)))²⟩_n,               x_(1) <= ... <= x_(N)

`SIGReg` averages one of them over random projections of codes. The first two have the factor N of test
statistics: for samples of N(0, 1) their mean doesn't depend on N, but where the sample has collapsed they
grow as N. So a weight that was tuned for one batch size is too large for a larger one; `times_n=False` takes
N out.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ebm.infer.method import count, positive
from ebm.joint.characteristic import characteristic_distance


class UnivariateTest(nn.Module, ABC):
    """A statistic of samples of numbers, (N, M) -> (M,): one for each column, small for N(0, 1)."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The statistics, (M,), of M samples of N numbers each, (N, M), in float32 or float64."""


class EppsPulley(UnivariateTest):
    """The distance of the characteristic function from that of N(0, 1), by the trapezoidal rule.

    T = N Σ_k w_k [(⟨cos t_k x⟩ - e^(-t_k²/2))² + ⟨sin t_k x⟩²],    w_k = e^(-t_k²/2) dt_k, both signs of t

    The default equals the official package: 17 knots on [0, 3], that is 33 on [-3, 3]. The paper's algorithm
    1 is `EppsPulley(17, 5.0, half_line=False)`; EB-JEPA has `EppsPulley(10, 3.0, half_line=False,
    times_n=False)`. On the whole line without quadrature, T = N [√(2π) ⟨e^(-(x_j-x_k)²/2)⟩_jk - 2√π
    ⟨e^(-x_j²/4)⟩_j + √(2π/3)].

    Args:
        knots: at least 2, equally spaced, with both ends.
        t_max: the greatest t > 0.
        half_line: knots from 0 to t_max, those at -t understood; else from -t_max to t_max.
        times_n: the factor N of T.

    Raises:
        ValueError: if a setting is out of its range.

    Reference: Epps & Pulley (1983), "A test for normality based on the empirical characteristic function";
    Balestriero & LeCun (2025), "LeJEPA", algorithm 1.

    Example:
        >>> EppsPulley(times_n=False)(torch.zeros(8, 1))  # 0.4089 for the integral over the whole line
        tensor([0.4020])
    """

    def __init__(self, knots: int = 17, t_max: float = 3.0, half_line: bool = True, times_n: bool = True):
        super().__init__()
        count("knots", knots, least=2)
        positive("t_max", t_max)
        self.times_n = times_n
        steps = knots - 1 if half_line else (knots - 1) / 2  # from 0 to t_max; an even number leaves 0 out
        self.step = t_max / steps
        self.first = self.step if steps == int(steps) else self.step / 2  # t = 0 adds nothing
        self.knots = math.ceil(steps)

    def forward(self, x: Tensor) -> Tensor:
        distance = characteristic_distance(x, self.first, self.step, self.knots)
        return len(x) * distance if self.times_n else distance


class CramerVonMises(UnivariateTest):
    """The distance of the distribution function from that of N(0, 1).

    T = 1/(12N) + Σ_n (Φ(x_(n)) - (2n-1)/(2N))², 1/6 on average for samples of N(0, 1), N/12 for zeros. The
    LeJEPA package has the mean of the squares alone, which is (T - 1/(12N)) / N.

    Args:
        times_n: the factor N of T, which is T as it stands above.

    Reference: Anderson & Darling (1952), "Asymptotic theory of certain 'goodness of fit' criteria based on
    stochastic processes".

    Example:
        >>> CramerVonMises()(torch.zeros(24, 1)).round(decimals=4)
        tensor([2.])
    """

    def __init__(self, times_n: bool = True):
        super().__init__()
        self.times_n = times_n

    def forward(self, x: Tensor) -> Tensor:
        number = len(x)
        middle = (torch.arange(number, dtype=x.dtype, device=x.device) + 0.5) / number
        squares = (torch.special.ndtr(x.T.sort(1).values) - middle).square()  # (M, N)
        statistic = squares.sum(1) + 1 / (12 * number)
        return statistic if self.times_n else statistic / number


class Moments(UnivariateTest):
    """The distance of the first moments from those of N(0, 1), which are 0, 1, 0, 3, 0, 15, ...

    T = |m_1| + Σ_{k=2}^K e^(-k) |m_k - E[g^k]|, as in the LeJEPA package. It sees K numbers and nothing else:
    many distributions that aren't normal have these moments.

    Args:
        most: K >= 1; 4 in the package.

    Raises:
        ValueError: if K isn't a positive integer.

    Reference: Balestriero & LeCun (2025), "LeJEPA", which argues against it.

    Example:
        >>> Moments()(torch.tensor([[1.0], [-1.0]]))  # only m_4 = 1 is wrong: 2 e^-4
        tensor([0.0366])
    """

    def __init__(self, most: int = 4):
        super().__init__()
        self.most = count("most", most)

    def forward(self, x: Tensor) -> Tensor:
        power, statistic = x, x.mean(0).abs()
        for k in range(2, self.most + 1):
            power = power * x
            moment = 0 if k % 2 else math.prod(range(k - 1, 0, -2))
            statistic = statistic + math.exp(-k) * (power.mean(0) - moment).abs()
        return statistic


class Quantiles(UnivariateTest):
    """The squared distance of the sorted sample from the quantiles of N(0, 1): W_2², from finitely many
    points.

    T = ⟨(x_(n) - q_n)²⟩_n,  q_n = Φ⁻¹(n/(N+1)), as in VISReg. The quantiles themselves vary by less than 1
    (by 0.57 for N = 8), so samples of N(0, 1) don't make T smallest.

    Reference: Wu, Balestriero, Levine (2026), "VISReg", eq. 5.

    Example:
        >>> Quantiles()(torch.tensor([[0.6745], [-0.6745], [0.0]])).round(decimals=6)
        tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        rank = torch.arange(1, len(x) + 1, dtype=torch.float64, device=x.device)
        quantiles = torch.special.ndtri(rank / (len(x) + 1)).to(x.dtype)
        return (x.T.sort(1).values - quantiles).square().mean(1)
