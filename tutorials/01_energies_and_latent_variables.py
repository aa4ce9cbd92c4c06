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
# The data are 24 points near an ellipse, $y = (2\cos t,\ 1.5\sin t)$ plus a little noise. Somebody turned a
# crank to the angle $t$, marked the point $y$, and forgot $t$.

# %%
import math

import matplotlib.pyplot as plt
import torch
from checks import ch01

from ebm import energy, marginal_over, min_over, minimize
from ebm.course import check
from ebm.data import digits
from ebm.infer import Enumerate
from ebm.infer.starts import Zeros
from ebm.nodes import Finite
from ebm.show import style
from ebm.show.explorers import EllipseExplorer, explore
from ebm.targets import Ellipse, ellipse_data

SEED = 1979
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
# Write your guesses down before you go on (there is no penalty, and no other use for them than your
# surprise):
#
# 1. With $w = (2, 1.5)$: what is the smallest energy that the **center** $y = (0, 0)$ can have, over all $z$?
# 2. We replace the minimum over $z$ by a soft average over $z$ and train $w$ to lower it on the data. Will
#    $w$ come out **larger**, **equal** or **smaller** than $(2, 1.5)$?
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
# Left, dark where it is low: the energy of every point y once z is gone, $F(y)$. Middle: what was there
# before, the energy of the point y (drag it, or Tab to it and use the arrow keys) over all angles z. Right:
# the mean of F over the data, for every w. *Train w* moves w downhill there, one step a frame.
#
# 1. **Drag y to the center.** How many minima has the curve in the middle, and what is F∞ there? Now move y a
#    little up, and a little down: what does z* do? (The numbers are in the sentence below the picture.)
# 2. **With y at the center slide β down**, from 100 to 0.1. The hill in the middle of the left panel sinks.
#    At which β is there no hill any more?
# 3. **Set β to 0.2, send w back, and train.** Where does w go? Then switch to β = ∞, send w back, train.
#
# Where widgets don't run you see one picture: set the state from Python and look again, e.g.
# `ellipse.drag("y", 0.0, 0.0); ellipse.set("beta", 0.2); explore(ellipse)`.

# %%
ellipse = EllipseExplorer(data=data)
explore(ellipse)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# 1. Two minima, at z = π/2 and 3π/2, the ends of the *short* axis, equally good; F∞ = 1.5² = 2.25. A little
#    up and z* is π/2, a little down and it jumps to 3π/2. There F∞ has a crease: a minimum over z is
#    continuous, but its minimizer need not be.
# 2. Below β = 0.38 it is a saddle (along the short axis the center is lowest), below 0.29 the lowest point
#    of all.
# 3. To (0, 0), the gray dot in the corner: the ellipse collapses. At β = ∞ it goes to (2.00, 1.49), and fits.
# </details>

# %% [markdown]
# ## 3 · Derive
#
# **Minimizing $z$ away.** A point is as good as its best explanation:
#
# $$F_\infty(y) = \min_z E(y, z).$$
#
# It is the squared distance to the ellipse. At the center every $g(z)$ is at squared distance
# $w_1^2\cos^2 z + w_2^2 \sin^2 z$, which is least where $z = \pm\pi/2$: $F_\infty(0) = \min_i w_i^2 =
# 2.25$. Not infinite: the center is a bad point with a finite price.

# %%
center = torch.zeros(2)
on_ellipse = torch.stack([w_true[0] * angles.cos(), w_true[1] * angles.sin()], 1)  # (48, 2)
energies = ((center - on_ellipse) ** 2).sum(1)  # E(0, z) for the 48 angles
print(f"min_z E(0, z) = {energies.min():.4f} at z = {angles[energies.argmin()] / math.pi:.2f} π")
assert torch.isclose(energies.min(), (w_true**2).min())

