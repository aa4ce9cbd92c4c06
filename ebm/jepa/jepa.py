"""JEPA: the joint embedding predictive architecture, an energy of x, y and what links them.

    joint embedding      E(x, y) = D(f(x), t(y))                             `Siamese`, or a pair composed
    deterministic        E(x, y, a) = D(p(f(x), a), t(y))
    with a latent        E(x, y, z, a) = D(p(f(x), z, a), t(y)) + R(z),      F(x, y, a) = min_z E

y need not be computable from x: z says which of the things that can follow did. Four ways to collapse lead
to E = 0 for everything: f and t constant; p that ignores x and copies z; z so rich that it explains any y;
and each has its cure: a criterion on codes (`ebm.joint`) or a target that no gradient enters, and a z whose
information is limited.

    discrete    z ∈ a set of K values                min_over(E, "z", Enumerate(values), ...)
    sparse      R(z) = λ |z|_1                       min_over(E + 0.1 * L1("z"), "z", FISTA(), ...)
    noisy       z ~ N(0, 1) through a node set       marginal_over(E, "z", beta, by=Importance(...))

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.4 and 4.5; LeCun (2023),
"Objective-Driven AI".
"""

from __future__ import annotations

from torch import nn

from ebm.energy import Energy, View
from ebm.jepa.prediction import Prediction
from ebm.joint.target import Branch, Shared


class JEPA(View):
    """E(x, y, ...) = D(p(f(x), ...), t(y)).

    `OnCodes(VICReg(), "s_x", "s_y")` is a criterion of f(x) and t(y), whichever the predictor is.

    Args:
        encoder: f, of x.
        predictor: p, a module of f(x) and the conditions in their order.
        target: t, of y: `Shared(encoder)` if None, `StopGradient(encoder)`, `EMA(encoder, linear(0.996))`; an
            `nn.Module` of its own where x and y are of different kinds.
        conditions: names of the variables that the predictor is told beside f(x), e.g. ("z", "a").
        pair: D, an energy of (s_x, s_y); `SquaredDistance()` if None.

    Raises:
        TypeError, ValueError: see `Prediction`.

    Example:
        A particle goes one step left or right, and z says which:

        >>> import torch
        >>> from ebm import min_over
        >>> from ebm.infer import Enumerate
        >>> from ebm.infer.starts import Zeros
        >>> class Step(nn.Module):
        ...     def forward(self, s, z):
        ...         return s + z
        >>> E = JEPA(nn.Identity(), Step(), conditions=("z",))
        >>> E.variables
        ('z', 'x', 'y')
        >>> F = min_over(E, "z", Enumerate(torch.tensor([[-1.0], [1.0]])), Zeros(1))
        >>> F(x=torch.zeros(3, 1), y=torch.tensor([[-1.0], [0.0], [1.0]]))
        tensor([0., 1., 0.])
    """

    def __init__(
        self,
        encoder: nn.Module,
        predictor: nn.Module,
        target: Branch | nn.Module | None = None,
        conditions: tuple[str, ...] = (),
        pair: Energy | None = None,
    ):
        target = Shared(encoder) if target is None else target
        prediction = Prediction(predictor, conditions, pair)
        super().__init__(prediction, functions={"s_x": (encoder, "x"), "s_y": (target, "y")})
        self.encoder, self.predictor, self.target = encoder, predictor, target
