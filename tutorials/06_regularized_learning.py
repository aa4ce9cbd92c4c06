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
# # 06 · Regularized learning
#
# Let only so much space have low energy. Then pushing down on the data is all of learning: the rest rises by itself.
#
# **You will be able to**
# - say what bounds the space of low energy in PCA and k-means (A1), in sparse coding and variational auto-encoders (A2),
#   and in contracting auto-encoders (A3);
# - infer a sparse code, and see what photographs are made of;
# - read the variational free energy as a trade of energy against information, and turn its dial from one collapse to the
#   other;
# - find the loophole by which a model escapes its regularizer.
#
# **You need** chapters 01 to 05, eigenvalues, the Kullback-Leibler divergence of two Gaussians. **It takes** 60 minutes.

# %%
import math
from functools import partial

import matplotlib.pyplot as plt
import torch
from checks import ch06

from ebm import energy, minimize
from ebm.contrastive import Gaussian as Spoil
from ebm.course import check
from ebm.data import digits, photo_patches, two_moons
from ebm.infer import LBFGS
from ebm.loss import AverageEnergy
from ebm.measure import auroc
from ebm.measure.collapse import collapse_report
from ebm.nets import mlp
from ebm.regularized import PCA, KMeans, NoisyAutoEncoder, SparseCoding, gaussian_free_energy
from ebm.show import filters, landscape, style
from ebm.show.explorers import SparseCodeExplorer, explore
from ebm.train import fit

SEED = 0
torch.set_default_dtype(torch.float64)