# %% [markdown]
# **Marginalizing $z$.** Let every $z$ explain, the better ones more. With $p(y, z) \propto e^{-\beta E(y,z)}$
# and $z$ uniform over $N_z$ values, $p(y) \propto e^{-\beta F_\beta(y)}$ means
#
# $$F_\beta(y) = -\frac1\beta \Big[\log \sum_z e^{-\beta E(y,z)} - \log N_z\Big].$$
#
# - As $\beta\to\infty$ the largest term wins, and $F_\beta \to F_\infty$.
# - As $\beta\to 0$, $e^{-\beta E} \approx 1 - \beta E$, so $F_\beta \to \frac1{N_z}\sum_z E(y,z)$, the plain
#   mean.
# - In between, $F_\infty \le F_\beta \le F_0$. (A minimum is below a soft average, which is below the mean:
#   Jensen.)
#
# F at the center for four β, between its two ends:

# %%
for beta in (1000.0, 4.0, 1.0, 0.001):
    soft = -(torch.logsumexp(-beta * energies, 0) - math.log(48)) / beta
    print(f"β = {beta:8.3f}:  F_β(0) = {soft:.4f}   (min {energies.min():.4f}, mean {energies.mean():.4f})")
    assert energies.min() - 1e-12 <= soft <= energies.mean() + 1e-12

# %% [markdown]
# **The slope of a minimum.** $F_\infty$ depends on w directly, and through $z^*$. The second way adds
# nothing, because at a minimum $\partial E/\partial z = 0$ (the *envelope theorem*):
#
# $$\frac{dF_\infty}{dw} = \frac{\partial E}{\partial w}\Big|_{z^*} + \frac{\partial E}{\partial z}\Big|_{z^*}\frac{dz^*}{dw}
# = \frac{\partial E}{\partial w}\Big|_{z^*}.$$
#
# So an energy can be trained by finding $z^*$, **holding it**, and differentiating E. (With a finite list of
# angles it is simpler still: $z^*$ doesn't move at all, until it jumps.)

# %%
fine = 2 * math.pi * torch.arange(100_000) / 100_000  # so many that z* is free to move
y0, w0, step = torch.tensor([1.7, 1.1]), torch.tensor([1.4, 0.8]), 1e-4


def squared_distance(w, z):
    return (y0[0] - w[0] * z.cos()) ** 2 + (y0[1] - w[1] * z.sin()) ** 2


moved = torch.tensor([step, 0.0])
slope = (squared_distance(w0 + moved, fine).min() - squared_distance(w0 - moved, fine).min()) / (2 * step)
w, z_held = w0.clone().requires_grad_(), fine[squared_distance(w0, fine).argmin()]
held = torch.autograd.grad(squared_distance(w, z_held), w)[0][0]
print(f"dF/dw1, z* moving along: {slope:.5f};   dE/dw1, z* held: {held:.5f}")
assert abs(slope - held) < 1e-4

# %% [markdown]
# **Training** lowers $\langle F_\beta(y)\rangle$ on the data over $w$. For small $w$ expand $F_\beta$ (do it:
# the terms that are linear in $w$ average to zero over $z$):
#
# $$F_\beta(y) = |y|^2 + \sum_i w_i^2\,\big(\tfrac12 - \beta\, y_i^2\big) + O(w^4).$$
#
# So $w = 0$, **an ellipse that has collapsed to a point**, is a minimum of the loss as long as every bracket
# is positive in the mean over the data, that is, exactly when
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
# <details><summary>Hint 1</summary>Start from your energy_table; torch.logsumexp(table, dim=1) sums over
# z.</details>
# <details><summary>Hint 2</summary>Don't forget log K, and check the sign: F must lie between min and
# mean.</details>


# %% tags=["exercise", "free_energy"]
def free_energy(y: torch.Tensor, z: torch.Tensor, w: torch.Tensor, beta: float) -> torch.Tensor:
    raise NotImplementedError("Exercise 2: return -(1/beta) [logsumexp(-beta E) - log K], (B,)")


# %% [markdown]
# ### Exercise 3: the slope of the loss
# `weight_slope(y, z, w)`: the derivative of $\langle F_\infty(y)\rangle$ (mean over the rows) with respect to
# $w$, (2,), **without autograd**. At the minimum over $z$ the derivative through $z^*$ vanishes (the envelope
# theorem): hold $z^*$ and differentiate $|y - g(z^*)|^2$.
#
# <details><summary>Hint 1</summary>z_star = z[energy_table(y, z, w).argmin(1)], an angle a row.</details>
# <details><summary>Hint 2</summary>∂/∂w₁ of (y₁ - w₁ cos z)² is -2 (y₁ - w₁ cos z) cos z.</details>


