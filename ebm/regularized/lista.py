"""LISTA: a network that has learned to guess sparse codes, shaped as the first T steps of ISTA.

    z_0 = 0,   z_{t+1} = shrink(y W_e + z_t S, θ),   t < T        shrink: the prox of the regularizer

ISTA with step 1/L on E(y, z) = ½ |y - zD|² + λ R(z) is W_e = Dᵀ/L, S = I - DDᵀ/L, θ = λ/L, L the largest
eigenvalue of DDᵀ: so the network begins. Trained on data, it gets closer in T layers than T steps of ISTA or
FISTA do: it needs to be good for likely y alone. It is an amortized start, `Network(lista, "y")`, from which
an exact solve needs fewer steps.

Two energies train it, with `AverageEnergy`: the code error ½ |z - z_T(y)|² to codes z*(y) found beforehand
(`lista.code_error`), or the energy E(y, z_T(y)) itself, `model.compose(z=(lista, "y"))`, which asks for none.

Reference: Gregor & LeCun (2010), "Learning Fast Approximations of Sparse Coding", sect. 3.2, alg. 3; weights
of each layer's own: Chen, Liu, Wang & Yin (2018), "Theoretical Linear Convergence of Unfolded ISTA".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.infer.method import Method, count
from ebm.infer.minimize import minimize
from ebm.infer.proximal import FISTA, ProximalGradient
from ebm.infer.starts import Zeros
from ebm.regularized.sparse_coding import SparseCoding
from ebm.rows import dot
from ebm.solution import one_tensor


class LISTA(nn.Module):
    """T layers z ← shrink(y W_e + z S, θ), which begin as T steps of ISTA with step 1/L on a model.

    Args:
        model: what the codes are of; its regularizer has a `shrinkage` (L1, NonNegativeL1).
        layers: T >= 1.
        tied: one set of weights for all layers, as in the paper; else each layer has its own.

    Returns (of a call):
        The codes z_T, (B, K), of data y (B, P).

    Raises:
        TypeError: if the regularizer has no `shrinkage`.
        ValueError: if T isn't positive, or (on a call) y doesn't fit the dictionary.

    Example:
        >>> from ebm.infer.starts import Network
        >>> model = SparseCoding(torch.eye(3), sparsity=0.5)
        >>> lista, y = LISTA(model, layers=1), torch.tensor([[2.0, 0.25, -1.0]])
        >>> lista(y).detach()  # for orthogonal atoms one step of ISTA is exact
        tensor([[ 1.5000,  0.0000, -0.5000]])
        >>> model.infer(y, start=Network(lista, "y")).steps
        tensor([0])
    """

    low: Tensor
    high: Tensor

    def __init__(self, model: SparseCoding, layers: int, *, tied: bool = True):
        super().__init__()
        if not isinstance(model, SparseCoding):
            raise TypeError(f"LISTA guesses the codes of a SparseCoding; got {type(model).__name__}.")
        self.layers, sets = count("layers", layers), 1 if tied else layers
        shrinkage = getattr(model.regularizer, "shrinkage", None)
        if shrinkage is None:
            raise TypeError(
                f"LISTA shrinks each coordinate alone; {model.regularizer.label} has no `shrinkage`. "
                "Use L1 or NonNegativeL1."
            )
        dictionary, found = model.dictionary.detach(), shrinkage()
        atoms = len(dictionary)
        gram = dictionary @ dictionary.T
        length = largest_curvature(model)
        own, low, high = (
            torch.as_tensor(v, dtype=gram.dtype, device=gram.device)
            for v in (found.threshold, found.low, found.high)
        )
        threshold = model.sparsity / length * own.expand(atoms)
        eye = torch.eye(atoms, dtype=gram.dtype, device=gram.device)
        self.encoder = nn.Parameter((dictionary.T / length).repeat(sets, 1, 1))  # W_e, (sets, P, K)
        self.inhibition = nn.Parameter((eye - gram / length).repeat(sets, 1, 1))  # S, (sets, K, K)
        self.log_threshold = nn.Parameter(threshold.log().repeat(sets, 1))  # (sets, K): θ stays positive
        self.register_buffer("low", low.clone())
        self.register_buffer("high", high.clone())

    def forward(self, y: Tensor) -> Tensor:
        size, atoms = self.encoder.shape[1:]
        if y.ndim != 2 or y.shape[1] != size:
            raise ValueError(
                f"LISTA reads data (B, {size}), as its dictionary has; got shape {tuple(y.shape)}."
            )
        if not y.is_floating_point():
            raise TypeError(f"y is a tensor of floating point numbers; got {y.dtype}.")
        z = y.new_zeros(len(y), atoms)
        for layer in range(self.layers):
            own = layer % len(self.encoder)
            v = y @ self.encoder[own] + z @ self.inhibition[own]
            theta = self.log_threshold[own].exp()
            z = (v - v.clamp(-theta, theta)).clamp(self.low, self.high)
        return z

    @property
    def code_error(self) -> CodeError:
        """½ |z - z_T(y)|², an energy of y and its code z, to be trained on codes found by `model.infer`."""
        return CodeError(self)


class CodeError(Energy):
    """E(y, z) = ½ |z - f(y)|²: how far a network's guess f(y) is from the code z.

    Args:
        network: f, a module (B, P) -> (B, K).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        error = z - self.network(y)
        return 0.5 * dot(error, error)