def seeded(more: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(SEED + more)


def shuffle_columns(y: torch.Tensor) -> torch.Tensor:
    """Every coordinate from another row: the same values, but nothing fits together."""
    return torch.stack([y[torch.randperm(len(y), generator=seeded(j)), j] for j in range(y.shape[1])], 1)


# %% [markdown]
# ## 1 · Predict
#
# 1. One hundred atoms span the space of patches with 100 pixels, $F(y) = \min_z \frac12|y - zD|^2$. What is $F$ of a patch
#    of photograph, and of white noise?
# 2. Now codes cost, $\frac12|y - zD|^2 + \lambda|z|_1$, and $D$ is trained to lower $F$ on photographs. Nothing else is
#    said about $D$. What will the atoms do?
# 3. A linear auto-encoder with a noisy code of 64 numbers encodes digits, and the price of a bit rises. Do all 64 numbers
#    fade together, or does one after the other go silent?

# %%
my_guesses = {"F without a price": None, "atoms": None, "64 numbers, a rising price": None}

# %% [markdown]
# ## 2 · Play
#
# From left to right: a photograph with a frame that you can drag (or click somewhere, or use the arrow keys); the patch in
# the frame, and what is rebuilt of it; the largest numbers of its code $z^* = \arg\min_z \frac12|y - zD|^2 + \lambda|z|_1$,
# with their atoms; the dictionary, with the atoms in use framed. Brightness and contrast of the patch are set aside, so
# $|y| = 1$, and an error of 100 % means that nothing is explained.
#
# 1. **Slide k**, from how many atoms the patch is rebuilt. The code has 19 numbers that aren't 0; how many of them do the
#    most of the work?
# 2. **Slide the price λ** from 0.02 up. How many atoms are used, and what is the error of the whole code? From which λ on
#    is the code empty?
# 3. **Set λ back to 0.1 and press Play.** The atoms, which were nearly patches of the photographs, learn. What do they
#    turn into? Drag the frame from the roof to the sky and compare.
#
# Where widgets don't run you see one picture: set the state from Python and look again, e.g.
# `sparse.set("sparsity", 0.3); sparse.drag("patch", 120, 140); explore(sparse)`; `sparse.tick()` learns a step.

# %%
sparse = SparseCodeExplorer()
explore(sparse)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# 1. Four leave an error of 55 %, eight of 43 %, all 19 of 38 %. With 0.1 a unit the rest isn't worth its price.
# 2. At 0.02 it uses 47 atoms (error 19 %), at 0.1 it uses 19 (38 %), at 0.3 three (71 %), at 0.5 one (96 %), from 0.54
#    on none: code 0, error 100 %. Part 3 says where that happens.
# 3. Short edges and bars in all directions, each at a place of its own. After 400 steps the sky at (120, 140), where
#    it is smooth, is rebuilt with an error of 20 % from 11 atoms, a piece of roof at (60, 60) with 51 % from 13.
# </details>

# %% [markdown]
# ## 3 · Derive
#
# **A1, bounded by construction.** Let $z$ be too poor to explain everything. In **k-means**, $E(y, z) = |y - zC|^2$ with
# $z$ a one-hot vector of K numbers: $F(y) = \min_z E$ is 0 at K points, wherever the centers lie. In **PCA**, $E(y, z) =
# \frac12|y - zW|^2$ with $K < D$ numbers and orthonormal rows of $W$: $F$ is 0 on a plane, and
#
# $$F(y) = \tfrac12|y|^2 - \tfrac12|yW^\top|^2.$$
#
# Training by $\min_W\langle F\rangle_\text{data}$ turns the plane into the data. What it leaves rises, because
# $\langle|y|^2\rangle$ is what it is. But let $K$ be $D$, and the construction bounds nothing: **the latent carries
# everything**.

# %%
train, test = (digits(split).images.flatten(1) for split in ("train", "test"))
for K in (1, 16, 40, 60):
    model = PCA.from_data(train, K)
    on, off = model.free_energy(y=test), model.free_energy(y=shuffle_columns(test))
    gap = off.mean() - on.mean()
    print(f"K = {K:2d}: F of digits {on.mean():.4f}, of shuffled pixels {off.mean():.4f}, gap {gap:.4f}")
model = PCA.from_data(train, 16)
y, W = test - model.mean, model.components
by_hand = 0.5 * y.square().sum(1) - 0.5 * (y @ W.T).square().sum(1)
least = torch.linalg.lstsq(W.T, y.T).solution.T  # the best z, found without the formula
assert torch.allclose(by_hand, 0.5 * (y - least @ W).square().sum(1))
random_plane = torch.linalg.qr(torch.randn(64, 16, generator=seeded())).Q.T
assert by_hand.mean() < (0.5 * y.square().sum(1) - 0.5 * (y @ random_plane.T).square().sum(1)).mean()

# %% [markdown]
# **A2, a price of the code.** In sparse coding $z$ may have as many numbers as it likes, but they cost:
#
# $$F(y) = \min_z\ \tfrac12|y - zD|^2 + \lambda|z|_1.$$
#
# With a single number and $D = 1$ the best $z$ shrinks $y$ by $\lambda$, and anything smaller becomes exactly 0:
#
# $$z^* = \operatorname{soft}(y, \lambda) = \operatorname{sign}(y)\,[\,|y| - \lambda\,]_+,\qquad
# F(y) = \begin{cases}\frac12 y^2 & |y|\le\lambda\\ \lambda|y| - \frac12\lambda^2 & \text{else.}\end{cases}$$
#
# So $F$ rises in every direction, and $\lambda$ says how steeply.

# %%
y, lam, z = torch.linspace(-2, 2, 9), 0.6, torch.linspace(-3, 3, 60_001)
table = 0.5 * (y[:, None] - z) ** 2 + lam * z.abs()
soft = y.sign() * (y.abs() - lam).clamp(min=0)
huber = torch.where(y.abs() <= lam, 0.5 * y**2, lam * y.abs() - 0.5 * lam**2)
print("y ", y.numpy(), "\nz*", soft.numpy().round(2))
assert torch.allclose(z[table.argmin(1)], soft, atol=1e-4)
assert torch.allclose(table.min(1).values, huber, atol=1e-8)

# %% [markdown]
# With many atoms, **ISTA** alternates: a step down the smooth part, then the soft threshold of that step's length,
#
# $$z \leftarrow \operatorname{soft}\big(z - t\,(zD - y)D^\top,\ t\lambda\big),\qquad t \le 1/\|D\|^2.$$
#
# The code is 0 exactly when $\lambda \ge \max_j|\langle D_j, y\rangle|$: no atom explains enough to pay for itself.


# %%
def shrink(v: torch.Tensor, threshold: float) -> torch.Tensor:
    return v.sign() * (v.abs() - threshold).clamp(min=0)


D = torch.nn.functional.normalize(torch.randn(12, 6, generator=seeded()), dim=1)
y = torch.randn(1, 6, generator=seeded(1))
t, most = 1 / torch.linalg.matrix_norm(D, 2) ** 2, (y @ D.T).abs().max()
for lam in (0.5 * most, 0.999 * most, 1.001 * most):
    z, before = torch.zeros(1, 12), math.inf
    for _ in range(500):
        now = (0.5 * (y - z @ D).square().sum() + lam * z.abs().sum()).item()
        assert now <= before + 1e-12  # a step never raises the energy
        z, before = shrink(z - t * (z @ D - y) @ D.T, t * lam), now
    print(f"λ = {lam / most:.3f} max|Dy|: {z.count_nonzero()} atoms")
    assert (z.count_nonzero() == 0) == (lam > most)

# %% [markdown]
# **A2, a noisy code.** Instead of one $z$ take a cloud of them, $q(z) = N(m, s^2)$, as in a variational auto-encoder.
# The **variational free energy** is
#
# $$F(q; y) = \underbrace{\tfrac{1}{2\sigma^2}\langle|y - g(z)|^2\rangle_q}_{\text{energy: the error, in units of }\sigma}
# +\ \beta\,\underbrace{\mathrm{KL}\big(q\,\|\,N(0, I)\big)}_{\text{information: what }z\text{ tells of }y,\text{ in nats}}.$$
#
# A sharp cloud at its own place makes a small error and costs many nats; a wide cloud at 0 costs nothing and says nothing.
# With $\beta = 1$ it is never below $-\log p(y)$ (up to the constant of $p(y|z)$), and equal where $q$ is the posterior.
# For $g(z) = gz$ and one number, $p(y) = N(0, g^2 + \sigma^2)$:

# %%
g, sigma, y = 1.5, 0.7, torch.tensor([[0.3], [-2.0]])


@energy
def linear_code(y, z):  # -log p(y|z) - log p(z)
    return (0.5 * ((y - g * z) / sigma) ** 2 + 0.5 * z**2 + math.log(2 * math.pi * sigma)).sum(1)


q = {"mean": torch.zeros(2, 1), "log_std": torch.zeros(2, 1)}
found = minimize(gaussian_free_energy(linear_code), q, LBFGS(), given={"y": y}, tol=1e-9)
variance = g**2 + sigma**2
log_p = -0.5 * y[:, 0] ** 2 / variance - 0.5 * math.log(2 * math.pi * variance)
print(f"smallest F {found.energy.numpy().round(5)};  -log p(y) {-log_p.numpy().round(5)}")
print(
    f"std of the cloud {found.value['log_std'].exp()[0, 0]:.5f};  posterior {sigma / math.sqrt(variance):.5f}"
)
assert torch.allclose(found.energy, -log_p)

# %% [markdown]
# ### Real data: the dial, exactly, on digits
#
# For a linear decoder the best $g$, the best $q$ and what they cost are known. Along an eigenvector of the data's
# covariance, with variance $\lambda_j$ and the price $\tau = \beta\sigma^2$,
#
# $$g_j^2 = [\lambda_j - \tau]_+,\qquad \text{information } \tfrac12\log_2\frac{\lambda_j}{\tau}\text{ bits if }\lambda_j >
# \tau,\text{ else } 0,\qquad \text{error } \min(\lambda_j, \tau).$$
#
# That is Shannon's rate-distortion curve of a Gaussian: **β walks along it**. Directions go silent one after the other,
# each when the price reaches its variance. The cell computes information and error from the clouds of all 1,437 digits,
# and compares with the formula.

# %%
mean, covariance = train.mean(0), train.T.cov(correction=0)
variances, directions = (part.flip(-1) for part in torch.linalg.eigh(covariance))


def dial(price: float, y: torch.Tensor) -> tuple[float, float, torch.Tensor]:
    """Bits, squared error, and the digits rebuilt from their mean codes."""
    W = (variances - price).clamp(min=0).sqrt()[:, None] * directions.T  # (64, 64), one direction a row
    precision = W @ W.T / price + torch.eye(64)
    spread = torch.linalg.inv(precision)  # the covariance of every cloud
    m = (y - mean) @ W.T @ spread / price
    error = (y - mean - m @ W).square().sum(1).mean() + (W.T @ spread @ W).trace()
    nats = 0.5 * (m.square().sum(1).mean() + spread.trace() - 64 + torch.logdet(precision))
    return (nats / math.log(2)).item(), error.item(), mean + m @ W


prices = torch.logspace(-3, 0, 31).tolist()
curve = [dial(price, train)[:2] for price in prices]
alive = [(variances > price).sum().item() for price in prices]
for price, (bits, error) in zip(prices, curve, strict=True):
    formula = 0.5 * (variances / price).clamp(min=1).log2().sum(), variances.clamp(max=price).sum()
    assert torch.allclose(torch.tensor([bits, error]), torch.stack(formula))
strips = {price: dial(price, test)[2] for price in (0.001, 0.03, 0.2, 1.0)}
with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    left.plot([bits for bits, _ in curve], [error for _, error in curve], "o-", markersize=4)
    left.set(
        title="Energy against information", xlabel="bits that z tells of a digit", ylabel="squared error"
    )
    right.semilogx(prices, alive, "o-", markersize=4, color="#D55E00")
    right.set(
        title="One direction after the other",
        xlabel=r"price $\tau = \beta\sigma^2$",
        ylabel="directions in use",
    )
    plt.show()
    figure, rows = plt.subplots(4, 1, figsize=(9, 4))
    for ax, (price, images) in zip(rows, strips.items(), strict=True):
        strip = torch.nn.functional.pad(images[:14].view(14, 8, 8), (1, 0), value=1.0)
        ax.imshow(strip.transpose(0, 1).flatten(1)[:, 1:], vmin=0, vmax=1)
        used = (variances > price).sum()
        ax.set_title(rf"$\tau$ = {price:g}: {dial(price, test)[0]:.1f} bits, {used} directions")
        ax.axis("off")
    plt.show()
assert alive[0] > 50 and alive[-1] == 0 and alive == sorted(alive, reverse=True)

# %% [markdown]
# **A3, as constant as possible.** Let $E(y) = |y - G(y)|^2$ and ask that $G$ change as little as it can: add
# $\gamma\,\|\partial G/\partial y\|^2$. For $G(y) = yA$ this is
#
# $$\langle|y - yA|^2\rangle + \gamma\|A\|^2,$$
#
# which is what a **denoiser** minimizes with noise of variance $\gamma$ (chapter 05): for every A the two losses are the
# same number. Contracting everything, and paying for it only where there is data, leaves a $G$ that keeps the data's
# directions alone.

# %%
A = 0.3 * torch.randn(64, 64, generator=seeded())
y = (train - mean).repeat(20, 1)
noisy = y + math.sqrt(0.05) * torch.randn(y.shape, generator=seeded(1))
denoising = (y - noisy @ A).square().sum(1)
contracting = (y - y @ A).square().sum(1).mean() + 0.05 * A.square().sum()
error = denoising.std() / math.sqrt(len(y))
print(f"contracting {contracting:.3f}, denoising {denoising.mean():.3f} ± {error:.3f}")
assert (contracting - denoising.mean()).abs() < 4 * error

# %% [markdown]
# ## 4 · Implement
#
# ### Exercise 1: a step of ISTA
# `ista_step(z, y, D, lam, step_size)`: from `z` (B, K) to the next, for `y` (B, P), the dictionary `D` (K, P), the price
# `lam` and the step size $t$.
#
# <details><summary>Hint 1</summary>The slope of ½|y - zD|² is (zD - y)Dᵀ, (B, K). Step first, then shrink.</details>
# <details><summary>Hint 2</summary>The threshold is t λ: a short step may only shrink a little. Negative numbers shrink
# towards 0, too.</details>


# %% tags=["exercise", "ista_step"]
def ista_step(
    z: torch.Tensor, y: torch.Tensor, D: torch.Tensor, lam: float, step_size: float
) -> torch.Tensor:
    raise NotImplementedError("Exercise 1: return the next z, (B, K)")


# %% [markdown]
# ### Exercise 2: the variational free energy
# `variational_free_energy(y, g, sigma, m, log_s, beta)`: for `y` (B, D), one code number a row, the decoder $g(z) = zg$
# with `g` (D,), and $q = N(m, s^2)$ with `m` and `log_s` (B,), return
# $\frac{1}{2\sigma^2}\langle|y - zg|^2\rangle_q + \beta\,\mathrm{KL}(q\|N(0, 1))$, (B,), **in closed form**.
#
# <details><summary>Hint 1</summary>⟨|y - zg|²⟩ is the error at the mean, |y - mg|², plus what the cloud's width adds.
# </details>
# <details><summary>Hint 2</summary>The width adds s²|g|². The KL is ½(m² + s² - 1) - log s.</details>


# %% tags=["exercise", "variational_free_energy"]
def variational_free_energy(
    y: torch.Tensor, g: torch.Tensor, sigma: float, m: torch.Tensor, log_s: torch.Tensor, beta: float
) -> torch.Tensor:
    raise NotImplementedError("Exercise 2: return energy / 2σ² + β · information, (B,)")


# %% [markdown]
# ### Exercise 3: k-means as two minimizations
# `lloyd_step(y, C)`: for `y` (B, D) and centers `C` (K, D), first the one-hot $z^*$ of each row that minimizes
# $|y - zC|^2$, then the centers that minimize the **sum** of these energies with $z^*$ held. Return the new centers. A
# center that no row chose stays where it is.
#
# <details><summary>Hint 1</summary>torch.cdist(y, C).argmin(1), and torch.nn.functional.one_hot(..., len(C)) with the dtype
# of y.</details>
# <details><summary>Hint 2</summary>The best center is the mean of the rows that chose it: z.T @ y over z.sum(0). Clamp the
# counts at 1, and use torch.where for centers that have none.</details>


# %% tags=["exercise", "lloyd_step"]
def lloyd_step(y: torch.Tensor, C: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 3: return the new centers, (K, D)")


# %% [markdown]
# ## 5 · Check

# %%
score = check(ch06.CHECKS, globals())

# %% [markdown]
# ## 6 · The same with the library
#
# A regularized model is an energy of `y` and `z` with `infer(y)`, `free_energy` and `decode(z)`; where there is a classical
# algorithm, `fit(y)`.

# %%
y = torch.randn(5, 6, generator=seeded())
coding = SparseCoding(D, 0.3)
code = coding.infer(y, tol=1e-9).value
centers = train[:10].clone()
clusters = KMeans(centers.clone())
clusters.fit(train, max_steps=1, progress=False)
print("numbers in use:", (code != 0).sum(1).tolist(), " F:", coding.free_energy(y=y).numpy().round(3))
if score.passed:
    z = torch.zeros(5, 12)
    for _ in range(3000):
        z = ista_step(z, y, D, 0.3, 1 / torch.linalg.matrix_norm(D, 2).item() ** 2)
    assert torch.allclose(z, code, atol=1e-6)
    assert torch.allclose(lloyd_step(train, centers), clusters.centers)
    at = torch.tensor([[0.3], [-2.0]])
    mine = variational_free_energy(at, torch.tensor([1.5]), 0.7, torch.ones(2), torch.zeros(2), 1.0)
    q = {"mean": torch.ones(2, 1), "log_std": torch.zeros(2, 1)}
    constant = math.log(0.7) + 0.5 * math.log(2 * math.pi)  # of p(y|z)
    assert torch.allclose(mine + constant, gaussian_free_energy(linear_code)(y=at, **q))
    print("The library and your functions agree.")

# %% [markdown]
# ## 7 · Collapse
#
# ### The regularizer taken away
#
# An auto-encoder of two moons with 8 numbers of code and noise of strength $s$ in it: at most $4\log_2(1 + 1/s^2)$ bits get
# through. Always the same loss, $\langle E\rangle_\text{data}$. First without noise, then the same network with $s = 1$
# (the fix), then with $s = 8$ (too much of it).

# %%
moons = two_moons(1500, generator=seeded())
moons = (moons - moons.mean(0)) / moons.std()
model = NoisyAutoEncoder(
    mlp(2, 64, 64, 8, generator=seeded(1)), mlp(8, 64, 64, 2, generator=seeded(2)), 8, 0.0
)
E = 20.0 * model.free_energy  # in nats, errors of 0.16
meters = {}
with style():
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.5), sharey=True)
    for ax, strength in zip(axes, (0.0, 1.0, 8.0), strict=True):
        model.noise = strength
        adam = partial(torch.optim.Adam, lr=3e-3)
        fit(
            E,
            AverageEnergy(),
            moons[:1000],
            optimizer=adam,
            steps=400,
            batch_size=128,
            generator=seeded(),
            progress=False,
        )
        report = collapse_report(E, moons[1000:], corruption=Spoil(0.3), points=1000, generator=seeded(4))
        meters[strength] = report
        box = (-2.5, 2.5, -2.5, 2.5)
        landscape(E, "y", ax, box, ceiling=10.0, colorbar=strength == 8.0, label="energy (nats)")
        ax.plot(*moons[1000:1200].T, ".", color="#E69F00", markersize=2)
        ax.set(
            title=f"s = {strength:g}: {model.capacity:.2g} bits".replace("inf", "∞"),
            xlabel="$y_1$",
            ylabel="$y_2$",
        )
        print(f"s = {strength:g}: energy of data {report.mean:.3f}, ", end="")
        print(f"likely {report.likely_volume:.0%} of the box; {report.verdict}")
    plt.show()