# %% tags=["exercise", "weight_slope"]
def weight_slope(y: torch.Tensor, z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 3: return the mean over rows of dE/dw at z*, (2,)")


# %% [markdown]
# ## 5 · Check
#
# Each check feeds random inputs and compares with what must hold. A message names the likely slip. Blanks are
# no error: the rest of the chapter runs without them.

# %%
score = check(ch01.CHECKS, globals())

# %% [markdown]
# ## 6 · The same with the library
#
# An energy is a function of **named** variables; what you did by hand has names: `min_over`, `marginal_over`,
# `minimize`.


# %%
@energy
def ellipse_energy(y, z):
    return (y - torch.cat([2.0 * z.cos(), 1.5 * z.sin()], 1)).square().sum(1)


column = angles.unsqueeze(1)  # (48, 1): one angle a row
z_star = minimize(ellipse_energy, {"z": Zeros(1)}, Enumerate(column), given={"y": data}).value["z"]
F_inf = min_over(ellipse_energy, "z", Enumerate(column), Zeros(1))
F_4 = marginal_over(ellipse_energy, "z", beta=4.0, by=Finite(column))

print(f"the first three: z* = {z_star[:3, 0].numpy().round(2)}, F∞ = {F_inf(y=data[:3]).numpy().round(4)}")
if score.passed:
    assert torch.allclose(F_inf(y=data), free_energy(data, angles, w_true, math.inf))
    assert torch.allclose(F_4(y=data), free_energy(data, angles, w_true, 4.0))
    assert torch.allclose(z_star[:, 0], angles[energy_table(data, angles, w_true).argmin(1)])
    print("The library and your functions agree.")

# %% [markdown]
# ## 7 · Collapse
#
# Train $w$ on $\langle F_\beta\rangle$ for many β, always from $w = (1.5, 1.2)$. The **fix** against collapse
# is a large β (few explanations for each point, so each must be good). Take it away, and watch the meter: the
# two half-axes, and the energy gap between the center and the data.


# %%
def train(beta: float) -> tuple[torch.Tensor, float]:
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
    return model.weights.detach().abs(), (free(y=center.unsqueeze(0)) - free(y=data).mean()).item()


betas = torch.cat([torch.linspace(0.06, 0.6, 28), torch.logspace(-0.2, 2, 12)]).tolist()
found = [train(beta) for beta in betas]
half_axes, gaps = torch.stack([w for w, _ in found]), [gap for _, gap in found]

with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True)
    left.semilogx(betas, half_axes[:, 0], label="$w_1$")
    left.semilogx(betas, half_axes[:, 1], label="$w_2$")
    left.set(title="The ellipse that training finds", xlabel="inverse temperature β", ylabel="half-axis")
    right.semilogx(betas, gaps, color="#009E73")
    right.axhline(0, color="#6E6E6E", linewidth=1)
    right.set(title="The meter: center minus data", xlabel="inverse temperature β", ylabel="energy gap")
    for ax in (left, right):
        ax.axvline(float(beta_c), color="#6E6E6E", linestyle=":", label=r"$\beta_c$ of the theory")
    left.legend()
    plt.show()

# %%
for name, beta in (
    ("0.95 β_c", 0.95 * beta_c),
    ("1.05 β_c", 1.05 * beta_c),
    ("0.40", 0.40),
    ("0.45", 0.45),
    ("∞", math.inf),
):
    w, gap = train(float(beta))
    print(f"β = {name:>8}:  w = ({w[0]:.2f}, {w[1]:.2f}),  gap {gap:+.3f}")

assert train(0.95 * float(beta_c))[0].max() < 1e-3  # a point
assert train(0.40)[0][0] > 1 and train(0.40)[0][1] < 1e-3  # a segment
assert train(0.45)[0].min() > 0.1  # an ellipse
assert torch.allclose(train(math.inf)[0], torch.tensor([2.00, 1.49]), atol=0.005)

