"""Persistent contrastive divergence (PCD): the chains go on from where the last update left them.

    L = ⟨E(y⁺)⟩ - ⟨E(y⁻)⟩,        y⁻: k steps of a sampler from where its chain in the buffer stands

Chains of CD begin at the data each time and see its surroundings alone. Those of PCD have run since training
began, so they wander where the model is low and the data is not, and push it up there. It is right as long as
the model changes slowly beside what k steps can follow: with too large a learning rate the chains are left
behind, the gap grows without end, and the energies with it.

Reference: Tieleman (2008), "Training Restricted Boltzmann Machines using Approximations to the Likelihood
Gradient"; Younes (1989) has the same as stochastic approximation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.contrastive_divergence import ContrastiveDivergence
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
        sampler, steps, variable, beta, squares: as in `ContrastiveDivergence`.
        buffer: the chains.

    Raises:
        TypeError: on a call, if the energy has other variables.
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
    ):
        super().__init__(sampler, steps, variable=variable, beta=beta, squares=squares)
        if not isinstance(buffer, ReplayBuffer):
            raise TypeError(f"buffer is a ReplayBuffer, of the chains that go on; got {buffer!r}.")
        self.buffer = buffer

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        y, given = self.take_data(energy, data)
        drawn = self.take(y, given, generator)
        negatives = self.chains(energy, drawn.points.to(y), given, generator)
        return self.settle(energy, data, drawn, negatives, generator)

    def take(
        self, y: Tensor, given: dict[str, Any], generator: torch.Generator | None, more: int = 0
    ) -> Drawn:
        """A chain for each row of the data, and some more."""
        conditions = [name for name, value in given.items() if isinstance(value, Tensor)]
        if conditions:
            raise TypeError(
                f"a chain of the buffer would go on with another row's {', '.join(conditions)}, which has a "
                "distribution of its own. Use ContrastiveDivergence, whose chains begin at the data."
            )
        if y.shape[1:] != self.buffer.points.shape[1:]:
            raise ValueError(
                f"the data's rows have the shape {tuple(y.shape[1:])}, the buffer's "
                f"{tuple(self.buffer.points.shape[1:])}; give the buffer's start the shape of the data."
            )
        return self.buffer.draw(len(y) + more, generator)

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
        if self.training:
            self.buffer.put(drawn.slots, negatives.value, age)
        output = self.contrast(energy, data, negatives, generator)
        return LossOutput(output.loss, {**output.terms, BUFFER_AGE: age.to(output.loss.dtype).mean()})
