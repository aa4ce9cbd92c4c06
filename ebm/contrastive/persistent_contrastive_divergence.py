"""Persistent contrastive divergence (PCD): the chains go on from where the last update left them.

    L = ⟨E(y⁺)⟩ - ⟨E(y⁻)⟩,        y⁻: k steps of a sampler from where its chain in the buffer stands

Chains of CD begin at the data each time and see its surroundings alone. Those of PCD have run since training
began, so they wander where the model is low and the data is not, and push it up there. It is right as long as
the model changes slowly beside what k steps can follow: with too large a learning rate the chains are left
behind, the gap grows without end, and the energies with it.

For E(x, y), y given x, each chain keeps the x it began with,

    L = ⟨E(x⁺, y⁺)⟩ - ⟨E(x⁻, y⁻)⟩,        x⁻ distributed as x⁺

which is right as long as chains were begun for x of the same data. Latent variables of the chains go on
likewise; those of the data are inferred anew each time (`ContrastiveDivergence`).

Reference: Tieleman (2008), "Training Restricted Boltzmann Machines using Approximations to the Likelihood
Gradient"; Younes (1989) has the same as stochastic approximation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.contrastive_divergence import ContrastiveDivergence
from ebm.contrastive.inferred_latent import InferredLatent
from ebm.contrastive.negatives import Negatives
from ebm.contrastive.replay_buffer import Drawn, ReplayBuffer
from ebm.energy import Energy
from ebm.infer.sampler import Sampler
from ebm.loss import LossOutput

BUFFER_AGE = "buffer age"


class PersistentContrastiveDivergence(ContrastiveDivergence):
    """PCD with a replay buffer; reports what CD does and the mean age of the chains, in steps.

    In evaluation mode the buffer is left as it is.

    Args:
        sampler, steps, variable, beta, squares, latent, compile: as in `ContrastiveDivergence`.
        buffer: the chains; it keeps what is given beside y, `ReplayBuffer(..., keep={"x": x[0]})`, and latent
            variables.

    Raises:
        TypeError: on a call, if the energy has other variables which the buffer does not keep.
        ValueError: on a call, if the batch is larger than the buffer or its rows are shaped otherwise.

    Example:
        >>> from ebm.infer import Langevin
        >>> from ebm.infer.starts import Normal
        >>> from ebm.targets import DoubleWell
        >>> loss = PersistentContrastiveDivergence(Langevin(0.01), ReplayBuffer(Normal(1), 64, fresh=0), 5)
        >>> for _ in range(3):
        ...     output = loss(DoubleWell(dim=1), y=torch.ones(64, 1))
        >>> output.terms["buffer age"]
        tensor(15.)
    """

    def __init__(
        self,
        sampler: Sampler,
        buffer: ReplayBuffer,
        steps: int = 1,
        *,
        variable: str = "y",
        beta: float = 1.0,
        squares: float = 0.0,
        latent: InferredLatent | None = None,
        compile: bool = False,
    ):
        super().__init__(
            sampler, steps, variable=variable, beta=beta, squares=squares, latent=latent, compile=compile
        )
        if not isinstance(buffer, ReplayBuffer):
            raise TypeError(f"buffer is a ReplayBuffer, of the chains that go on; got {buffer!r}.")
        self.buffer = buffer

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        data = self.infer(energy, data, generator)
        y, others = self.take_data(energy, data)
        drawn = self.take(y, others, generator)
        negatives = self.chains(energy, drawn.points.to(y), theirs(others, drawn), generator)
        return self.settle(energy, data, drawn, negatives, generator)

    def take(
        self, y: Tensor, others: dict[str, Any], generator: torch.Generator | None, more: int = 0
    ) -> Drawn:
        """A chain for each row of the data, and some more; fresh ones take what stands beside the data."""
        beside = {name: value for name, value in others.items() if isinstance(value, Tensor)}
        if strange := [name for name in beside if name not in self.buffer.keeps]:
            rows = ", ".join(f"{name!r}: {name}[0]" for name in beside)
            raise TypeError(
                f"a chain of the buffer would go on with another row's {', '.join(strange)}. Have it keep "
                f"its own: ReplayBuffer(..., keep={{{rows}}})."
            )
        if idle := [name for name in self.buffer.keeps if name not in beside]:
            raise TypeError(
                f"the buffer keeps {', '.join(idle)} with its chains, and the data has none; leave it out of "
                "keep, or give it with the data."
            )
        if y.shape[1:] != self.buffer.points.shape[1:]:
            raise ValueError(
                f"the data's rows have the shape {tuple(y.shape[1:])}, the buffer's "
                f"{tuple(self.buffer.points.shape[1:])}; give the buffer's start the shape of the data."
            )
        return self.buffer.draw(len(y) + more, generator, beside)

    def settle(
        self,
        energy: Energy,
        data: dict[str, Any],
        drawn: Drawn,
        negatives: Negatives,
        generator: torch.Generator | None,
    ) -> LossOutput:
        """The loss of data beside where the chains have come to, which go back into the buffer."""
        age = drawn.age + self.steps
        if drawn.kept and negatives.others is None:
            negatives = negatives._replace(others=theirs(data, drawn, self.variable))
        if self.training:
            kept = {name: (negatives.others or {})[name] for name in self.buffer.keeps}
            self.buffer.put(drawn.slots, negatives.value, age, kept)
        output = self.contrast(energy, data, negatives, generator)
        return LossOutput(output.loss, {**output.terms, BUFFER_AGE: age.mean(dtype=output.loss.dtype)})


def theirs(others: dict[str, Any], drawn: Drawn, but: str = "") -> dict[str, Any]:
    """What stands beside the data, where chains keep some of their own."""
    rest = {name: value for name, value in others.items() if name != but}
    return {**rest, **{name: kept.to(rest[name]) for name, kept in drawn.kept.items()}}