class Curves(NamedTuple):
    """Code errors of three ways to guess, each (N,), at N depths.

    Attributes:
        depth: T, int64.
        ista, fista, lista: Σ_i |z_T(y_i) - z*(y_i)|² / Σ_i |z*(y_i)|².
    """

    depth: Tensor
    ista: Tensor
    fista: Tensor
    lista: Tensor


def error_against_depth(model: SparseCoding, y: Tensor, networks: Sequence[LISTA]) -> Curves:
    """The relative code error of networks on data, beside as many steps of ISTA and FISTA with step 1/L.

    Args:
        model: whose codes z* are to be guessed; they are found with the tolerance √eps / 10.
        y: (B, P).
        networks: one for each depth T to look at.

    Returns:
        `Curves`, in the order of the networks.

    Raises:
        ValueError: if there is no network, or all codes are 0.

    Example:
        >>> model = SparseCoding(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), sparsity=0.1)
        >>> y = torch.tensor([[2.0, 1.0], [-1.0, 2.0]])
        >>> curves = error_against_depth(model, y, [LISTA(model, 2), LISTA(model, 4)])
        >>> torch.allclose(curves.lista, curves.ista, rtol=1e-3)  # untrained
        True
    """
    if not networks:
        raise ValueError("there is no depth to look at; pass networks, [LISTA(model, t) for t in (1, 2, 4)].")
    depths = [network.layers for network in networks]
    exact = one_tensor(model.infer(y, max_steps=100_000, tol=0.1 * torch.finfo(y.dtype).eps ** 0.5).value)
    scale = exact.square().sum()
    if not bool(scale > 0):
        raise ValueError("every code is 0, so no error can be told; take less sparsity.")
    step = 1 / largest_curvature(model)

    def errors(method: Method) -> Tensor:
        start = Zeros(len(model.dictionary))
        run = minimize(model, start, method, given={"y": y}, max_steps=max(depths), tol=0.0, trace=True)
        if run.trace is None:
            raise TypeError("a solve with trace=True comes with its trace")
        path = one_tensor(run.trace.value)  # (T + 1, B, K), or fewer where all rows have stopped
        return torch.stack([(path[min(t, len(path) - 1)] - exact).square().sum() / scale for t in depths])

    with torch.no_grad():
        guesses = [(network(y) - exact).square().sum() / scale for network in networks]
    return Curves(
        torch.tensor(depths, device=y.device),
        errors(ProximalGradient(step, backtracking=False)),
        errors(FISTA(step, backtracking=False, restart=False)),
        torch.stack(guesses),
    )


def largest_curvature(model: SparseCoding) -> float:
    """L, the largest eigenvalue of DDᵀ: the step 1/L of ISTA never overshoots.

    Raises:
        ValueError: if the dictionary is 0 or not finite.
    """
    length = float(torch.linalg.matrix_norm(model.dictionary.detach().double(), 2)) ** 2
    if not 0 < length < math.inf:
        raise ValueError(f"a dictionary with finite atoms that aren't all 0 is needed; its |D|² is {length}.")
    return length
