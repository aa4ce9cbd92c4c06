"""Effective samples a second of 1,000 chains beside blackjax: MALA, HMC and NUTS on three targets, float32.

Both sides take the same steps with the same settings, 100 to forget the start and 200 to keep, so their draws
are worth the same and the ratio of the times is that of effective samples a second; the check is the least
effective sample size of a coordinate (of its mean) and the mean of y². blackjax runs jitted, one `scan` over
a `vmap` of chains, and so ours is compiled too; plain torch stands beside it. Both sides compile in their
warm-up. NUTS, which is not compiled here, may grow trees of 2⁸ points on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import sampled
from benchmarks.case import Answers, Case
from ebm import Energy, sample
from ebm.infer import HMC, MALA, NUTS
from ebm.infer.sampler import Sampler
from ebm.measure.ess import ess

CHAINS, BURN_IN, DRAWS, LEAPFROGS, DEPTH = 1000, 100, 200, 8, 8


class Ellipse(Energy):
    """½ Σ_d y_d² / v_d, 20 variances from 0.1 to 1."""

    dim = 20
    precision: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("precision", 1 / torch.logspace(-1, 0, self.dim))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y * y) @ self.precision

    def jax(self, jnp: Any) -> Callable[[Any], Any]:
        precision = jnp.asarray(self.precision.numpy())
        return lambda y: -0.5 * ((y * y) @ precision)


class Wells(Energy):
    """Σ_d (y_d² - 1)², ten double wells with low walls."""

    dim = 10

    def forward(self, y: Tensor) -> Tensor:
        return (y * y - 1).square().sum(-1)

    def jax(self, jnp: Any) -> Callable[[Any], Any]:
        return lambda y: -jnp.sum((y * y - 1) ** 2)


class Regression(Energy):
    """The posterior of a logistic regression: 8 weights, 200 examples, weights N(0, 1) before."""

    dim = 8
    signed: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = sampled.seeded()
        x = torch.randn(200, self.dim, generator=generator)
        label = torch.rand(200, generator=generator) < torch.sigmoid(x.sum(1))
        self.register_buffer("signed", torch.where(label, 1.0, -1.0).unsqueeze(1) * x)

    def forward(self, y: Tensor) -> Tensor:
        told = torch.nn.functional.softplus(-(y @ self.signed.T)).sum(1)
        return told + 0.5 * (y * y).sum(1)

    def jax(self, jnp: Any) -> Callable[[Any], Any]:
        signed = jnp.asarray(self.signed.numpy())
        return lambda y: -jnp.sum(jnp.logaddexp(0.0, -(signed @ y))) - 0.5 * jnp.sum(y * y)


TARGETS: dict[str, tuple[type[Any], float, float]] = {  # with step sizes of MALA, HMC and NUTS
    "a Gaussian of 20 numbers": (Ellipse, 0.06, 0.25),
    "ten double wells": (Wells, 0.06, 0.25),
    "a logistic regression": (Regression, 0.02, 0.15),
}


def setup(target: type[Any]) -> dict[str, Any]:
    return {"energy": target(), "y": torch.randn(CHAINS, target.dim, generator=sampled.seeded())}


def ours(state: dict[str, Any], method: Sampler, compiled: bool) -> Tensor:
    draws = sample(
        state["energy"],
        state["y"],
        method,
        num_samples=DRAWS,
        burn_in=BURN_IN,
        generator=sampled.seeded(),
        compile=compiled,
    )
    value = draws.value
    return value if isinstance(value, Tensor) else next(iter(value.values()))


def theirs(state: dict[str, Any], blackjax: Any, name: str, step: float) -> Tensor:
    import jax
    import jax.numpy as jnp

    if "go" not in state:  # compiled in the first call, which warms up
        density, ones = state["energy"].jax(jnp), jnp.ones(state["energy"].dim)
        method = {
            "MALA": lambda: blackjax.mala(density, step),
            "HMC": lambda: blackjax.hmc(density, step, ones, LEAPFROGS),
            "NUTS": lambda: blackjax.nuts(density, step, ones, max_num_doublings=DEPTH),
        }[name]()

        def one(points: Any, key: Any) -> tuple[Any, Any]:
            points, _ = jax.vmap(method.step)(jax.random.split(key, CHAINS), points)
            return points, points.position

        def go(y: Any, key: Any) -> Any:
            points = jax.vmap(method.init)(y)
            return jax.lax.scan(one, points, jax.random.split(key, BURN_IN + DRAWS))[1][BURN_IN:]

        state["go"] = jax.jit(go)
    drawn = state["go"](jnp.asarray(state["y"].numpy()), jax.random.key(0))
    return torch.from_numpy(np.array(drawn))


def worth(state: dict[str, Any], draws: Tensor) -> Answers:
    return {
        "least effective sample size": float(ess(draws.double(), "mean").min()),
        "mean square": float(draws.double().square().mean()),
    }


def worth_less(ours: Answers, theirs: Answers) -> str:
    """Objects to draws of ours that are worth less than theirs, step for step."""
    name = "least effective sample size"
    mine, other = ours[name], theirs[name]
    return "" if mine >= 0.9 * other else f"worth {mine:.0f} here, {other:.0f} there"


def case(name: str, target: str, compiled: bool = False) -> Case:
    made, small, large = TARGETS[target]
    step = small if name == "MALA" else large
    method = {
        "MALA": lambda: MALA(step),
        "HMC": lambda: HMC(step, LEAPFROGS),
        "NUTS": lambda: NUTS(step, max_depth=DEPTH),
    }[name]()
    return Case(
        f"{name}{' compiled' if compiled else ''}, {target}, {CHAINS:,} chains, against blackjax",
        partial(ours, method=method, compiled=compiled),
        partial(theirs, name=name, step=step),
        partial(setup, made),
        worth,
        worth_less,
        peer="blackjax",
        unit="cpu s",
        at_least=1 / 1.5 if compiled else None,
    )


CASES = [
    case(name, target, compiled)
    for compiled in (True, False)
    for name in ("MALA", "HMC")
    for target in TARGETS
]
CASES += [case("NUTS", target) for target in TARGETS]
