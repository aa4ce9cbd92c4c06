"""From what a user writes to a `Problem`: reads `over` and `given`, and refuses what cannot be solved.

minimize(E, over, given=...)  =  argmin_u E(u, given),        u = the free variables named in `over`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ebm.binder import Binder
from ebm.bound import Bound
from ebm.choices import Choices
from ebm.energy import Energy
from ebm.infer.starts import Start, as_choices, start_of
from ebm.parts import parts
from ebm.problem import Problem
from ebm.signature import describe

Over = Tensor | Choices | Start | Mapping[str, Tensor | Choices | Start]


def pose(
    energy: Energy | Bound,
    over: Over,
    given: Mapping[str, Any] | None,
    subject_to: Sequence[Energy] = (),
    generator: torch.Generator | None = None,
    max_rows: int | None = None,
    create_graph: bool = False,
) -> tuple[Problem, Tensor]:
    """The problem of minimizing `energy` over the variables in `over`, and its starting point u.

    Raises:
        TypeError: for unknown, missing or doubly named variables, and for values of the wrong type or dtype.
        ValueError: for shapes, devices or batches that don't fit together, an empty batch, or a module in
            training mode whose output for a row depends on its neighbours or on chance.
    """
    given = dict(given or {})
    wanted = _by_name(energy, over, given)
    own = {*energy.variables, *(() if isinstance(energy, Bound) else energy.options)}
    limited = {name for constraint in subject_to for name in constraint.variables} - own
    _check_names(energy, wanted, given, limited)
    check_generator(generator)
    values = _starting_values(wanted, given, generator)
    _check_values(energy, values, given)
    told = {name: value for name, value in given.items() if name not in limited}
    bound = energy.bind(told, generator, like=values)
    limits = []
    for constraint in subject_to:
        known = {name: given[name] for name in constraint.variables if name in given}
        strange = [name for name in constraint.variables if name not in given and name not in values]
        if strange:
            raise TypeError(
                f"constraint {describe(constraint)}; {', '.join(strange)} is neither free nor given."
            )
        limits.append(constraint.bind(known, generator, like=values))
    problem = Problem(
        bound,
        {name: value.shape[1:] for name, value in values.items()},
        tuple(limits),
        generator,
        {name: value.n for name, value in wanted.items() if isinstance(value, Choices)},
        max_rows,
        create_graph,
        len(next(iter(values.values()))),
    )
    return problem, problem.pack(values)


def _by_name(
    energy: Energy | Bound, over: Over, given: Mapping[str, Any]
) -> dict[str, Tensor | Choices | Start]:
    if isinstance(over, Mapping):
        if not over:
            raise TypeError("`over` names no variable, so there is nothing to find.")
        return dict(over)
    free = [v for v in energy.variables if v not in given]
    if len(free) != 1:
        raise TypeError(
            f"a bare value for `over` needs an energy with one free variable; {_describe(energy)} with "
            f"{', '.join(given) or 'nothing'} given. Write over={{name: value}}."
        )
    return {free[0]: over}


def _describe(energy: Energy | Bound) -> str:
    return repr(energy) if isinstance(energy, Bound) else describe(energy)


def _check_names(
    energy: Energy | Bound, over: Mapping[str, Any], given: Mapping[str, Any], limited: set[str]
) -> None:
    """Refuse names that are none of the energy's; `limited` are those of constraints alone, to be given."""
    options = () if isinstance(energy, Bound) else energy.options
    twice = [n for n in over if n in given]
    unknown = [n for n in over if n not in energy.variables]
    unknown += [n for n in given if n not in energy.variables and n not in options and n not in limited]
    missing = [v for v in energy.variables if v not in over and v not in given]
    if twice:
        raise TypeError(
            f"{', '.join(map(repr, twice))} is both in `over` and in `given`; a variable is free or given."
        )
    if unknown:
        raise TypeError(f"{_describe(energy)}; it has no {', '.join(map(repr, unknown))}.")
    if missing:
        raise TypeError(
            f"{_describe(energy)}; {', '.join(map(repr, missing))} is neither in `over` nor in `given`. Pass "
            f"a value for it, or minimize or marginalize it first: min_over(E, {missing[0]!r}, ...)."
        )