assert meters[0.0].verdict == "flat energy" and meters[0.0].likely_volume > 0.9
assert meters[1.0].verdict == "alive" and meters[8.0].mean > 10 * meters[1.0].mean

# %% [markdown]
# Too little, and the energy is flat wherever the network reaches. Too much, and the code says nothing: all that is left
# is the distance to one point. **In both cases the loss went down all the way.**
#
# ### Real data: photographs, and the loophole
#
# Sparse coding of patches of two photographs, whitened, of length 1. The atoms are kept at length 1, which may look like a
# detail. Then we take that away: each step finds the codes, and then the atoms that fit best, **at any length**.

# %%
patches = photo_patches(5000, 10, generator=seeded(), eps=1.0).value
length = patches.norm(dim=1, keepdim=True)
patches = (patches / length)[length[:, 0] > length.quantile(0.2)]
learn, unseen = patches[:3600], patches[3600:3900]
shuffled = torch.nn.functional.normalize(shuffle_columns(unseen), dim=1)
coding = SparseCoding.from_data(learn, 100, 0.1, generator=seeded())
coding.fit(learn, steps=60, batch_size=200, generator=seeded(1), progress=False)


def mean_energies(model: SparseCoding) -> tuple[float, float]:
    """The free energy of photographs, and of the same patches with pixels shuffled."""
    return tuple(model.infer(points, tol=0.01).energy.mean().item() for points in (unseen, shuffled))