# %% [markdown]
# Put the fix back (β = ∞), and the ellipse fits: (2.00, 1.49). Between the two it opens twice: to a
# **segment** along the wider axis at β_c, and to an **ellipse** between β = 0.40 and 0.45. Nowhere does the
# mean energy of the data tell: training lowers it all the way into the collapse. The gap tells.
#
# Keep three failures apart; later chapters meet the other two:
# - **the manifold collapses** (this one): the set of low energy shrinks to a point, the energy is not flat;
# - **the energy is flat**: it is low everywhere; it takes a network that is free to make it so (chapter 04);
# - **the latent carries everything**: $z$ is so rich that it explains any $y$ (it takes a $z$ of many
#   dimensions).
#
# ### Real data: ten templates of handwritten digits
#
# Nothing above needed an ellipse. Let y be an image of a digit (8 × 8 pixels of real scans), let z say
# **which of ten templates** it is, $E(y, z) = |y - m_z|^2$, and train the templates on $\langle
# F_\beta\rangle$. The slope is zero where each template is the mean of the images that it explains, weighted
# by $p(z|y)$, and to repeat that lowers $\langle F_\beta\rangle$ at every step. The same expansion as above,
# about ten equal templates, gives
#
# $$\beta_c = \frac{1}{2\lambda_{\max}},\qquad \lambda_{\max}\text{ the largest variance of the data in any direction.}$$


# %%
images, held_out = (
    digits("train").images.flatten(1),
    digits("test").images.flatten(1),
)  # (1437, 64), (360, 64)
first = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))[:10]]


def templates(beta: float, steps: int = 300) -> torch.Tensor:
    m = first
    for _ in range(steps):
        E = torch.cdist(images, m).square()  # (1437, 10)
        p = torch.softmax(-beta * (E - E.amin(1, keepdim=True)), 1)  # p(z|y)
        m = (p.T @ images) / p.sum(0).unsqueeze(1)
    return m


beta_c_digits = 0.5 / torch.linalg.eigvalsh(images.T.cov(correction=0)).max()
ratios = (0.9, 1.2, 100.0)  # of β to β_c
learned = [templates(float(ratio * beta_c_digits)) for ratio in ratios]
with style():
    figure, rows = plt.subplots(3, 1, figsize=(8, 4.2))
    for ax, ratio, m in zip(rows, ratios, learned, strict=True):
        price = torch.cdist(held_out, m).square().amin(1).mean()
        strip = torch.nn.functional.pad(m.view(10, 8, 8), (1, 0), value=1.0)  # a white line between two
        ax.imshow(strip.transpose(0, 1).flatten(1)[:, 1:], vmin=0, vmax=1)
        ax.set_title(rf"$\beta = {ratio:g}\,\beta_c$: mean $F_\infty$ of held-out digits {price:.2f}")
        ax.axis("off")
    plt.show()
spreads = [(m - m.mean(0)).norm(dim=1).mean().item() for m in learned]
print(
    f"β_c = {beta_c_digits:.3f}; distance of the templates from their mean: {[round(s, 4) for s in spreads]}"
)
assert spreads[0] < 1e-3 < spreads[1] < spreads[2]

# %% [markdown]
# At 0.9 β_c ten templates are one gray average: what an average is good for, you see. At large β this is
# k-means (chapter 06). You have met the ellipse's collapse in 64 dimensions, and the same expansion tells where.
#
# One difference: β_c is where the average stops being a minimum. The digits have other minima a little earlier:
# try 0.97 and 0.99, and templates that begin apart stay a little apart. At 0.99 that is even the better minimum.
#
# Now compare with your guesses: 2.25; smaller; a point.

# %% [markdown]
# ## 8 · Further
#
# - LeCun, Chopra, Hadsell, Ranzato, Huang (2006), *A Tutorial on Energy-Based Learning*: energies, inference,
#   and latent variables minimized or marginalized.
# - LeCun (2022), *A Path Towards Autonomous Machine Intelligence*, section 4: latent variables, collapse, and
#   the architectures that can.
# - Rose, Gurewitz, Fox (1990), *Statistical mechanics and phase transitions in clustering*: templates split
#   at β_c = 1/(2 λ_max), and again and again above it.
# - Next: chapter 02, inference is minimization.
