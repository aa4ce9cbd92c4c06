"""EBGAN: an energy that is never below 0 against a network, with a margin.

    L_E = ⟨E(y)⟩ + ⟨[m - E(G(ε))]₊⟩,        L_G = ⟨E(G(ε))⟩ + w · PT

The margin ends the push: a made point whose energy is above m is left alone, so the energies cannot run away.
If data have the density p and made points q, the best energy is 0 where p > q, m where p < q, anything in
[0, m] where they are equal; at the equilibrium q = p the energy is flat on the data, and L_E = m. With an
auto-encoder's energy, |y - D(C(y))|², the codes S = C(G(ε)) of made points tell whether they are all alike,
and the pulling-away term keeps them from it:

    PT = 1 / (B(B - 1)) Σ_{i≠j} cos²(S_i, S_j)        1 for equal codes, 0 for orthogonal ones

Reference: Zhao, Mathieu, LeCun (2017), "Energy-Based Generative Adversarial Networks", sect. 2.1-2.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ebm.contrastive.adversarial import Adversarial
from ebm.contrastive.points import Points
from ebm.contrastive.square_losses import refuse_negative
from ebm.infer.method import number
from ebm.infer.starts import Start
from ebm.rows import flat


class EBGAN(Adversarial):
    """EBGAN's losses for an energy that is never below 0, an `AutoEncoder` for instance.

    Args:
        network, noise, variable, reads, every: as in `Adversarial`.
        margin: m > 0, in units of energy; high enough for data to fit below it, as low as works.
        encoder: C, of the auto-encoder that is the energy, for the pulling-away term; none without it.
        pulling_away: w >= 0, of that term; its gradient goes to the network alone.

    Raises:
        ValueError: if a setting is out of range; on a call, for an energy below 0.

    Example:
        >>> from ebm.contrastive import AutoEncoder
        >>> from ebm.infer.starts import Normal
        >>> E, loss = AutoEncoder(nn.Linear(2, 2)), EBGAN(nn.Linear(3, 2), Normal(3), margin=1.0)
        >>> output = loss(E, y=torch.ones(4, 2))
        >>> sorted(output.terms)
        ['energy off data', 'energy on data', "energy's loss", "network's loss"]
    """

    def __init__(
        self,
        network: nn.Module,
        noise: Start,
        margin: float,
        *,
        encoder: nn.Module | None = None,
        pulling_away: float = 0.1,
        variable: str = "y",
        reads: Sequence[str] = (),
        every: int = 1,
    ):
        super().__init__(network, noise, variable=variable, reads=reads, every=every)
        self.margin = number("margin", margin)
        self.encoder, self.weight = encoder, number("pulling_away", pulling_away, zero=True)

    def critic(
        self,
        points: Points,
        made: Tensor,
        on_data: Tensor,
        off_data: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        refuse_negative(on_data, self.label)
        refuse_negative(off_data, f"{self.label}, which sees made points too,")
        return on_data.mean() + torch.relu(self.margin - off_data).mean()

    def maker(self, made: Tensor, off_data: Tensor) -> Tensor:
        if self.encoder is None or not self.weight:
            return off_data.mean()
        return off_data.mean() + self.weight * pulling_away(self.encoder(made))


def pulling_away(codes: Tensor) -> Tensor:
    """How much codes point in the same directions: the mean of cos² over pairs of different rows.

    Args:
        codes: S, (B, *shape), B >= 2.

    Returns:
        In [0, 1], 0-dimensional.

    Raises:
        ValueError: for fewer than two rows.

    Reference: Zhao, Mathieu, LeCun (2017), sect. 2.4.

    Example:
        >>> pulling_away(torch.ones(3, 1)), pulling_away(torch.eye(3))
        (tensor(1.), tensor(0.))
    """
    if len(codes) < 2:
        raise ValueError(f"pairs of different rows need at least two; got {len(codes)}.")
    unit = normalize(flat(codes))
    squares = (unit @ unit.T).square()
    return (squares.sum() - squares.diagonal().sum()) / (len(codes) * (len(codes) - 1))
