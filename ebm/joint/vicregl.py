"""VICRegL: VICReg on whole images and on the positions of their feature maps, matched across views.

    L = α L_global + (1 - α) L_local

L_global compares the codes of views as VICReg does. L_local compares vectors at positions p of a view's map
with vectors of another view's map at the positions that match them:

    by location    q(p) = argmin_q |location'_q - location_p|      where the views show the same spot
    by feature     q(p) = argmin_q |map'_q - map_p|                what the views show is alike

Of the matches by location only the γ closest of each example are kept, in the order of p. With the matched
vectors X and Y, (N, M, C), M matches for each of N examples,

    λ |X - Y|² / NMC + μ ½ [v(X) + v(Y)] + ν ½ [c(X) + c(Y)],      v, c as in VICReg, over the batch for each
                                                                   match number, averaged over match numbers

Location and feature losses are added; each is the mean of matching i to j and j to i. Both parts are averaged
over the pairs of a large view i (the first two) and any other view j; in L_global, v and c are averaged over
views.

Equals the authors' code with its defaults: all matches by feature, γ = 20 for i to j and 4 for j to i (by
direction, not by the size of a view). Against VICReg (`ebm.joint.vicreg`), covariances count half.

Reference: Bardes, Ponce, LeCun (2022), "VICRegL: Self-Supervised Learning of Local Visual Features", sect. 3.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.joint.covariance import covariance
from ebm.joint.criterion import Criterion
from ebm.joint.pair import SquaredDistance
from ebm.joint.vicreg import hinge
from ebm.loss import LossOutput

LARGE = 2  # the first views, those that every other view is compared with


class VICRegL(Criterion):
    """L = α L_global + (1 - α) L_local of V >= 2 views: call it with V codes, V maps and V locations.

    `criterion(x, y, map_x, map_y, at_x, at_y)` for two views: codes (N, D); maps (N, P, C), vectors at P
    positions, P may differ from view to view; locations (N, P, 2) of these positions in the image that the
    views were cut from, in any unit, flips undone. The terms are "invariance", "variance" and "covariance" of
    the codes, and the same three of the maps with "local" before them, unweighted; those of a part with
    weight 0 aren't computed.

    Args:
        alpha: α in [0, 1], the weight of the codes.
        matches: γ, how many matches by location are kept from a large view to another one, and back; all
            where a map has fewer positions.
        feature_matches: the same for matches by feature; all if None.
        invariance: λ >= 0.
        variance: μ >= 0.
        covariance: ν >= 0.
        std: γ > 0 of VICReg, the standard deviation that every dimension should have at least.
        eps: ε > 0, added to the variance.

    Raises:
        ValueError: if a setting is out of its range; on a call, if the tensors aren't V codes, V maps and V
            locations that fit together, and see `Criterion`.

    Reference: Bardes, Ponce, LeCun (2022), "VICRegL", sect. 3.

    Example:
        >>> whitened = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> maps = whitened[:, None].repeat(1, 3, 1)  # three positions
        >>> at = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).expand(4, 3, 2)
        >>> VICRegL()(whitened, whitened, maps, maps, at, at).loss
        tensor(0.)
    """

    views = (LARGE, None)

    @property
    def energy(self) -> Energy:
        """α |s_x - s_y|² + (1 - α) E(m_x, m_y, at_x, at_y), of codes, and of maps matched by location."""
        return self.alpha * SquaredDistance() + (1 - self.alpha) * MatchedDistance()

    def __init__(
        self,
        alpha: float = 0.75,
        matches: tuple[int, int] = (20, 4),
        feature_matches: tuple[int, int] | None = None,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        std: float = 1.0,
        eps: float = 1e-4,
    ):
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1; got {alpha}.")
        self.alpha = alpha
        self.matches = _two("matches", matches)
        self.feature_matches = None if feature_matches is None else _two("feature_matches", feature_matches)
        self.invariance = positive("invariance", invariance, zero=True)
        self.variance = positive("variance", variance, zero=True)
        self.covariance = positive("covariance", covariance, zero=True)
        self.std, self.eps = positive("std", std), positive("eps", eps)

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        views = len(codes) // 3
        pairs = [(i, j) for i in range(LARGE) for j in range(views) if j != i]
        loss, terms = codes[0].new_zeros(()), {}
        if self.alpha > 0:
            parts = self._global(codes[:views], pairs)
            loss = loss + self.alpha * self._weighted(parts)
            terms.update(parts._asdict())
        if self.alpha < 1:
            parts = self._local(codes[views : 2 * views], codes[2 * views :], pairs)
            loss = loss + (1 - self.alpha) * self._weighted(parts)
            terms.update({f"local {name}": term for name, term in parts._asdict().items()})
        return LossOutput(loss, {name: term.detach() for name, term in terms.items()})

    def _global(self, codes: tuple[Tensor, ...], pairs: list[tuple[int, int]]) -> Parts:
        invariance = torch.stack([mse_loss(codes[i], codes[j]) for i, j in pairs]).mean()
        variances, together = zip(*(covariance(z) for z in codes), strict=True)
        return self._parts(invariance, torch.stack(variances), torch.stack(together))

    def _local(
        self, maps: tuple[Tensor, ...], locations: tuple[Tensor, ...], pairs: list[tuple[int, int]]
    ) -> Parts:
        wanted: Counter[tuple[str, int, int, int | None]] = Counter()  # twice a match's weight
        for i, j in pairs:
            for direction, (a, b) in enumerate(((i, j), (j, i))):
                wanted["location", a, b, self.matches[direction]] += 1
                wanted["feature", a, b, self.feature_matches and self.feature_matches[direction]] += 1
        weights = maps[0].new_tensor(list(wanted.values())) / (2 * len(pairs))
        found = []
        for by, a, b, keep in wanted:
            places = locations if by == "location" else maps
            x, y = matched(maps[a], maps[b], places[a], places[b], keep)
            variances, together = covariance(torch.stack([x, y]).transpose(1, 2))  # (2, M, C), (2, M)
            found.append(torch.stack(self._parts(mse_loss(x, y), variances, together)))
        return Parts(*(weights @ torch.stack(found)))

    def _parts(self, invariance: Tensor, variances: Tensor, together: Tensor) -> Parts:
        """The three terms, the last two from variances (..., D) and sums of squared covariances (...,)."""
        return Parts(invariance, hinge(variances, self.std, self.eps), together.mean() / variances.shape[-1])

    def _weighted(self, parts: Parts) -> Tensor:
        return (
            self.invariance * parts.invariance
            + self.variance * parts.variance
            + self.covariance * parts.covariance
        )

    def _check(self, codes: tuple[Tensor, ...]) -> None:
        views = len(codes) // 3
        if len(codes) % 3 or views < LARGE:
            raise ValueError(
                f"{self.label} takes V codes, then V maps, then V locations, for {LARGE} views or more; got "
                f"{len(codes)} tensors."
            )
        super()._check(codes[:views])
        n, device = len(codes[0]), codes[0].device
        for view, (z, at) in enumerate(zip(codes[views : 2 * views], codes[2 * views :], strict=True)):
            for name, tensor in (("map", z), ("locations", at)):
                if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                    got = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
                    raise TypeError(f"{name} of view {view} must be a floating-point tensor; got {got}.")
            fits = z.ndim == 3 and len(z) == n and z.numel() and z.shape[2] == codes[views].shape[-1]
            if not fits or at.shape != (*z.shape[:2], 2) or {z.device, at.device} != {device}:
                raise ValueError(
                    f"{self.label} needs for each view a map (N, P, C), C the same for all, and locations "
                    f"(N, P, 2) of its positions, N = {n} as in the codes, on {device}; view {view} has a "
                    f"map {tuple(z.shape)} on {z.device} and locations {tuple(at.shape)} on {at.device}."
                )
            if at.device.type == "cpu" and not bool(torch.isfinite(at).all()):
                raise ValueError(
                    f"the locations of view {view} hold NaN or infinity; positions have a place."
                )

    def _refuse_nonfinite(self, codes: tuple[Tensor, ...], output: LossOutput) -> None:
        views = len(codes) // 3
        for view, z in enumerate(codes[views : 2 * views]):
            if not bool(torch.isfinite(z).all()):
                raise ValueError(f"{self.label}: the map of view {view} holds NaN or infinity.")
        super()._refuse_nonfinite(codes[:views], output)


class MatchedDistance(Energy):
    """E(m_x, m_y, at_x, at_y) = (1/P) Σ_p |m_x(p) - m_y(q(p))|², q(p) the position of y's map closest to p.

    Example:
        >>> at = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
        >>> m = torch.tensor([[[1.0], [3.0]]])
        >>> MatchedDistance()(m_x=m, m_y=m.flip(1), at_x=at, at_y=at.flip(1))  # flipped along
        tensor([0.])
    """

    def forward(self, m_x: Tensor, m_y: Tensor, at_x: Tensor, at_y: Tensor) -> Tensor:
        x, y = matched(m_x, m_y, at_x, at_y)
        return (x - y).square().sum(2).mean(1)


class Parts(NamedTuple):
    """The three terms of VICReg, 0-dimensional."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def matched(
    x: Tensor, y: Tensor, places_x: Tensor, places_y: Tensor, keep: int | None = None
) -> tuple[Tensor, Tensor]:
    """Vectors at positions of one map, each with that of the nearest position of the other map.

    Args:
        x, y: maps (N, P, C) and (N, Q, C).
        places_x, places_y: what nearness is taken of, (N, P, K) and (N, Q, K): locations, or the maps.
        keep: how many matches to keep of each example, the closest; all if None or more than P.

    Returns:
        Rows of x in the order of their positions and their matches in y, (N, M, C) each, M = min(keep, P).

    Example:
        >>> x, y = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[[10.0], [30.0]]])
        >>> at_x, at_y = torch.tensor([[[0.0], [2.0], [9.0]]]), torch.tensor([[[9.0], [1.5]]])
        >>> [z.flatten().tolist() for z in matched(x, y, at_x, at_y, keep=2)]
        [[2.0, 3.0], [30.0, 10.0]]
    """
    distance, nearest = torch.cdist(places_x.detach(), places_y.detach()).min(-1)  # (N, P)
    if keep is not None and keep < x.shape[1]:
        kept = distance.argsort(dim=1, stable=True)[:, :keep].sort(1).values
        x, nearest = x.take_along_dim(kept[..., None], 1), nearest.gather(1, kept)
    return x, y.take_along_dim(nearest[..., None], 1)


def _two(name: str, values: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(values, tuple) or len(values) != 2:
        raise ValueError(
            f"{name} must be two numbers, for matches from a large view and back; got {values!r}."
        )
    return count(name, values[0]), count(name, values[1])
