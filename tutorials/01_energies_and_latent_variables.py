# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · Energies and latent variables
#
# An energy on a sheet of paper: a point, an ellipse, and an angle that nobody sees.
#
# **You will be able to**
# - say what an energy of an observed and a latent variable is, and compute it;
# - get rid of the latent variable in two ways, by minimizing and by marginalizing, and say what the inverse
#   temperature β does between the two;
# - train an energy by lowering it on data, see it **collapse**, and say for which β it must.
#
# **You need** Python, a little PyTorch, partial derivatives. **It takes** 50 minutes.
#
# The data are 24 points near an ellipse, $y = (2\cos t,\ 1.5\sin t)$ plus a little noise. Somebody turned a crank to
# the angle $t$, marked the point $y$, and forgot $t$.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from checks import ch01

from ebm import energy, marginal_over, min_over, minimize
from ebm.infer import Enumerate
from ebm.infer.starts import Zeros
from ebm.nodes import Finite
from ebm.show import landscape, style
from ebm.targets import Ellipse, ellipse_data

SEED = 0
torch.set_default_dtype(torch.float64)
data = ellipse_data(24, generator=torch.Generator().manual_seed(SEED))  # (24, 2)
angles = 2 * math.pi * torch.arange(48) / 48  # (48,), the values of z that we allow
w_true = torch.tensor([2.0, 1.5])
print(data[:3])

# %% [markdown]
# ## 1 · Predict
#
# The model has two weights $w = (w_1, w_2)$ and a **latent** angle $z$:
#
# $$E(y, z) = |y - g(z)|^2, \qquad g(z) = (w_1 \cos z,\ w_2 \sin z).$$
#
# Write your guesses down before you go on (there is no penalty, and no other use for them than your surprise):
#
# 1. With $w = (2, 1.5)$: what is the smallest energy that the **center** $y = (0, 0)$ can have, over all $z$?
# 2. We replace the minimum over $z$ by a soft average over $z$ and train $w$ to lower it on the data. Will $w$ come
#    out **larger**, **equal** or **smaller** than $(2, 1.5)$?
# 3. If the average is very soft, what does the trained ellipse look like?

# %%
my_guesses = {
    "energy at the center": None,
    "w under a soft average": None,
    "w under a very soft average": None,
}

# %% [markdown]
# ## 2 · Play
#
# `show_free_energy(beta, w1, w2)` draws the free energy $F_\beta(y)$ of the next section, dark where it is low.
# Three tasks:
#
# 1. At $w = (2, 1.5)$ go from β = 100 down to β = 0.1. When does the hill in the middle disappear?
# 2. At β = 0.2 shrink $w$ to zero. Does the mean energy of the data rise or fall?
# 3. At β = 100 do the same. Rise or fall?
#
# Where sliders do not run you see the picture for one setting; change the numbers in the last line.


# %%
def show_free_energy(beta: float = 4.0, w1: float = 2.0, w2: float = 1.5) -> None:
    model = Ellipse((w1, w2))
    free = marginal_over(model, "z", beta, by=Finite(model.angles()))
    with style():
        _, ax = plt.subplots(figsize=(5.6, 4.2))
        landscape(free, "y", ax, (-3, 3, -2.5, 2.5), ceiling=6.0, resolution=81, label=r"$F_\beta(y)$")
        curve = model.decode(model.angles(200)).detach()
        ax.plot(*torch.cat([curve, curve[:1]]).T, color="white")
        ax.plot(*data.T, ".", color="#E69F00")
        ax.set_title(f"β = {beta:g}: mean energy of the data {free(y=data).mean():.3f}")
        plt.show()


try:
    from ipywidgets import FloatLogSlider, FloatSlider, interact

    interact(
        show_free_energy,
        beta=FloatLogSlider(value=4.0, base=10, min=-1, max=2, description="β"),
        w1=FloatSlider(value=2.0, min=0.0, max=3.0, step=0.05, description="w₁"),
        w2=FloatSlider(value=1.5, min=0.0, max=3.0, step=0.05, description="w₂"),
    )
except ImportError:
    show_free_energy(beta=4.0, w1=2.0, w2=1.5)

# %% [markdown]
# ## 3 · Derive
#
# **Minimizing $z$ away.** A point is as good as its best explanation:
#
# $$F_\infty(y) = \min_z E(y, z).$$
#
# It is the squared distance to the ellipse. At the center every $g(z)$ is at distance
# $w_1^2\cos^2 z + w_2^2 \sin^2 z$, which is least where $z = \pm\pi/2$: $F_\infty(0) = \min_i w_i^2 = 2.25$. Not
# infinite: the center is a bad point with a finite price.