free, history = SparseCoding(coding.dictionary.clone(), 0.1), []
for step in range(13):
    history.append((free.dictionary.norm(dim=1).mean().item(), *mean_energies(free)))
    batch = learn[torch.randint(len(learn), (600,), generator=seeded(step))]
    z = free.infer(batch, tol=0.05).value
    gram = z.T @ z + 1e-4 * torch.eye(100)
    free.dictionary.copy_(torch.linalg.solve(gram, z.T @ batch + 1e-4 * free.dictionary))
free.dictionary.div_(free.dictionary.norm(dim=1, keepdim=True))  # the fix, put back
free.fit(learn, steps=20, batch_size=200, generator=seeded(2), progress=False)
back = mean_energies(free)
lengths, on, off = (torch.tensor(part) for part in zip(*history, strict=True))
print(f"length of an atom {lengths[0]:.1f} -> {lengths[-1]:.1f}")
print(f"gap {off[0] - on[0]:.3f} -> {off[-1] - on[-1]:.3f}; with the fix put back {back[1] - back[0]:.3f}")
assert lengths[-1] > 5 and off[-1] - on[-1] < 0.2 * (off[0] - on[0])
assert back[1] - back[0] > 0.6 * (off[0] - on[0])
scaled = SparseCoding(2 * coding.dictionary, 0.1).infer(unseen, tol=1e-5).energy
cheaper = SparseCoding(coding.dictionary, 0.05).infer(unseen, tol=1e-5).energy
assert torch.allclose(scaled, cheaper, atol=1e-4)  # atoms twice as long: the price halved