def check_generator(generator: torch.Generator | None) -> None:
    """Refuse what is no source of draws.

    Raises:
        TypeError: saying what is one.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator, e.g. torch.Generator().manual_seed(0); got {generator!r}."
        )


def _starting_values(
    wanted: Mapping[str, Tensor | Choices | Start],
    given: Mapping[str, Any],
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    binder = Binder(generator)
    starts = {name: start for name, value in wanted.items() if (start := start_of(value)) is not None}
    tensors: dict[str, Any] = {
        n: v.start if isinstance(v, Choices) else v for n, v in wanted.items() if n not in starts
    }
    for name, value in {**given, **tensors}.items():
        binder.observe(name, value)
    known = {**given, **tensors}
    out: dict[str, Tensor] = {}
    for name, value in wanted.items():
        if name in starts:
            out[name] = starts[name](known, starts[name].draw(binder), binder)
        else:
            out[name] = tensors[name]
        if isinstance(value, Choices) and name in starts:
            out[name] = as_choices(out[name], value.n)
        if not isinstance(out[name], Tensor):
            raise TypeError(
                f"`over` holds tensors, Choices or start objects; {name!r} is {type(out[name]).__name__}."
            )
        if not isinstance(value, Choices) and not out[name].is_floating_point():
            raise TypeError(
                f"a free variable is a floating-point tensor; {name!r} has dtype {out[name].dtype}. Convert "
                f"it with .float(), or search over whole numbers with Choices(start, n)."
            )
    return out


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


def _check_values(energy: Energy | Bound, values: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    binder = Binder()
    for name, value in {**values, **given}.items():
        binder.observe(name, value)
    name, first = next(iter(values.items()))
    if binder.batch == 0:
        raise ValueError(f"empty batch: {name!r} has 0 rows, so there is nothing to solve.")
    floats = next(((n, v) for n, v in values.items() if v.is_floating_point()), None)
    for other, value in {**given, **values}.items():
        for tensor in _tensors(value):
            _check_alike(name, first, other, tensor, None if floats is None else floats)
    if isinstance(energy, Bound):
        return
    modules = parts(energy)
    for module in modules:
        if module.training:
            _refuse_training(energy, module)
    held = (p for module in modules for p in module._parameters.values() if p is not None)
    parameter = next((p for p in held if p.is_floating_point()), None)
    if parameter is None:
        return
    # the first one tells; a module of mixed dtypes is its author's affair
    if parameter.device != first.device or parameter.dtype != first.dtype:
        label = next(label for label, p in energy.named_parameters() if p is parameter)
        _check_alike(name, first, f"parameter {label}", parameter, floats)


def _refuse_training(energy: Energy, module: nn.Module) -> None:
    """Refuse a module that makes the energy of a row depend on others or on chance while it is trained."""
    batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    mixes = batch_norm or getattr(module, "mixes_rows", False)  # as BatchTopK says of itself
    random = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    if mixes or random:
        name = next(name for name, part in energy.named_modules() if part is module)
        raise ValueError(
            f"{name or type(module).__name__} ({type(module).__name__}) is in training mode, where the "
            f"energy of a row depends on {'its neighbours' if mixes else 'chance'}; call energy.eval() "
            "before solving."
        )


def _check_alike(
    name: str, first: Tensor, other: str, tensor: Tensor, floats: tuple[str, Tensor] | None
) -> None:
    if tensor.device != first.device:
        raise ValueError(
            f"{name!r} is on {first.device}, {other!r} on {tensor.device}; move them to one device."
        )
    if floats is not None and tensor.is_floating_point() and tensor.dtype != floats[1].dtype:
        raise TypeError(
            f"{floats[0]!r} is {floats[1].dtype}, {other!r} is {tensor.dtype}; convert one (.to(dtype), "
            "energy.double())."
        )
