"""Joint energy models: a classifier is an energy of images and labels, and so a model of images too.

    E(x, y) = -f(x)[y],        p(y | x) = softmax f(x)
    E(x) = -log Σ_y e^{-E(x, y)} = -log Σ_y e^{f(x)[y]},        ∂E(x)/∂f = -softmax f(x)
    L = -⟨log p(y | x)⟩ + w L_x(E(x))

A constant added to all logits changes no p(y | x), and moves E(x): the one degree of freedom that
classifiers leave unused says how likely x is. L_x is any contrastive loss for an energy of x, so
log p(x, y) = log p(y | x) + log p(x) is maximized in two parts. Such a classifier can know better how sure to
be, and tell inputs unlike its data: `ebm.measure.calibration` and `ebm.measure.auroc` measure both.

Reference: Grathwohl, Wang, Jacobsen, Duvenaud, Norouzi, Swersky (2020), "Your Classifier is Secretly an
Energy Based Model and You Should Treat it Like One", sect. 3-4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ebm.contrastive.points import in_full
from ebm.energy import Energy
from ebm.infer.method import number
from ebm.loss import Loss, LossOutput, unused_name
from ebm.signature import refuse_missing

LIKELIHOOD, ACCURACY = "-log p(y | x)", "accuracy"


class ClassifierEnergy(Energy):
    """E(x, y) = -f(x)[y] for labels y, int64, (B,).

    Args:
        network: f, from x to one logit a label, (B, *shape) -> (B, K).

    Raises:
        TypeError: on a call, for labels that are not int64.
        ValueError: on a call, if the network does not return (B, K), or a label lies outside [0, K).

    Example:
        >>> E = ClassifierEnergy(nn.Identity())
        >>> E(x=torch.tensor([[2.0, 0.0, 1.0]]), y=torch.tensor([2]))
        tensor([-1.])
        >>> E.free_energy(x=torch.tensor([[2.0, 0.0, 1.0]]))
        tensor([-2.4076])
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self._free = (ClassifierFreeEnergy(network),)  # in a tuple, or the network would be registered twice

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits = logits_of(self.network, x)
        refuse_labels(y, logits)
        return -logits.gather(1, y.unsqueeze(1)).squeeze(1)

    @property
    def free_energy(self) -> ClassifierFreeEnergy:
        """E(x), the energy of inputs whatever their label; it shares the network."""
        if self._free[0].network is not self.network:  # it was replaced
            self._free = (ClassifierFreeEnergy(self.network),)
        return self._free[0]

    def probability(self, x: Tensor) -> Tensor:
        """p(y | x), (B, K)."""
        return torch.softmax(logits_of(self.network, x), 1)


class ClassifierFreeEnergy(Energy):
    """E(x) = -log Σ_y e^{f(x)[y]}: the labels of `ClassifierEnergy`, marginalized at β = 1.

    Args:
        network: f, from x to logits, (B, *shape) -> (B, K).

    Example:
        >>> ClassifierFreeEnergy(nn.Identity())(x=torch.zeros(1, 2))  # -log 2
        tensor([-0.6931])
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return -torch.logsumexp(logits_of(self.network, x), 1)


class JEMLoss(Loss):
    """The cross-entropy of the labels plus a contrastive loss of the inputs' free energy.

    L = -⟨log p(y | x)⟩ + w L_x(E(x)), called as `loss(E, generator, x=x, y=labels)` with a
    `ClassifierEnergy`. Reports what L_x reports, the cross-entropy and the accuracy.

    Args:
        part: L_x, a loss for an energy of x: `ContrastiveDivergence(Langevin(...), 20, variable="x")`.
        weight: w >= 0.

    Raises:
        TypeError: if the part is no loss; on a call, for another energy, or labels that are not int64.
        ValueError: if the weight is negative.

    Example:
        >>> from ebm.contrastive import ContrastiveDivergence
        >>> from ebm.infer import Langevin
        >>> loss = JEMLoss(ContrastiveDivergence(Langevin(0.01), 5, variable="x"))
        >>> E = ClassifierEnergy(nn.Linear(2, 3))
        >>> output = loss(E, x=torch.zeros(4, 2), y=torch.tensor([0, 1, 2, 1]))
        >>> sorted(output.terms)
        ['-log p(y | x)', 'accuracy', 'energy off data', 'energy on data']
    """

    def __init__(self, part: Loss, weight: float = 1.0):
        super().__init__()
        if not isinstance(part, Loss):
            raise TypeError(
                f"JEMLoss adds a loss of the inputs' energy, PersistentContrastiveDivergence(...) for "
                f"instance; got {part!r}. Without one, a classifier is learned by MaximumLikelihood."
            )
        self.part, self.weight = part, number("weight", weight, zero=True)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if not isinstance(energy, ClassifierEnergy):
            raise TypeError(f"JEMLoss shapes a ClassifierEnergy(network); got {energy.label}.")
        refuse_missing(energy, data)
        x, y = data["x"], data["y"]
        output = self.part(energy.free_energy, generator, x=x)
        logits = logits_of(energy.network, x)
        refuse_labels(y, logits)
        likelihood = cross_entropy(in_full(logits), y)
        terms = dict(output.terms)
        accuracy = (logits.argmax(1) == y).to(likelihood.dtype).mean()
        for name, value in ((LIKELIHOOD, likelihood.detach()), (ACCURACY, accuracy)):
            terms[unused_name(name, terms)] = value
        return LossOutput(likelihood + self.weight * output.loss, terms)


def logits_of(network: nn.Module, x: Tensor) -> Tensor:
    """f(x), (B, K).

    Raises:
        ValueError: if it has another shape.
    """
    logits: Tensor = network(x)
    if logits.ndim != 2 or logits.shape[0] != x.shape[0]:
        raise ValueError(
            f"a classifier's network returns a logit for each label, (B, K); for x of {tuple(x.shape)} it "
            f"returned {tuple(logits.shape)}."
        )
    return logits


def refuse_labels(y: Tensor, logits: Tensor) -> None:
    """Raise for labels that are none of the K."""
    if y.dtype != torch.int64:
        raise TypeError(f"labels are int64, one a row, (B,); y holds {y.dtype}. Convert them: y.long().")
    if y.shape != logits.shape[:1]:
        raise ValueError(f"there is one label a row, ({len(logits)},); y is {tuple(y.shape)}.")
    if not len(y):
        return
    low, high = (int(label) for label in y.aminmax())
    if not 0 <= low <= high < logits.shape[1]:
        raise ValueError(f"labels lie in [0, {logits.shape[1]}), as many as logits; y has {low} to {high}.")
