"""Sparse auto-encoders: sparse coding whose codes an encoder guesses at once, as used to read networks.

    E(y, z) = |y - b - zD|² + penalty(z),    |D_j| = 1,        encode(y) = z(a),  a = (y - b) W + c
    F(y)    = |y - b - encode(y) D|² + charge(a)

Few latents are on at a time, so few y can have low energy, however many latents there are. F is the energy of
a guess, E(y, encode(y)) (but for `Gated`, which charges for gates): never below min_z E(y, z), which `infer`
finds with the guess as its start (for the counting penalties, a minimum near by). z(a), penalty, charge: see
`ebm.regularized.sparse_activations`.

Reference: Bricken et al. (2023), "Towards Monosemanticity: Decomposing Language Models with Dictionary
Learning" (pre-bias, unit atoms, reviving); Gao et al. (2024), "Scaling and Evaluating Sparse Autoencoders",
sect. 2 (W begins as Dᵀ).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ebm.energy import Energy, Sum
from ebm.infer.method import Method, count
from ebm.infer.minimize import minimize
from ebm.infer.proximal import SpaRSA
from ebm.regularized.checks import check_parameters, check_width
from ebm.regularized.exact import check_data, home
from ebm.regularized.sparse_activations import SparseActivation
from ebm.rows import dot
from ebm.solution import Solution


class UnitReconstruction(Energy):
    """E(y, z) = |y - b - zD|², the rows of D brought to length 1 whatever their parameters are.

    Args:
        dictionary: D, (K, P).
        bias: b, (P,).
    """

    def __init__(self, dictionary: Tensor, bias: Tensor):
        super().__init__()
        self.atoms = nn.Parameter(dictionary.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())

    @property
    def dictionary(self) -> Tensor:
        """D, (K, P), rows of length 1."""
        return normalize(self.atoms, dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """b + zD, (B, K) -> (B, P)."""
        return self.bias + check_width("z", z, len(self.atoms)) @ self.dictionary

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        if y.ndim != 2 or z.ndim != 2 or (z.shape[1], y.shape[1]) != self.atoms.shape:
            latents, size = self.atoms.shape
            raise ValueError(
                f"data is (B, {size}), codes (B, {latents}); got {tuple(y.shape)} and {tuple(z.shape)}."
            )
        error = y - self.decode(z)
        return dot(error, error)


class LatentReport(NamedTuple):
    """What the latents do on some data.

    Attributes:
        frequency: share of rows on which each is on, (K,).
        dead: which are never on, (K,) bool.
        active: mean number that are on a row.
        explained: share of the variance about the mean that the decoded codes explain.
    """

    frequency: Tensor
    dead: Tensor
    active: float
    explained: float

    def __str__(self) -> str:
        return (
            f"{int(self.dead.sum())} of {len(self.dead)} latents dead; {self.active:.1f} on a row; "
            f"{self.explained:.1%} of the variance explained"
        )


class SparseAutoEncoder(Sum):
    """E(y, z) = |y - b - zD|² + penalty(z), and an encoder that guesses z; y is (B, P) and z (B, K).

    Args:
        dictionary: D to begin with, (K, P), no row 0; the encoder's weights W begin as Dᵀ, its biases at 0.
        bias: b to begin with, (P,); zeros if None.
        activation: how codes become sparse, e.g. `TopK(32)`, `Rectified(0.1)`.
        method: how `infer` refines a code; SpaRSA if None, each step downhill.

    Raises:
        ValueError: if the dictionary is no matrix, holds a row of zeros, or the bias doesn't fit.

    Example:
        >>> from ebm.regularized.sparse_activations import TopK
        >>> model = SparseAutoEncoder(torch.eye(3), TopK(1))
        >>> y = torch.tensor([[3.0, 1.0, -1.0], [0.0, 4.0, 1.0]])
        >>> model.encode(y).detach(), model.free_energy(y=y).detach()
        (tensor([[3., 0., 0.],
                [0., 4., 0.]]), tensor([2., 1.]))
        >>> print(model.latents(y))
        1 of 3 latents dead; 1.0 on a row; 72.7% of the variance explained
    """

    def __init__(
        self,
        dictionary: Tensor,
        activation: SparseActivation,
        bias: Tensor | None = None,
        method: Method | None = None,
    ):
        if dictionary.ndim != 2 or bool((dictionary == 0).all(1).any()):
            raise ValueError(
                f"a dictionary is (K, P), one atom a row, none of them 0; got {tuple(dictionary.shape)}, "
                f"{int((dictionary == 0).all(-1).sum())} rows of zeros."
            )
        bias = dictionary.new_zeros(dictionary.shape[1]) if bias is None else bias
        if bias.shape != dictionary.shape[1:]:
            raise ValueError(f"b is ({dictionary.shape[1]},), as an atom; got shape {tuple(bias.shape)}.")
        check_parameters(dictionary=dictionary, bias=bias)
        if not isinstance(activation, SparseActivation):
            raise TypeError(f"an activation is a SparseActivation, such as TopK(32); got {activation!r}.")
        if activation.latents not in (None, len(dictionary)):
            raise ValueError(
                f"{type(activation).__name__} is for {activation.latents} latents; the dictionary has "
                f"{len(dictionary)}."
            )
        reconstruction = UnitReconstruction(normalize(dictionary, dim=1), bias)
        super().__init__(reconstruction, activation.penalty)
        self.activation = activation.to(dictionary)
        self.encoder = nn.Parameter(reconstruction.dictionary.detach().T.clone())  # W, (P, K)
        self.encoder_bias = nn.Parameter(dictionary.new_zeros(len(dictionary)))  # c, (K,)
        self.method = SpaRSA(memory=1) if method is None else method  # downhill: not all penalties are convex

    @classmethod
    def from_data(
        cls,
        y: Tensor,
        latents: int,
        activation: SparseActivation,
        *,
        method: Method | None = None,
        generator: torch.Generator | None = None,
    ) -> SparseAutoEncoder:
        """A model with random atoms around the mean of the data, ready to be trained.

        Args:
            y: (N, P), finite.
            latents: K, fewer or more than N or P.

        Raises:
            ValueError: if there is no row, or one holds NaN or infinity (named by its index).
        """
        mean = check_data(y).mean(0)
        shape = (count("latents", latents), y.shape[1])
        atoms = torch.randn(shape, generator=generator, dtype=y.dtype, device=home(generator))
        return cls(atoms.to(y.device), activation, mean, method)

    @property
    def reconstruction(self) -> UnitReconstruction:
        """The first term."""
        part = self.parts["UnitReconstruction"]
        if not isinstance(part, UnitReconstruction):
            raise TypeError(f"the first term is a UnitReconstruction; found {type(part).__name__}.")
        return part

    @property
    def dictionary(self) -> Tensor:
        """D, (K, P), rows of length 1."""
        return self.reconstruction.dictionary

    def preactivations(self, y: Tensor) -> Tensor:
        """a = (y - b) W + c, (B, P) -> (B, K)."""
        check_width("y", y, len(self.encoder))
        return (y - self.reconstruction.bias) @ self.encoder + self.encoder_bias

    def encode(self, y: Tensor) -> Tensor:
        """The guess z(a), (B, P) -> (B, K)."""
        return self.activation(self.preactivations(y))

    def decode(self, z: Tensor) -> Tensor:
        """What codes stand for, b + zD, (B, K) -> (B, P)."""
        return self.reconstruction.decode(z)

    @property
    def free_energy(self) -> GuessedEnergy:
        """F(y), the energy of the encoder's guess: an energy of y, to be trained with `AverageEnergy`."""
        return GuessedEnergy(self)

    def infer(
        self, y: Tensor, start: Tensor | None = None, *, max_steps: int = 1000, tol: float = 1e-5
    ) -> Solution:
        """argmin_z E(y, z), from the encoder's guess or a start (B, K), whose energy is never exceeded."""
        with torch.no_grad():  # so that no activation learns from it
            begin = self.encode(y) if start is None else start
        return minimize(self, begin, self.method, given={"y": y}, max_steps=max_steps, tol=tol)

    @torch.no_grad()
    def latents(self, y: Tensor) -> LatentReport:
        """How often each latent is on in data (N, P), which never are, and what they explain."""
        z = self.encode(check_data(y, self.encoder.shape[0]))
        frequency = (z > 0).to(y.dtype).mean(0)
        left, all_of_it = (y - self.decode(z)).square().sum(), (y - y.mean(0)).square().sum()
        return LatentReport(frequency, frequency == 0, float(frequency.sum()), 1 - float(left / all_of_it))

    @torch.no_grad()
    def revive(self, y: Tensor) -> int:
        """Give latents that are never on in data (N, P) the rows of the highest energy F, one each, in place.

        Atom and encoder point to the row from b, the encoder as long as those of living latents on average,
        its bias 0. To be called while training, now and then (`Revive`).

        Returns:
            How many were given a row.
        """
        dead = self.latents(y).dead
        centered = y - self.reconstruction.bias
        order = self.free_energy.train(self.training)(y=y).argsort(descending=True)
        worst = order[centered[order].any(1)][: int(dead.sum())]
        index = dead.nonzero().flatten()[: len(worst)]
        atoms = normalize(centered[worst], dim=1)
        alive = self.encoder[:, ~dead]
        length = alive.norm(dim=0).mean() if alive.shape[1] else self.encoder.new_ones(())
        self.reconstruction.atoms[index] = atoms
        self.encoder[:, index] = length * atoms.T
        self.encoder_bias[index] = 0
        return len(index)


class GuessedEnergy(Energy):
    """F(y) = |y - decode(encode(y))|² + charge(a) of a sparse auto-encoder."""

    def __init__(self, model: SparseAutoEncoder):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        a = self.model.preactivations(y)
        return self.model.reconstruction(y=y, z=self.model.activation(a)) + self.model.activation.charge(a)
