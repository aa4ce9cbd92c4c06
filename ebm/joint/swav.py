"""SwAV: predict from one view which prototypes the other views are assigned to.

    L = 1/(A(V-1)) Σ_{a <= A} Σ_{v≠a} ⟨ -Σ_k q^a_k log p^v_k ⟩,    p = softmax(s/τ),    q = sinkhorn(s/ε)

    s_k = cos(z, c_k),  the scores of a code z at K prototypes c, which are learned with the encoder

The A views first given (large crops) assign, all V views predict. q is spread over the prototypes by
`sinkhorn`, over all samples of the batch; that is what keeps the codes from collapsing. The energy of a pair
is the cross-entropy of its scores, with q = softmax(s/ε) in place of the balanced assignment.

Equals the official code (without its queue of earlier codes) in value. There prototypes are set back to
length 1 after each step; here their length is divided out, so their gradient is the part along the sphere.

Reference: Caron, Misra, Mairal, Goyal, Bojanowski, Joulin (2020), "Unsupervised Learning of Visual Features
by Contrasting Cluster Assignments", eq. 1 to 5, and sect. 3.2 for several crops.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.joint.criterion import Criterion
from ebm.joint.pair import CrossEntropy
from ebm.joint.sinkhorn import sinkhorn
from ebm.joint.sphere import on_sphere, unit
from ebm.loss import LossOutput


class Prototypes(nn.Module):
    """Scores of codes at K learned directions: s_k = cos(z, c_k), (N, D) -> (N, K).

    Args:
        dimension: D, of the codes.
        number: K.
        generator: source of the first directions, uniform on the sphere; the global one if None.

    Raises:
        ValueError: if a number isn't positive; on a call, if the codes' dimension isn't D.

    Example:
        >>> Prototypes(8, 5)(torch.randn(3, 8)).shape
        torch.Size([3, 5])
    """

    def __init__(self, dimension: int, number: int, generator: torch.Generator | None = None):
        super().__init__()
        shape = count("number", number), count("dimension", dimension)
        self.directions = nn.Parameter(unit(torch.randn(shape, generator=generator)))

    def forward(self, z: Tensor) -> Tensor:
        if z.shape[1] != self.directions.shape[1]:
            raise ValueError(
                f"these prototypes score codes of dimension {self.directions.shape[1]}; got {z.shape[1]}."
            )
        return unit(z) @ unit(self.directions.to(z.dtype)).T


class PrototypeCrossEntropy(Energy):
    """E(s_x, s_y) = -Σ_k q_k log p_k,    p = softmax(s(s_x)/τ),    q = softmax(s(s_y)/ε),    s the scores.

    Args:
        prototypes: from codes to their scores.
        temperature: τ > 0.
        epsilon: ε > 0.

    Example:
        >>> E = PrototypeCrossEntropy(Prototypes(3, 2), temperature=0.1, epsilon=0.05)
        >>> E(s_x=torch.eye(3), s_y=torch.eye(3)).shape
        torch.Size([3])
    """

    def __init__(self, prototypes: Prototypes, temperature: float, epsilon: float):
        super().__init__()
        self.prototypes, self.scores = prototypes, CrossEntropy(temperature, epsilon)

    def forward(self, s_x: Tensor, s_y: Tensor) -> Tensor:
        return self.scores.forward(self.prototypes(s_x), self.prototypes(s_y))


class SwAV(Criterion):
    """The cross-entropy of predicting the balanced assignments of other views; two or more views (N, D).

    Its prototypes are parameters: give them to the optimizer. `fit` does. The terms are "invariance", which
    is L, and "entropy", that of the mean assignment: log K where all prototypes are used alike.

    Args:
        dimension: D, of the codes.
        prototypes: K; more than there are classes. The official code has 3000 for ImageNet.
        temperature: τ > 0, of the predictions.
        epsilon: ε > 0, of the assignments.
        iterations: of Sinkhorn's algorithm, at least 1.
        assigning: A >= 1, the views that assign, the first ones given; all others only predict.
        normalize: bring codes to length 1; if False, they must come so.
        generator: source of the first prototypes; the global one if None.

    Raises:
        ValueError: if a setting is out of its range; on a call, if there are fewer views than assign, the
            codes' dimension isn't D, or codes that aren't normalized here don't have length 1.

    Example:
        >>> criterion = SwAV(dimension=8, prototypes=5)
        >>> views = [torch.randn(16, 8) for _ in range(3)]
        >>> sorted(criterion(*views).terms)
        ['entropy', 'invariance']
    """

    views = (2, None)

    def __init__(
        self,
        dimension: int,
        prototypes: int = 3000,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        assigning: int = 2,
        normalize: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        positive("temperature", temperature)
        positive("epsilon", epsilon)
        self.temperature, self.epsilon, self.normalize = temperature, epsilon, normalize
        self.iterations, self.assigning = count("iterations", iterations), count("assigning", assigning)
        self.prototypes = Prototypes(dimension, prototypes, generator)

    @property
    def energy(self) -> Energy:
        """E(s_x, s_y) = -Σ_k q_k log p_k of the codes' scores at the prototypes, s_y the target's."""
        return PrototypeCrossEntropy(self.prototypes, self.temperature, self.epsilon)

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        if len(codes) < self.assigning:
            raise ValueError(
                f"{self.label}(assigning={self.assigning}) assigns by its first {self.assigning} views; got "
                f"{len(codes)}."
            )
        score = self.prototypes(torch.cat([on_sphere(z, self.normalize, self.label) for z in codes]))
        scores = score.chunk(len(codes))
        log_p = log_softmax(score / self.temperature, 1).chunk(len(codes))
        loss, used = score.new_zeros(()), score.new_zeros(score.shape[1])
        for a in range(self.assigning):
            q = sinkhorn(scores[a], self.epsilon, self.iterations)
            used += q.mean(0) / self.assigning
            for v, predicted in enumerate(log_p):
                if v != a:
                    loss = loss - (q * predicted).sum()
        loss = loss / (self.assigning * (len(codes) - 1) * len(codes[0]))
        entropy = -torch.special.xlogy(used, used).sum()
        return LossOutput(loss, {"invariance": loss.detach(), "entropy": entropy})
