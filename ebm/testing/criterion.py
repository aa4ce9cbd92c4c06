"""The contract of a criterion: a number for a batch of codes, however the batch is shared by processes.

L(Z¹, ..., Z^V): its value and terms finite, in the codes' dtype, alike for rows in any order;
∂L/∂Z as finite differences have it; and in W processes L and its gradient as in one, to rounding
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ebm.joint.criterion import Criterion
from ebm.loss import LossOutput
from ebm.measure.codes import CollapseWarning
from ebm.processes import average, rank, world_size
from ebm.testing.processes import run_processes
from ebm.testing.verdict import CriterionContractError as Wrong
from ebm.testing.verdict import require, require_equal

TIGHT = 1e-11  # of numbers in float64 whose sums are taken in another order
SEED = 17

Report = dict[str, Any]  # what a process found


@dataclass(frozen=True)
class CriterionMember:
    """A criterion with an example of what it takes.

    Attributes:
        criterion: the criterion.
        codes: (N, D) each, float64, N a multiple of 4; after the codes whatever else it takes, N rows first.
        views: how many of these are codes of views; all if None.
        order: whether the order of the examples must not matter; not where they are divided at random.
        gradient: whether the gradient is that of the value; not where a part of the value is held constant.
        constant: whether codes that are all the same are taken, with a warning; if not, they are refused.
        single: the relative difference that float32 may make.
    """

    criterion: Criterion
    codes: tuple[Tensor, ...]
    views: int | None = None
    order: bool = True
    gradient: bool = True
    constant: bool = True
    single: float = 1e-4


def check_criterion(member: CriterionMember, *, world_size: int = 2) -> None:
    """Hold a criterion to its whole contract; several processes are started for it.

    Args:
        member: the criterion with an example of codes.
        world_size: W, how many processes.

    Raises:
        CriterionContractError: saying what was expected and what came.

    Example:
        >>> from ebm.joint import VICReg
        >>> codes = torch.randn(2, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> check_criterion(CriterionMember(VICReg(), tuple(codes)))
    """
    check_alone(member)
    reports = run_processes(in_processes, world_size, {"": member})
    check_processes(member, [report[""] for report in reports])


def check_alone(member: CriterionMember) -> None:
    """The part of the contract that one process can check."""
    check_value(member)
    check_dtypes(member)
    check_refusals(member)
    if member.order:
        check_order(member)
    if member.gradient:
        check_gradient(member)


def check_value(member: CriterionMember) -> None:
    """Loss and terms are finite numbers, the terms detached; the same generator gives the same numbers."""
    output, again = _call(member, member.codes), _call(member, member.codes)
    label = member.criterion.label
    require(
        Wrong, isinstance(output, LossOutput), f"{label} returns LossOutput(loss, terms); got {type(output)}."
    )
    require(Wrong, output.loss.requires_grad, f"the loss of {label} has a gradient for codes that want one.")
    require(Wrong, bool(output.terms), f"{label} reports its terms; there are none.")
    for name, value in {"loss": output.loss, **output.terms}.items():
        finite = value.ndim == 0 and bool(value.isfinite())
        require(Wrong, finite, f"{name!r} of {label} is a finite number, 0-dimensional; got {value}.")
        detached = name == "loss" or not value.requires_grad
        require(Wrong, detached, f"the term {name!r} of {label} is detached: a term keeps no graph alive.")
    require(Wrong, output.loss.item() == again.loss.item(), f"{label} is the same for the same generator.")
    require(Wrong, set(output.terms) == set(again.terms), f"{label} always reports the same terms.")


def check_dtypes(member: CriterionMember) -> None:
    """Loss and gradient in the codes' dtype; bfloat16 codes give a float32 loss."""
    exact = _call(member, member.codes).loss.detach()
    for dtype, expected in ((torch.float64,) * 2, (torch.float32,) * 2, (torch.bfloat16, torch.float32)):
        codes = [z.detach().to(dtype).requires_grad_() for z in member.codes]
        output = _call(member, codes)
        name = f"{member.criterion.label} of {dtype} codes"
        came = output.loss.dtype
        require(Wrong, came == expected, f"the loss of {name} is {expected}; got {came}.")
        output.loss.backward()
        kinds = {z.grad.dtype for z in codes if z.grad is not None}
        require(Wrong, kinds == {dtype}, f"the gradient of {name} is {dtype}; got {kinds}.")
        if dtype != torch.bfloat16:
            error = abs(float(output.loss.detach()) - float(exact))
            near = error <= member.single * (1 + abs(float(exact)))
            require(
                Wrong, near, f"{name}: expected about {float(exact)}, came {float(output.loss.detach())}."
            )


def check_refusals(member: CriterionMember) -> None:
    """A batch of one and codes that are NaN are refused; codes that are all the same raise an alarm."""
    label = member.criterion.label
    _expect(ValueError, "2 rows or more", f"{label} of a batch of one", member, [z[:1] for z in member.codes])
    for view in range(len(member.codes) if member.views is None else member.views):
        codes = [z.detach().clone() for z in member.codes]
        codes[view][1, 0] = torch.nan
        _expect(ValueError, "NaN", f"{label} with NaN in a code of view {view}", member, codes)
    same = [z[:1].expand_as(z).clone() for z in member.codes]
    if member.constant:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _call(member, same)
        alarmed = any(issubclass(each.category, CollapseWarning) for each in caught)
        require(Wrong, alarmed, f"{label} warns of codes that are all the same (CollapseWarning).")
    else:
        _expect(ValueError, "collapse", f"{label} of codes that are all the same", member, same)


def check_order(member: CriterionMember) -> None:
    """Another order of the examples changes nothing."""
    order = torch.randperm(len(member.codes[0]), generator=torch.Generator().manual_seed(SEED))
    expected = _call(member, member.codes).loss.detach()
    came = _call(member, [z[order] for z in member.codes]).loss.detach()
    claim = f"{member.criterion.label} is the same for examples in another order"
    require_equal(Wrong, came[None], expected[None], claim, TIGHT)


def check_gradient(member: CriterionMember) -> None:
    """The gradient is that of finite differences."""
    codes = [z.detach().clone().requires_grad_() for z in member.codes]
    try:
        torch.autograd.gradcheck(lambda *z: _call(member, z).loss, codes, check_undefined_grad=False)
    except RuntimeError as error:
        raise Wrong(
            f"the gradient of {member.criterion.label} is that of finite differences: {str(error)[:300]}"
        ) from None


def in_processes(members: dict[str, CriterionMember]) -> dict[str, Report]:
    """What this process finds for each member, for `check_processes` to compare."""
    return {name: _report(member) for name, member in members.items()}


def check_processes(member: CriterionMember, reports: Sequence[Report]) -> None:
    """What W processes found, each with its share of the rows, is what one process finds with all of them.

    Args:
        member: the criterion with its example.
        reports: by rank.

    Raises:
        CriterionContractError: naming the process and what differs.
    """
    one = _report(member)
    for r, report in enumerate(reports):
        where = f"{member.criterion.label} in process {r} of {len(reports)}"
        for name, expected in one["numbers"].items():
            came = report["numbers"].get(name)
            require(Wrong, came is not None, f"{where} reports {name!r} as one process does.")
            require_equal(Wrong, came, expected, f"{where}: {name!r} is that of one process", TIGHT)
        refused = report["unequal"]
        require(
            Wrong, "different shapes" in refused, f"{where} refuses unequal batches; it said {refused!r}."
        )


def _report(member: CriterionMember) -> Report:
    """Value and gradients of this process's rows; the gradients averaged over the processes."""
    codes = [z.detach() for z in member.codes]
    wide = [_encoder(z) for z in codes]
    criterion = copy.deepcopy(member.criterion).double()
    mine = [z.chunk(world_size())[rank()] for z in codes]
    # every process draws for itself: only what process 0 draws may count
    generator = torch.Generator().manual_seed(SEED + rank())
    output = criterion(*(z * w for z, w in zip(mine, wide, strict=True)), generator=generator)
    output.loss.backward()
    learned = {f"gradient of view {i}'s encoder": w for i, w in enumerate(wide)}
    learned |= {f"gradient of {name}": p for name, p in criterion.named_parameters()}
    gradients = {name: p.grad for name, p in learned.items() if p.grad is not None}
    average(gradients.values())
    numbers = {name: value.detach()[None] for name, value in {"loss": output.loss, **output.terms}.items()}
    unequal = ""
    if world_size() > 1:
        try:
            criterion(*(z[: len(z) - (rank() == 0)] for z in mine), generator=generator)
        except ValueError as error:
            unequal = str(error)
    return {"numbers": numbers | gradients, "unequal": unequal}


def _encoder(z: Tensor) -> nn.Parameter:
    """Weights near 1 for each number of a code, whose gradient is a sum over all rows of all processes."""
    return nn.Parameter(1 + 0.1 * torch.sin(torch.arange(z[0].numel(), dtype=z.dtype)).view_as(z[0]))


def _call(member: CriterionMember, codes: Sequence[Tensor]) -> LossOutput:
    """A fresh copy of the criterion, in the codes' precision, on codes with a gradient."""
    dtype = torch.float64 if codes[0].dtype == torch.float64 else torch.float32
    criterion: Criterion = copy.deepcopy(member.criterion).to(dtype)
    leaves = [z if z.requires_grad else z.detach().clone().requires_grad_() for z in codes]
    return criterion(*leaves, generator=torch.Generator().manual_seed(SEED))


def _expect(
    kind: type[Exception], words: str, what: str, member: CriterionMember, codes: Sequence[Tensor]
) -> None:
    try:
        _call(member, codes)
    except kind as error:
        require(Wrong, words in str(error), f"{what}: the error speaks of {words!r}; it says {str(error)!r}.")
        return
    raise Wrong(f"{what} is refused with a {kind.__name__}; it was taken.")
