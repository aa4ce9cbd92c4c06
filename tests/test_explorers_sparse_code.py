"""Sparse code: codes against scikit-learn's lasso, what k atoms rebuild, and the learning of atoms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from ebm.data import photos
from ebm.infer import minimize
from ebm.infer.proximal import SpaRSA
from ebm.show.explorers.scene import Bars, Gray, Handle
from ebm.show.explorers.sparse_code import ATOMS, FIRST, SHOWN, SIZE, SparseCodeExplorer


@pytest.fixture(scope="module")
def begun() -> SparseCodeExplorer:
    return SparseCodeExplorer()


@pytest.fixture
def explorer(begun: SparseCodeExplorer) -> SparseCodeExplorer:
    """As it begins: tests may move the patch, not the atoms."""
    begun.photo, begun.sparsity, begun.atoms = "temple", 0.1, 8
    begun.drag("patch", 72, 116)
    return begun


@pytest.mark.parametrize("sparsity", [0.05, 0.1, 0.3])
def test_the_code_is_the_lasso(explorer: SparseCodeExplorer, sparsity: float) -> None:
    """scikit-learn minimizes |y - Xz|² / 2n + α |z|_1, so α = λ / n."""
    explorer.set("sparsity", sparsity)
    y, atoms = explorer.y[0].double().numpy(), explorer.dictionary.double().numpy()
    lasso = Lasso(alpha=sparsity / len(y), fit_intercept=False, tol=1e-9, max_iter=100_000).fit(atoms.T, y)
    best = 0.5 * np.square(y - lasso.coef_ @ atoms).sum() + sparsity * np.abs(lasso.coef_).sum()
    found = explorer.probe()
    assert found["energy"] == pytest.approx(best, abs=1e-5)
    assert -1e-6 < found["duality gap"] < 1e-4
    assert explorer.z[0].numpy() == pytest.approx(lasso.coef_, abs=0.01)


def test_the_code_is_that_of_minimize(explorer: SparseCodeExplorer) -> None:
    model = explorer.model
    start = torch.zeros(1, ATOMS)
    solution = minimize(model, {"z": start}, SpaRSA(), given={"y": explorer.y}, tol=1e-4)
    assert torch.equal(solution.value["z"], explorer.z)  # type: ignore[index]
    assert explorer.probe()["active"] == float((explorer.z != 0).sum())


def test_k_atoms_rebuild_the_patch(explorer: SparseCodeExplorer) -> None:
    """Zero atoms give the mean alone; all of them give the reconstruction of the code."""
    y, z, atoms = (t.double() for t in (explorer.y[0], explorer.z[0], explorer.dictionary))
    largest = z.abs().argsort(descending=True)
    pixels = explorer.patch[0].double()
    for k in (0, 1, 5, 30):
        explorer.set("atoms", k)
        made = z[largest[:k]] @ atoms[largest[:k]]
        found = explorer.probe()
        assert found["error"] == pytest.approx(float((y - made).square().sum()), abs=1e-5)
        back = made * (pixels - pixels.mean()).norm() + pixels.mean()
        assert found["pixel error"] == pytest.approx(float((back - pixels).square().mean().sqrt()), abs=1e-5)
    assert found["error"] == pytest.approx(found["error of all"], abs=1e-3)
    explorer.set("atoms", 0)
    assert explorer.probe()["error"] == pytest.approx(1.0, abs=1e-5)


def test_a_dearer_code_is_sparser_and_explains_less(explorer: SparseCodeExplorer) -> None:
    numbers = []
    for sparsity in (0.03, 0.1, 0.3, 1.0):
        explorer.set("sparsity", sparsity)
        numbers.append(explorer.probe())
    assert [n["active"] for n in numbers] == sorted((n["active"] for n in numbers), reverse=True)
    assert [n["error of all"] for n in numbers] == sorted(n["error of all"] for n in numbers)
    assert numbers[-1]["active"] == 0  # |⟨D_j, y⟩| <= 1 = λ for unit vectors


def test_the_patch_is_where_it_was_clicked(explorer: SparseCodeExplorer) -> None:
    explorer.click("Photo", 50.4, 30.9)
    temple, flower = photos()
    top, left = 150 + 160 - 30 - 5, 240 + 50 - 5  # rows are counted from the top
    assert torch.equal(explorer.patch.view(SIZE, SIZE), temple[top : top + SIZE, left : left + SIZE])
    explorer.drag("patch", -9.0, 999.0)  # as far as a whole patch goes
    assert torch.equal(explorer.patch.view(SIZE, SIZE), temple[150:160, 240:250])
    explorer.set("photo", "flower")
    assert torch.equal(explorer.patch.view(SIZE, SIZE), flower[130:140, 230:240])


def test_a_flat_patch_has_no_code_and_no_nan(explorer: SparseCodeExplorer) -> None:
    explorer.pictures = {**explorer.pictures, "temple": torch.full((427, 640), 0.5)}
    explorer.click("Photo", 40.0, 40.0)
    found = explorer.probe()
    explorer.pictures["temple"] = photos()[0]
    assert found["active"] == 0 and found["pixel error"] < 1e-6


def test_the_scene_shows_code_atoms_and_dictionary(explorer: SparseCodeExplorer) -> None:
    photo, pair, code, dictionary = explorer.scene().panels
    assert photo.clickable and [h.name for h in photo.of(Handle)] == ["patch"]
    assert len(pair.of(Gray)) == 2 and dictionary.of(Gray)[0].values.shape == (111, 111)
    kept, rest = code.of(Bars)
    largest = explorer.z[0].abs().sort(descending=True).values[:SHOWN]
    assert kept.heights + rest.heights == pytest.approx(largest.numpy())
    assert (kept.heights[8:] == 0).all() and (rest.heights[:8] == 0).all()
    assert "strongest 8" in explorer.scene().text


def test_learning_lowers_the_energy_and_restart_forgets_it() -> None:
    explorer = SparseCodeExplorer(seed=1)
    first, before = explorer.probe(), explorer.dictionary.clone()
    unseen = explorer.data[-300:]
    early = float(explorer.model.infer(unseen, tol=1e-2).energy.mean())
    for _ in range(8):
        assert explorer.tick()
    assert float(explorer.model.infer(unseen, tol=1e-2).energy.mean()) < early
    assert torch.allclose(explorer.dictionary.norm(dim=1), torch.ones(ATOMS), atol=1e-5)
    assert explorer.probe()["steps"] == FIRST + 8
    explorer.press("restart")
    assert explorer.probe() == first and torch.equal(explorer.dictionary, before)


def test_errors_say_what_would_be_right(explorer: SparseCodeExplorer) -> None:
    with pytest.raises(ValueError, match="'temple', 'flower'"):
        SparseCodeExplorer("cat")
    with pytest.raises(ValueError, match=r"goes from 0\.02 to 1\.0; got 0"):
        SparseCodeExplorer(sparsity=0.0)
    with pytest.raises(ValueError, match=r"goes from 0\.0 to 30\.0; got 31"):
        explorer.set("atoms", 31)
    with pytest.raises(ValueError, match="it has Photo"):
        explorer.click("Dictionary", 1.0, 1.0)