# %%
center = torch.zeros(2)
on_ellipse = torch.stack([w_true[0] * angles.cos(), w_true[1] * angles.sin()], 1)  # (48, 2)
energies = ((center - on_ellipse) ** 2).sum(1)  # E(0, z) for the 48 angles
print(f"min_z E(0, z) = {energies.min():.4f} at z = {angles[energies.argmin()] / math.pi:.2f} π")
assert torch.isclose(energies.min(), (w_true**2).min())

# %% [markdown]
# **Marginalizing $z$.** Let every $z$ explain, the better ones more. With $p(y, z) \propto e^{-\beta E(y,z)}$ and $z$
# uniform over $N_z$ values, $p(y) \propto e^{-\beta F_\beta(y)}$ means
#
# $$F_\beta(y) = -\frac1\beta \Big[\log \sum_z e^{-\beta E(y,z)} - \log N_z\Big].$$
#
# - As $\beta\to\infty$ the largest term wins, and $F_\beta \to F_\infty$.
# - As $\beta\to 0$, $e^{-\beta E} \approx 1 - \beta E$, so $F_\beta \to \frac1{N_z}\sum_z E(y,z)$, the plain mean.
# - In between, $F_\infty \le F_\beta \le F_0$. (A minimum is below a soft average, which is below the mean: Jensen.)

# %%
for beta in (1000.0, 4.0, 1.0, 0.001):
    soft = -(torch.logsumexp(-beta * energies, 0) - math.log(48)) / beta
    print(f"β = {beta:8.3f}:  F_β(0) = {soft:.4f}   (min {energies.min():.4f}, mean {energies.mean():.4f})")
    assert energies.min() - 1e-12 <= soft <= energies.mean() + 1e-12

# %% [markdown]
# **Training** lowers $\langle F_\beta(y)\rangle$ on the data over $w$. For small $w$ expand $F_\beta$ (do it: the
# terms that are linear in $w$ average to zero over $z$):
#
# $$F_\beta(y) = |y|^2 + \sum_i w_i^2\,\big(\tfrac12 - \beta\, y_i^2\big) + O(w^4).$$
#
# So $w = 0$, **an ellipse that has collapsed to a point**, is a minimum of the loss as long as every bracket is
# positive in the mean over the data, that is, exactly when
#
# $$\beta < \beta_c = \frac{1}{2 \max_i \langle y_i^2\rangle}.$$

# %%
beta_c = 1 / (2 * (data**2).mean(0).max())
print(f"β_c = {beta_c:.3f}")
w_small, y, beta = torch.tensor([0.02, 0.03]), data, 0.4
points = torch.stack([w_small[0] * angles.cos(), w_small[1] * angles.sin()], 1)
squared = ((y[:, None] - points) ** 2).sum(2)
exact = -(torch.logsumexp(-beta * squared, 1) - math.log(48)) / beta
expanded = (y**2).sum(1) + (w_small**2 * (0.5 - beta * y**2)).sum(1)
print(f"largest error of the expansion: {(exact - expanded).abs().max():.1e}")
assert (exact - expanded).abs().max() < 1e-5

# %% [markdown]
# ## 4 · Implement
#
# Three functions, ten lines at most each. `y` is (B, 2), `w` is (2,), `z` is (K,). Replace
# `raise NotImplementedError`; open the hints one at a time.
#
# ### Exercise 1: the energy
# `energy_table(y, z, w)`: all energies $E(y_b, z_k)$, a tensor (B, K).
#
# <details><summary>Hint 1</summary>Make the K points g(z) first: a tensor (K, 2).</details>
# <details><summary>Hint 2</summary>y[:, None, :] is (B, 1, 2); minus (K, 2) it becomes (B, K, 2).</details>


