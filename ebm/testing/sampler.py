"""All that is asked of a sampler, in one call; each part is a function of its own.

chains, counts and, where the sampler is exact, moments and detailed balance
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ebm.infer.sampler import Sampler
from ebm.targets.gaussian import Gaussian
from ebm.targets.target import Target
from ebm.testing.chains import check_chains, check_counts
from ebm.testing.moments import check_balance, check_moments
from ebm.testing.posed import bowl, springs


def check_sampler(
    sampler: Sampler,
    targets: Sequence[Target] | None = None,
    *,
    exact: bool | None = None,
    steps: int = 100,
    device: torch.device | str = "cpu",
) -> None:
    """Check every contract of a sampler.

    Args:
        sampler: the sampler, with settings that suit a Gaussian of variances ½ and 2.
        targets: what an exact sampler should reach the moments of; by default that Gaussian.
        exact: whether the draws follow p exactly; by default where there is a Metropolis test.
        steps: after which a chain has forgotten where it began.
        device: where the default problems and targets lie.

    Raises:
        SamplerContractError: an AssertionError saying what was expected, what came and in which chain.

    Example:
        >>> from ebm.infer import HMC
        >>> check_sampler(HMC(0.4, 5))
    """
    for problem in (bowl(), bowl(3), bowl(2, 3), springs()):
        check_chains(sampler, problem.to(device=device))
    check_counts(sampler, device)
    if not (sampler.tested if exact is None else exact):
        return
    if targets is None:
        spread = torch.tensor([[2.0, 0.5], [0.5, 0.5]], dtype=torch.float64)
        targets = [Gaussian(torch.tensor([1.0, -1.0], dtype=torch.float64), spread).to(device)]
    for target in targets:
        check_moments(sampler, target, steps=steps)
        check_balance(sampler, target)
