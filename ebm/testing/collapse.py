"""A check for users' tests: that an energy, or a model with a latent, is alive; or fails as expected.

check_collapse(model, held_out)        raises a `ContractError` that holds the whole report
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.measure.collapse import CollapseReport, collapse_report
from ebm.measure.model_report import LatentModel, ModelReport, model_report
from ebm.testing.verdict import ContractError


def check_collapse(
    model: Energy | LatentModel,
    y: Tensor,
    expected: str = "alive",
    *,
    beta: float = 1.0,
    points: int = 2000,
    generator: torch.Generator | None = None,
) -> CollapseReport | ModelReport:
    """Report on an energy of y, or on a model over (y, z), and hold its verdict to what is expected.

    Args:
        model: an energy of "y"; or a model with `infer(y)` and `free_energy`.
        y: data, (N, *shape), best such as it was not trained on.
        expected: how the verdict has to begin.
        beta, points, generator: as in `collapse_report`.

    Returns:
        The report.

    Raises:
        ContractError: if the verdict is another.

    Example:
        >>> from ebm.targets import Banana
        >>> g = torch.Generator().manual_seed(0)
        >>> y = Banana().exact_samples(500, g)
        >>> check_collapse(Banana(), y, generator=g).verdict
        'alive'
        >>> check_collapse(0 * Banana(), y, "flat energy", generator=g).verdict
        'flat energy'
    """
    report: CollapseReport | ModelReport
    if hasattr(model, "infer") and hasattr(model, "free_energy"):
        report = model_report(cast(LatentModel, model), y, beta=beta, points=points, generator=generator)
    elif isinstance(model, Energy):
        report = collapse_report(model, y, beta=beta, points=points, generator=generator)
    else:
        raise TypeError(
            f"an energy, or a model with infer(y) and free_energy, can be checked; got {model!r}."
        )
    if not report.verdict.startswith(expected):
        raise ContractError(f"the verdict is {report.verdict!r}, expected {expected!r}:\n{report}")
    return report
