"""Settings given as Python floats keep all their digits: none passes float32 on its way to float64."""

from __future__ import annotations

import pytest
import torch

from ebm import energy, minimize
from ebm.infer import MPPI, AugmentedLagrangian, GradientDescent
from ebm.infer.method import positive
from ebm.infer.pose import pose
from ebm.regularized import LISTA, KMeans, SparseCoding
from ebm.regularizers import L1, Box
from ebm.regularizers.constraints import NonNegative
from ebm.world import KnownDynamics
from ebm.world.disturbed import Disturbed

DOUBLE = torch.float64
VALUE = 0.1  # which float32 holds as 0.10000000149
ONE = torch.ones(1, 1, dtype=DOUBLE)


@energy
def bowl(y):
    return (y**2).sum(1)


def test_methods() -> None:
    problem, u = pose(bowl, ONE, {})
    assert MPPI(4, temperature=VALUE).init(problem, u)["temperature"].item() == VALUE
    constrained, u = pose(bowl, ONE, {}, [bowl])
    state = AugmentedLagrangian(GradientDescent(0.1), penalty=VALUE).init(constrained, u)
    assert state["penalty"].item() == VALUE


@pytest.mark.parametrize("bound", [torch.full((1,), VALUE, dtype=DOUBLE)])
def test_a_box_of_a_number_and_a_tensor(bound: torch.Tensor) -> None:
    for low, high in ((VALUE, bound + 1), (bound - 1, VALUE), (VALUE, bound), (bound, VALUE)):
        box = Box("y", low, high)
        for start in (-9.0, 9.0):
            found = box.prox(start * ONE, torch.ones(1, dtype=DOUBLE)).item()
            assert found == (float(low) if start < 0 else float(high))
    edge = Box("y", -VALUE, torch.full((1,), 5.0, dtype=DOUBLE))
    beyond = 200 * torch.finfo(DOUBLE).eps
    assert edge(y=(-VALUE - beyond) * ONE).item() == torch.inf and edge(y=-VALUE * ONE).item() == 0.0
    assert NonNegative("y")(y=1e300 * ONE).item() == 0.0


def test_models() -> None:
    eye = torch.eye(2, dtype=DOUBLE)
    lista = LISTA(SparseCoding(eye, 0.3, L1("z")), 1)
    expected = torch.tensor(0.3, dtype=DOUBLE)
    torch.testing.assert_close(lista.log_threshold[0, 0].exp().detach(), expected, rtol=1e-15, atol=0)
    gusty = Disturbed(KnownDynamics(lambda s, a: s + a, action_size=1), scale=VALUE)
    moved = gusty.step(0 * ONE, 0 * ONE, z=ONE)
    assert isinstance(moved, torch.Tensor) and moved.item() == VALUE


def test_very_small_and_very_large_settings_are_what_they_are() -> None:
    assert positive("tol", 1e-300) == 1e-300 and positive("tol", 1e300) == 1e300
    y = torch.arange(6, dtype=DOUBLE).view(6, 1)
    assert len(KMeans(y[:2].clone()).fit(y, tol=1e-300)) > 1
    assert minimize(bowl, ONE, GradientDescent(0.4), tol=1e-60).converged.all()
    for bad in (0.0, -1e-300, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="tol must be finite and positive"):
            positive("tol", bad)
    with pytest.raises(TypeError, match="tol is a number, or a tensor with one a row; got '1'"):
        positive("tol", "1")  # type: ignore[arg-type]