# %% tags=["exercise", "energy_table"]
def energy_table(y: torch.Tensor, z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 1: return the (B, K) table of squared distances")


# %% [markdown]
# ### Exercise 2: the free energy
# `free_energy(y, z, w, beta)`: $F_\beta(y)$, (B,); for `beta = math.inf` the minimum.
#
# <details><summary>Hint 1</summary>Start from your energy_table; torch.logsumexp(table, dim=1) sums over z.</details>
# <details><summary>Hint 2</summary>Don't forget log K, and check the sign: F must lie between min and mean.</details>


# %% tags=["exercise", "free_energy"]
def free_energy(y: torch.Tensor, z: torch.Tensor, w: torch.Tensor, beta: float) -> torch.Tensor:
    raise NotImplementedError("Exercise 2: return -(1/beta) [logsumexp(-beta E) - log K], (B,)")


# %% [markdown]
# ### Exercise 3: the slope of the loss
# `weight_slope(y, z, w)`: the derivative of $\langle F_\infty(y)\rangle$ (mean over the rows) with respect to $w$,
# (2,), **without autograd**. At the minimum over $z$ the derivative through $z^*$ vanishes (the envelope theorem):
# hold $z^*$ and differentiate $|y - g(z^*)|^2$.
#
# <details><summary>Hint 1</summary>z_star = z[energy_table(y, z, w).argmin(1)], an angle a row.</details>
# <details><summary>Hint 2</summary>∂/∂w₁ of (y₁ - w₁ cos z)² is -2 (y₁ - w₁ cos z) cos z.</details>


# %% tags=["exercise", "weight_slope"]
def weight_slope(y: torch.Tensor, z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 3: return the mean over rows of dE/dw at z*, (2,)")


# %% [markdown]
# ## 5 · Check
#
# Each check feeds random inputs and compares with what must hold. A message names the likely slip.

# %%
ch01.check_energy_table(energy_table)
ch01.check_free_energy(free_energy, energy_table)
ch01.check_weight_slope(weight_slope)
print("All three are right.")

# %% [markdown]
# ## 6 · The same with the library
#
# An energy is a function of **named** variables; what you did by hand has names: `min_over`, `marginal_over`,
# `minimize`.


# %%
@energy
def ellipse(y, z):
    return (y - torch.cat([2.0 * z.cos(), 1.5 * z.sin()], 1)).square().sum(1)


column = angles.unsqueeze(1)  # (48, 1): one angle a row
z_star = minimize(ellipse, {"z": Zeros(1)}, Enumerate(column), given={"y": data}).value["z"]
F_inf = min_over(ellipse, "z", Enumerate(column), Zeros(1))
F_4 = marginal_over(ellipse, "z", beta=4.0, by=Finite(column))

assert torch.allclose(F_inf(y=data), free_energy(data, angles, w_true, math.inf))
assert torch.allclose(F_4(y=data), free_energy(data, angles, w_true, 4.0))
assert torch.allclose(z_star[:, 0], angles[energy_table(data, angles, w_true).argmin(1)])
print("The library and your functions agree.")

# %% [markdown]
# ## 7 · Collapse
#
# Train $w$ on $\langle F_\beta\rangle$ for many β, always from $w = (1.5, 1.2)$. The **fix** against collapse is a
# large β (few explanations for each point, so each must be good). Take it away, and watch the meter: the two
# half-axes, and the energy gap between the center and the data.


# %%
def train(beta: float) -> Ellipse:
    model = Ellipse((1.5, 1.2))
    free = marginal_over(model, "z", beta, by=Finite(model.angles()))
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = free(y=data).mean()
        value.backward()
        return value

    optimizer.step(loss)
    return model


betas = torch.logspace(-1.2, 2, 40).tolist()
models = [train(beta) for beta in betas]
axes_found = torch.stack([m.weights.detach().abs() for m in models])
gaps = []
for beta, model in zip(betas, models, strict=True):
    free = marginal_over(model, "z", beta, by=Finite(model.angles()))
    gaps.append((free(y=center.unsqueeze(0)) - free(y=data).mean()).item())

with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), sharex=True)
    left.semilogx(betas, axes_found[:, 0], label="$w_1$")
    left.semilogx(betas, axes_found[:, 1], label="$w_2$")
    left.axvline(float(beta_c), color="#6E6E6E", linestyle=":", label=r"$\beta_c$ of the theory")
    left.set(title="The ellipse that training finds", xlabel="β", ylabel="half-axis")
    left.legend()
    right.semilogx(betas, gaps, color="#009E73")
    right.axhline(0, color="#6E6E6E", linewidth=1)
    right.axvline(float(beta_c), color="#6E6E6E", linestyle=":")
    right.set(title="The meter: center minus data", xlabel="β", ylabel="energy gap")
    plt.show()

# %%
collapsed, fitted = train(0.9 * float(beta_c)), train(math.inf)
print("below β_c:", collapsed.weights.detach().abs().numpy().round(6))
print("β = ∞:    ", fitted.weights.detach().abs().numpy().round(2))
assert collapsed.weights.abs().max() < 1e-3
assert np.allclose(fitted.weights.detach().abs(), w_true, atol=0.06)

# %% [markdown]
# Put the fix back (β = ∞), and the ellipse fits. Between the two the model opens twice: first to a **segment** along
# the wider axis, at β_c, then to an ellipse, between β = 0.35 and 0.45.
#
# Keep three failures apart; later chapters meet the other two:
# - **the manifold collapses** (this one): the set of low energy shrinks to a point, the energy is not flat;
# - **the energy is flat**: it is low everywhere; it takes a network that is free to make it so (chapter 04);
# - **the latent carries everything**: $z$ is so rich that it explains any $y$.
#
# Now compare with your guesses.

# %% [markdown]
# ## 8 · Further
#
# - LeCun, Chopra, Hadsell, Ranzato, Huang (2006), *A Tutorial on Energy-Based Learning*: eq. 6 (minimizing a latent
#   variable), eqs. 7 to 9 (marginalizing it).
# - LeCun (2022), *A Path Towards Autonomous Machine Intelligence*, sect. 4.2 to 4.3: latent variables, collapse, and
#   the architectures that can.
# - Next: chapter 02, inference is minimization.