# %%
strengths = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7)
by_price = [mean_energies(SparseCoding(coding.dictionary, lam)) for lam in strengths]
gaps = [of_shuffled - of_photos for of_photos, of_shuffled in by_price]
with style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.5))
    filters(coding.dictionary, left, shared=False)
    left.set_title("Atoms of length 1")
    middle.plot(off, color="#D55E00", label="shuffled pixels")
    middle.plot(on, color="#0072B2", label="photographs")
    middle.set(
        title="Atoms of any length: all sinks", xlabel="steps", ylabel="mean free energy F", ylim=(0, None)
    )
    middle.legend()
    right.semilogx(strengths, gaps, "o-", color="#009E73")
    right.set(title="The dial, at length 1", xlabel="price of code λ", ylabel="gap in F", ylim=(0, None))
    plt.show()
told = auroc(*(coding.infer(points, tol=0.01).energy for points in (unseen, shuffled)))
print(f"photographs told from shuffled pixels at λ = 0.1: AUROC {told:.3f}")
assert max(gaps) > 1.1 * gaps[0] and gaps[-1] < 0.1 * max(gaps)

# %% [markdown]
# The atoms grow, the codes shrink, and what a code costs goes to nothing: $E(y, z)$ with atoms $c$ times as long is
# the energy with the price $\lambda/c$. **A regularizer that can be scaled away is none**, and the optimizer finds the
# loophole by itself: low energy everywhere, in ten steps. The same trap waits wherever a weight can grow while a code
# shrinks. A code of fixed power (as in the auto-encoder above) or atoms of fixed length close it.
#
# With the lengths held, the price λ is a dial with a collapse at both ends: $F \le \lambda|z|_1$ for every code that
# rebuilds y, so towards 0 codes explain anything; where λ is large they explain nothing; in between there is a best.
#
# Now compare with your guesses: 0 for both; they grow; one after the other.

# %% [markdown]
# ## 8 · Further
#
# - Olshausen, Field (1996), *Emergence of simple-cell receptive field properties by learning a sparse code for natural
#   images*; Beck, Teboulle (2009), *A Fast Iterative Shrinkage-Thresholding Algorithm*, equation 3.1 (ISTA) and 4.1 to
#   4.3 (how to speed it up).
# - Hinton, Zemel (1993), *Autoencoders, Minimum Description Length and Helmholtz Free Energy*: energy against information.
# - Kingma, Welling (2014), *Auto-Encoding Variational Bayes*, equation 3; Lucas, Tucker, Grosse, Norouzi (2019),
#   *Don't Blame the ELBO!*, section 4: directions that go silent in linear models.
# - Rifai, Vincent, Muller, Glorot, Bengio (2011), *Contractive Auto-Encoders*.
# - LeCun (2022), *A Path Towards Autonomous Machine Intelligence*, section 4.3: what limits the information of a latent.
# - In the library: everything in `ebm.regularized`; `figures/dial.py` turns the dial on a VAE.
# - Next: chapter 07, joint embedding.
