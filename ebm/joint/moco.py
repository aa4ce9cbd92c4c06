"""MoCo: tell the code of another view from a queue of codes of other examples.

    E(x, y) = -log [ e^{⟨q,k⟩/T} / (e^{⟨q,k⟩/T} + Σ_j e^{⟨q,k_j⟩/T}) ]
    q = f(x) / |f(x)|,    k = t(y) / |t(y)|

k_1, ..., k_K is the queue: the keys of the latest batches, at first random directions. The target t follows f
slowly, so that keys of different ages still fit together, and the queue can be longer than any batch.

Equals the official code in value, gradient and order: keys by the target as it was updated last, logits with
the queue before this batch, then the batch's keys of all processes in place of the oldest. The queue here is
a line, not a ring: from the oldest key to the newest, so its size need not be a multiple of the batch. There
is no shuffled BatchNorm, without which a batch's statistics give the key away: take an encoder without it.

Reference: He et al. (2020), "Momentum Contrast for Unsupervised Visual Representation Learning", eq. 1-2 and
alg. 1; official code, facebookresearch/moco.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from ebm.joint.siamese import Siamese
from ebm.joint.target import EMA, Branch
from ebm.memory import Remembering
from ebm.processes import gather


class AgainstQueue(Remembering):
    """E(s_x, s_y) = -log of the probability of s_y among itself and a queue, by cosine.

    Args:
        dim: D, numbers in a code.
        size: K, keys in the queue.
        temperature: T > 0.
        generator: source of the first keys, which are uniform on the unit sphere; the global one if None.

    Raises:
        ValueError: if a size isn't positive or the temperature isn't, or on codes of another length than D.

    Example:
        >>> E = AgainstQueue(dim=2, size=3, temperature=1.0)
        >>> _ = E.queue.copy_(torch.tensor([[0.0, 1.0]]).expand(3, 2))
        >>> E(s_x=torch.tensor([[5.0, 0.0]]), s_y=torch.tensor([[1.0, 0.0]]))  # log(1 + 3/e)
        tensor([0.7437])
    """

    queue: Tensor

    def __init__(
        self, dim: int, size: int, temperature: float = 0.07, generator: torch.Generator | None = None
    ):
        super().__init__()
        if dim < 1 or size < 1 or not temperature > 0:
            raise ValueError(
                f"a queue holds 1 key or more of 1 number or more, and a temperature is positive; got "
                f"size={size}, dim={dim}, temperature={temperature}."
            )
        self.temperature = temperature
        self.register_buffer("queue", normalize(torch.randn(size, dim, generator=generator), dim=1))  # (K, D)

    def forward(self, s_x: Tensor, s_y: Tensor) -> Tensor:
        self._check(s_x, "s_x")
        self._check(s_y, "s_y")
        kind = torch.promote_types(s_x.dtype, self.queue.dtype)
        with torch.autocast(s_x.device.type, enabled=False):  # half precision loses too much of cos / T
            q, k = normalize(s_x.to(kind), dim=1) / self.temperature, normalize(s_y.to(kind), dim=1)
            others = (q @ self.queue.to(kind).T).logsumexp(1)  # (B,)
            return softplus(others - (q * k).sum(1))

    def remember(self, s_y: Tensor) -> None:
        """Put the keys of all processes at the end of the queue; the oldest leave it."""
        keys = normalize(gather(s_y.to(self.queue.dtype)), dim=1)[-len(self.queue) :]
        self.queue = torch.cat([self.queue[len(keys) :], keys])  # new: a loss's graph still holds the old one

    def _check(self, code: Tensor, name: str) -> None:
        dim = self.queue.shape[1]
        if code.ndim != 2 or code.shape[1] != dim:
            raise ValueError(
                f"the queue holds keys of {dim} numbers, so {name} must be (N, {dim}); got shape "
                f"{tuple(code.shape)}. Make the energy with the dim of the encoder's codes."
            )


class MoCo(Siamese):
    """E(x, y) = -log of the probability that the key of y, and none of the queue, belongs to the query x.

    Learned by `AverageEnergy`, with the callback `update_targets(E, steps)`.

    Args:
        encoder: f, from a view to its code (N, D).
        dim: D, numbers in a code.
        target: t; `EMA(encoder, 0.999)` if None.
        queue_size: K.
        temperature: T; 0.07 in the paper, 0.2 in version 2.
        predictor: h, from code to code; neither version has one.
        symmetric: whether y also asks for the key of x; keys of both then enter the queue.
        generator: source of the first queue; the global one if None.

    Example:
        >>> from ebm.loss import AverageEnergy
        >>> E = MoCo(torch.nn.Identity(), dim=2, queue_size=4)
        >>> output = AverageEnergy()(E, x=torch.eye(2), y=torch.eye(2))
        >>> E.queue[2:]
        tensor([[1., 0.],
                [0., 1.]])
    """

    def __init__(
        self,
        encoder: nn.Module,
        dim: int,
        target: Branch | None = None,
        queue_size: int = 65536,
        temperature: float = 0.07,
        predictor: nn.Module | None = None,
        symmetric: bool = False,
        generator: torch.Generator | None = None,
    ):
        views = (("x", "y"), ("x", "y")) if symmetric else (("x",), ("y",))
        pair = AgainstQueue(dim, queue_size, temperature, generator)
        super().__init__(pair, encoder, predictor, EMA(encoder, 0.999) if target is None else target, *views)

    @property
    def queue(self) -> Tensor:
        """The keys, (K, D), from the oldest to the newest."""
        return self.pair.get_buffer("queue")
