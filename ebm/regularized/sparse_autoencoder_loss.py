"""What the published losses of sparse auto-encoders add to the average of F, and a cure of dead latents.

    GateReconstruction    ⟨ |y - b - max(a, 0) D|² ⟩, b and D held                          for `Gated`
    DeadReconstruction    ⟨ |e - ê|² ⟩,  e = y - decode(encode(y)) held, ê = z_dead D       for `TopK`, ...

A gate is a step, through which no gradient comes: its own reconstruction teaches it. A latent that is never
on gets no gradient either: the second term lets the dead ones, the k greatest of them, explain what is left.
`Revive`, a callback, moves them to what is left instead.

Reference: Rajamanoharan et al. (2024), "Improving Dictionary Learning with Gated Sparse Autoencoders", sect.
3.2; Gao et al. (2024), "Scaling and Evaluating Sparse Autoencoders", appendix A.2 (AuxK).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.history import History
from ebm.infer.method import count
from ebm.loss import Loss, LossOutput
from ebm.processes import average, world_size
from ebm.regularized.sparse_autoencoder import GuessedEnergy, SparseAutoEncoder
from ebm.regularizers.nonnegative_counts import greatest
from ebm.rows import dot


class GateReconstruction(Loss):
    """The error of what the gate alone would decode, with the decoder held.

    `AverageEnergy() + GateReconstruction()` is the published loss of a gated auto-encoder.

    Example:
        >>> from ebm.regularized.sparse_activations import Gated
        >>> free = SparseAutoEncoder(torch.eye(2), Gated(2, 0.1)).free_energy
        >>> GateReconstruction()(free, y=torch.tensor([[2.0, -1.0]])).loss.item()
        1.0
    """

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        model, y = _model(energy, data)
        held = model.reconstruction
        error = y - held.bias.detach() - model.preactivations(y).relu() @ held.dictionary.detach()
        return LossOutput(dot(error, error).mean(), {})


class DeadReconstruction(Loss):
    """How badly latents that were long off explain what the others leave unexplained; 0 while none is dead.

    `AverageEnergy() + (1 / 32) * DeadReconstruction(...)` is the published loss of a top-k auto-encoder. In
    training the loss counts how many rows came since each latent was on, in all processes together.

    Args:
        latents: K.
        k: how many dead latents may explain a row; half of the data's dimension in the paper.
        patience: rows without being on after which a latent counts as dead.

    Attributes:
        idle: rows since each latent was on, (K,) int64.

    Example:
        >>> from ebm.regularized.sparse_activations import TopK
        >>> free, loss = SparseAutoEncoder(torch.eye(2), TopK(1)).free_energy, DeadReconstruction(2, 1, 1)
        >>> y = torch.tensor([[2.0, -1.0]])
        >>> [loss(free, y=y).loss.item() for _ in range(2)]  # dead after one row, the second explains nothing
        [0.0, 1.0]
        >>> loss.idle
        tensor([0, 2])
    """

    idle: Tensor

    def __init__(self, latents: int, k: int, patience: int = 100_000):
        super().__init__()
        self.k, self.patience = count("k", k), count("patience", patience)
        self.register_buffer("idle", torch.zeros(count("latents", latents), dtype=torch.int64))

    @property
    def dead(self) -> Tensor:
        """Which latents count as dead, (K,) bool."""
        return self.idle >= self.patience

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        model, y = _model(energy, data)
        if len(self.idle) != len(model.encoder_bias):
            raise ValueError(
                f"this loss watches {len(self.idle)} latents; the model has {len(model.encoder_bias)}."
            )
        a, dead = model.preactivations(y), self.dead.to(y.device)
        z = model.activation(a)
        left = (y - model.decode(z)).detach()
        error = left - greatest(a.masked_fill(~dead, -torch.inf), self.k) @ model.dictionary
        loss = torch.where(dead.any(), dot(error, error).mean(), 0.0)
        if self.training:
            on = (z > 0).any(0).to(torch.float32)
            average([on])  # a latent is dead where it is off in every process
            self.idle.copy_(torch.where(on > 0, 0, self.idle.to(on.device) + len(y) * world_size()))
        return LossOutput(loss, {"dead latents": dead.sum().to(y.dtype)})


class Revive:
    """Give dead latents the worst explained rows, now and then; hand it to `fit` as a callback.

    Args:
        model: the auto-encoder that is trained.
        y: data to look for dead latents and badly explained rows, (N, P).
        every: steps between two looks.
        until: no look after this step, so that the last ones can settle; None: to the end.

    Example:
        >>> from ebm.regularized.sparse_activations import TopK
        >>> model = SparseAutoEncoder(torch.eye(2), TopK(1))
        >>> revive = Revive(model, torch.tensor([[2.0, 1.0], [3.0, -1.0]]), every=10)
        >>> _ = revive(10, History())
        >>> revive.revived
        1
    """

    def __init__(self, model: SparseAutoEncoder, y: Tensor, every: int, until: int | None = None):
        self.model, self.y, self.every, self.until = model, y, count("every", every), until
        self.revived = 0

    def __call__(self, step: int, history: History) -> None:
        if step % self.every == 0 and (self.until is None or step <= self.until):
            self.revived += self.model.revive(self.y)


def _model(energy: Energy, data: dict[str, Any]) -> tuple[SparseAutoEncoder, Tensor]:
    if not isinstance(energy, GuessedEnergy):
        raise TypeError(f"this loss is of the `free_energy` of a SparseAutoEncoder; got {energy.label}.")
    if set(data) != {"y"}:
        raise TypeError(f"this loss reads y alone; got {', '.join(data) or 'nothing'}.")
    return energy.model, data["y"]
