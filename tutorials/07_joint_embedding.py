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
# # 07 · Joint embedding
#
# Predict not the picture but its code; then keep the codes from becoming all the same.
#
# **You will be able to**
# - say in which two ways codes collapse, and which term of VICReg forbids which;
# - write the three terms and their gradients, and say what ε and N - 1 are for;
# - say what an expander asks for that uncorrelated codes need not be;
# - train without any such term, by distillation, and name the three parts that keep it alive.
#
# **You need** chapter 04 (collapse). **It takes** 60 minutes.
#
# A **joint embedding** has an energy of two inputs, the distance of their codes: $E(x, x') = |f(x) - f(x')|^2$. Let x
# and x' be two **views** of one thing (two crops, two noises): low energy then says *these may be the same thing*, and
# nobody has to paint the details that differ.

# %%
import math
from functools import partial

import matplotlib.pyplot as plt
import torch
from checks import ch07

from ebm.course import check
from ebm.data import digits
from ebm.joint import BYOL, EMA, OnCodes, OnViews, Shared, SquaredDistance, VICReg, update_targets
from ebm.loss import AverageEnergy
from ebm.measure import code_report, hsic, knn_probe, linear_probe
from ebm.nets import byol_head, expander, mlp
from ebm.show import style
from ebm.show.explorers import EmbeddingExplorer, explore
from ebm.show.style import GRAY, GREEN, VERMILION
from ebm.train import fit
from ebm.views import Compose, GaussianNoise, RandomResizedCrop, Views

SEED = 2021
torch.set_default_dtype(torch.float64)


def seeded(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## 1 · Predict
#
# 1. Train f only to give two views of a thing the same code. Which f has the smallest loss?
# 2. Now also demand that every dimension of the code varies, with a standard deviation of 1. Name a way in which 32
#    such dimensions can still be nearly useless.
# 3. $s_1 = \cos\varphi$ and $s_2 = \sin\varphi$ of a random angle: are they correlated? Are they independent?
# 4. Let one network predict the codes of a slowly following copy of itself, and nothing else. Constant codes have
#    the smallest loss, 0. Does training find them?

# %%
my_guesses = {
    "f with the smallest loss": None,
    "useless, with every std = 1": None,
    "cos and sin": None,
    "predicting a copy of oneself": None,
}

# %% [markdown]
# ## 2 · Play
#
# Points lie on a spiral in three dimensions; a view is a point with noise; a network gives each a code in the plane.
# Left: codes of points that it has not learned from, colored by where on the spiral they lie. Middle: VICReg's three
# terms (dashed: its weight is 0 now), on a logarithmic axis. Right: the meter, that is, the standard deviations of the
# two code dimensions, and how many directions the codes use (1: a line, 2: the plane).
#
# 1. **Take the fix away:** set the weights of variance and covariance to 0 and train for 600 steps. Where are the codes?
#    What is the invariance term?
# 2. **Put back the variance** (25), don't start again, train to step 1,600. Neither standard deviation is below 1 now. Look
#    at the third bar.
# 3. **Put back the covariance** (1) as well, and train to step 2,400.
#
# Where widgets don't run, set the state from Python and look again, e.g.
# `cloud.set("variance", 0.0); cloud.tick(); explore(cloud)`; a tick is ten steps.

# %%
cloud = EmbeddingExplorer()
explore(cloud)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# 1. All at one point; invariance 0.000, as small as it gets: **complete collapse**. The loss calls it a success.
# 2. The codes fly apart, onto a **line**: each dimension varies, and both say the same. 1.0 directions of 2, **dimensional
#    collapse**. It is as stable as it looks.
# 3. The line bends and opens: nearly 2 directions. The covariance falls from 3 or more to about 0.1, and invariance has
#    to give way a little, from 0.04 to 0.06: two dimensions are harder to keep in agreement than one said twice.
# </details>

# %% [markdown]
# ## 3 · Derive
#
# N things, two views of each, codes $Z, Z'$ of shape (N, D).
#
# **Invariance** $s = \frac1{ND}\sum |z_n - z_n'|^2$. Shrink all codes by a factor a, and it shrinks by $a^2$: its slope
# points to the collapse from everywhere.
#
# **Variance.** A hinge on the standard deviation of every dimension, **over the rows**, that is, over different things:
#
# $$v(Z) = \frac1D\sum_i \max\big(0,\ 1 - \sigma_i\big),\qquad \sigma_i = \sqrt{\mathrm{Var}(z_{\cdot i}) + \varepsilon}.$$
#
# Where the hinge is at work its slope pushes every code away from the mean,
#
# $$\frac{\partial v}{\partial z_{ni}} = -\frac{1}{D}\,\frac{z_{ni} - \bar z_i}{(N-1)\,\sigma_i}.$$

# %%
EPS = 1e-4
z = (0.3 * torch.randn(50, 4, generator=seeded())).requires_grad_()
sigma = (z.var(0) + EPS).sqrt()  # var divides by N - 1
(slope,) = torch.autograd.grad(torch.relu(1 - sigma).mean(), z)
by_hand = (-(z - z.mean(0)) / (4 * 49 * sigma)).detach()
print(f"largest difference: {(slope - by_hand).abs().max():.1e}")
assert torch.allclose(slope, by_hand)

# %% [markdown]
# **What ε is for.** Without it the push does not depend on how near the collapse is: codes at a millionth of the distance
# are pushed as hard, until at the collapse itself the slope is 0/0. With it the push fades below
# $\sigma \approx \sqrt\varepsilon = 0.01$: nothing is ever NaN, but who has fallen that deep is pulled out slowly.

# %%
shape = torch.randn(50, 1, generator=seeded())
for width in (1.0, 1e-2, 1e-4, 0.0):
    pushes = []
    for eps in (0.0, EPS):
        z = (width * shape).requires_grad_()
        (slope,) = torch.autograd.grad((1 - (z.var(0) + eps).sqrt()).mean(), z)
        pushes.append(slope.norm().item())
    print(f"std {width:7.0e}: push without ε {pushes[0]:.4f}, with ε {pushes[1]:.4f}")
assert math.isnan(pushes[0]) and pushes[1] == 0

# %% [markdown]
# **The two in balance.** Let a dimension have standard deviation 1 and two views with correlation ρ, so that
# $\langle(z - z')^2\rangle = 2(1 - \rho)$. Scaled by a it costs $2\lambda(1-\rho)a^2 + \mu\max(0, 1 - a)$, which is
# smallest at
#
# $$a^* = \min\Big(1, \frac{\mu}{4\lambda(1 - \rho)}\Big).$$
#
# For λ = μ (the paper's 25 and 25) a dimension whose views agree better than ρ = 3/4 keeps its size; one that is mostly
# noise shrinks. So VICReg chooses: **features that views share stay**.

# %%
rho, lam, mu = 0.5, 25.0, 25.0
a = torch.linspace(0, 1.5, 15_001)
cost = 2 * lam * (1 - rho) * a**2 + mu * torch.relu(1 - a)
best = a[cost.argmin()]
print(f"ρ = {rho}: the best scale is {best:.3f}; formula {min(1, mu / (4 * lam * (1 - rho))):.3f}")
assert abs(best - 0.5) < 1e-3

# %% [markdown]
# **Covariance.** $C = \frac1{N-1}\sum_n (z_n - \bar z)(z_n - \bar z)^\top$, and the term has what is **off** its diagonal:
#
# $$c(Z) = \frac1D\sum_{i\ne j} C_{ij}^2,\qquad \frac{\partial c}{\partial Z} = \frac{4}{D(N-1)}\,(Z - \bar Z)\,(C - \mathrm{diag}\,C).$$
#
# With the diagonal it would pull variances to 0, against the term before.

# %%
z = torch.randn(50, 4, generator=seeded()).requires_grad_()
centered = z - z.mean(0)
C = centered.T @ centered / 49
off = C - torch.diag(C.diagonal())
(slope,) = torch.autograd.grad(off.square().sum() / 4, z)
by_hand = (4 / (4 * 49) * centered @ off).detach()
print(f"largest difference: {(slope - by_hand).abs().max():.1e}")
assert torch.allclose(slope, by_hand)

# %% [markdown]
# **Why N - 1, and why c is never 0.** Divided by N - 1, C is right on average (divided by N it is too small by (N-1)/N).
# Its square is not: even for independent dimensions $\langle C_{ij}^2\rangle = 1/(N-1)$, so c stops at about
# $(D - 1)/(N - 1)$. What a small batch shows as covariance is in part the batch.

# %%
N, D, batches = 16, 8, 4000
z = torch.randn(batches, N, D, generator=seeded())
z = z - z.mean(1, keepdim=True)
C = z.transpose(1, 2) @ z / (N - 1)
off = C - torch.diag_embed(C.diagonal(dim1=1, dim2=2))
c = off.square().sum((1, 2)) / D
error = c.std() / math.sqrt(batches)
print(f"variance on average {C.diagonal(dim1=1, dim2=2).mean():.3f} (with 1/N {(N - 1) / N:.3f})")
print(f"c of independent codes: {c.mean():.4f} ± {error:.4f}; (D-1)/(N-1) = {(D - 1) / (N - 1):.4f}")
assert abs(c.mean() - (D - 1) / (N - 1)) < 4 * error

# %% [markdown]
# **Uncorrelated is not independent.** Cosine and sine of an angle have covariance 0, and each all but determines the
# other. What the covariance of two numbers cannot see, the covariance of **functions** of them can. An **expander** h
# makes many: $\phi_1(s_1), \dots, \phi_W(s_1)$ and as many of $s_2$. The sum of their squared covariances is the HSIC, a
# measure of dependence that is 0 for independent variables only (for enough functions), in the kernel
# $k(s, t) = \frac1W\sum_w \phi_w(s)\,\phi_w(t)$:
#
# $$\frac1{W^2}\sum_{v,w}\mathrm{Cov}\big(\phi_v(s_1), \phi_w(s_2)\big)^2 = \frac1{n^2}\,\mathrm{tr}(KHLH) = \mathrm{HSIC}(s_1, s_2),$$
#
# K and L the two kernel matrices, $H = I - \frac1n 11^\top$. So who minimizes VICReg's covariance term **behind** a wide
# nonlinear expander asks for codes **in front of it** that are independent, in pairs.

# %%
n, W, g = 1500, 64, seeded()
phi = 2 * math.pi * torch.rand(n, generator=g)
s = math.sqrt(2) * torch.stack([phi.cos(), phi.sin()])  # two codes, each with mean 0 and variance 1
apart = torch.stack([s[0], s[1, torch.randperm(n, generator=g)]])  # the same numbers, paired at random
weights, biases = 2 * torch.randn(2, 2, W, generator=g)


def squared_covariances(codes: torch.Tensor, nonlinear: bool) -> tuple[float, float]:
    """The mean squared covariance of features of s1 with features of s2, and tr(KHLH) / n²."""
    f = [codes[i][:, None] * weights[i] + biases[i] for i in (0, 1)]  # (n, W) each
    f = [each.tanh() for each in f] if nonlinear else f
    f = [each - each.mean(0) for each in f]
    covariance = f[0].T @ f[1] / n
    kernels = [each @ each.T / W for each in f]  # centered: these are HKH and HLH
    return (covariance**2).mean().item(), ((kernels[0] * kernels[1]).sum() / n**2).item()


for name, nonlinear in (("linear", False), ("tanh", True)):
    (pair, trace), (shuffled, _) = squared_covariances(s, nonlinear), squared_covariances(apart, nonlinear)
    print(f"{name:6}: cos and sin {pair:.4f} (as HSIC {trace:.4f}); shuffled apart {shuffled:.4f}")
    assert math.isclose(pair, trace, rel_tol=1e-9)
print(f"HSIC with a Gaussian kernel: cos and sin {hsic(*s):.4f}, shuffled apart {hsic(*apart):.4f}")
assert pair > 3 * shuffled and hsic(*s) > 5 * hsic(*apart)

# %% [markdown]
# A linear expander sees nothing (both values are the noise of 1,500 rows), tanh does. How far this goes in practice, with
# widths from 6 to 384, is in the repository's `figures/independence.png`.
#
# **Distillation**, the other way out. Let one branch predict the code that a second branch, the **target**, gives to the
# other view: $E = |\overline{h(f(x))} - \overline{f_\xi(x')}|^2 = 2 - 2\cos$, a bar for length 1. Three things differ from
# $|f(x) - f(x')|^2$:
# - a predictor h that only one branch has;
# - no gradient through the target, which is a constant: **stop-gradient**;
# - the target's weights follow slowly, $\xi \leftarrow \tau\xi + (1-\tau)\theta$: an exponential moving average (EMA),
#   whose memory is $1/(1-\tau)$ steps long.
#
# Constant codes are still a minimum of E. But the update is no longer the gradient of any loss, and it does not lead
# there. In one dimension, a number θ that is to predict its own slow copy:

# %%
theta, xi, tau = 2.0, 1.0, 0.99
for _ in range(2000):
    theta -= 0.1 * (theta - xi)  # the slope of ½ (θ - ξ)², ξ held
    xi = tau * xi + (1 - tau) * theta
print(f"θ = {theta:.3f}, ξ = {xi:.3f}: they meet between where they began, not at 0")
assert abs(theta - xi) < 1e-3 and 1 < theta < 2

# %% [markdown]
# Nothing pulls to 0, and nothing pushes away from it: that it works in networks is an observation (with an explanation for
# linear ones: the predictor must be fast). So watch the meter, part 7.
#
# ## 4 · Implement
#
# ### Exercise 1: variance
# `variance_term(z, std, eps)`: $\frac1D\sum_i\max(0, \gamma - \sqrt{\mathrm{Var}_i + \varepsilon})$ for codes z (N, D), one
# number; `std` is γ; Var divides by N - 1.
#
# <details><summary>Hint 1</summary>z.var(0) is the variance of each dimension over the rows, divided by N - 1.</details>
# <details><summary>Hint 2</summary>torch.relu(std - (...).sqrt()).mean().</details>


# %% tags=["exercise", "variance_term"]
def variance_term(z: torch.Tensor, std: float, eps: float) -> torch.Tensor:
    raise NotImplementedError("Exercise 1: return the mean over dimensions of the hinge, a number")


# %% [markdown]
# ### Exercise 2: covariance
# `covariance_term(z)`: $\frac1D\sum_{i\neq j}C_{ij}^2$, one number.
#
# <details><summary>Hint 1</summary>Subtract the mean over the rows; C = centered.T @ centered / (N - 1) is (D, D).</details>
# <details><summary>Hint 2</summary>The sum of all squares, less that of C.diagonal(), divided by D.</details>


# %% tags=["exercise", "covariance_term"]
def covariance_term(z: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 2: return the sum of squares off the diagonal over D, a number")


# %% [markdown]
# ### Exercise 3: distillation
# `distillation_energy(prediction, target)`: for codes (N, D) the energy $|\bar q_n - \bar t_n|^2$ of each row, (N,), where a
# bar divides a row by its length. **No gradient may reach the target.**
#
# <details><summary>Hint 1</summary>q / q.norm(dim=1, keepdim=True); the energy is 2 - 2 cos.</details>
# <details><summary>Hint 2</summary>target.detach() is the same numbers, as constants.</details>


# %% tags=["exercise", "distillation_energy"]
def distillation_energy(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 3: return |q/|q| - t/|t||² of every row, (N,), t held constant")


# %% [markdown]
# ## 5 · Check

# %%
score = check(ch07.CHECKS, globals())

# %% [markdown]
# ## 6 · The same with the library
#
# A criterion looks at a whole batch of codes, so it is no energy but shapes one. `VICReg()` has λ = μ = 25, ν = 1.

# %%
g = seeded()
z, z2 = (0.5 * torch.randn(64, 6, generator=g) for _ in range(2))
output = VICReg()(z, z2)
identity = torch.nn.Identity()
both = BYOL(identity, identity)(x=z, y=z2)  # both directions: x predicts y, and y predicts x
print({name: round(value.item(), 4) for name, value in output.terms.items()}, f"loss {output.loss:.4f}")
if score.passed:
    variance = (variance_term(z, 1.0, EPS) + variance_term(z2, 1.0, EPS)) / 2
    covariance = covariance_term(z) + covariance_term(z2)
    assert torch.allclose(output.loss, 25 * (z - z2).square().mean() + 25 * variance + covariance)
    assert torch.allclose(both, distillation_energy(z, z2) + distillation_energy(z2, z))
    print("The library and your functions agree.")

# %% [markdown]
# ## 7 · Collapse
#
# ### Real data: handwritten digits
#
# 1,437 scans of digits of 8 × 8 pixels. A view is a random crop, enlarged again, with a little noise. The encoder makes 32
# numbers of it, an expander 96; the loss is computed on those, and thrown away with the expander after training. No
# label is seen in training. What the codes know is asked afterwards, on 360 other scans, by two **probes**: a linear
# classifier on the codes; and the nearest neighbor among only 5 labeled examples of each class.


# %%
train, test = digits("train"), digits("test")
view = Compose(RandomResizedCrop(8, scale=(0.6, 1.0)), GaussianNoise(0.05))
few = torch.cat([(train.labels == c).nonzero()[:5, 0] for c in range(10)])
STEPS = 150


def encoder() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), mlp(64, 128, 32, generator=seeded(0)))


def learn(energy, loss, callbacks=()):
    """Train an energy of (x, y) on two views of every image."""
    return fit(
        energy,
        OnViews(loss, Views(view, view)),
        {"image": train.images[:, None]},
        optimizer=partial(torch.optim.Adam, lr=5e-3),
        steps=STEPS,
        batch_size=256,
        callbacks=callbacks,
        generator=seeded(1),
        progress=False,
    )


def meter(name: str, f: torch.nn.Module, length: float | None = None) -> dict[str, float]:
    """Look at codes of the test images, which may have a length that they should have, and ask the probes."""
    f.eval()
    with torch.no_grad():
        codes, unseen = f(train.images[:, None]), f(test.images[:, None])
    report = code_report(unseen, scale=length)
    linear = linear_probe((codes, train.labels), (unseen, test.labels), kind="ridge").accuracy
    neighbors = knn_probe((codes[few], train.labels[few]), (unseen, test.labels), k=1, temperature=None)
    print(
        f"{name:26} spread {report.spread:5.3f}, {report.directions:4.1f} directions, linear {linear:.2f}, "
        f"5 a class {neighbors.accuracy:.2f}: {report.verdict}"
    )
    return {**report.numbers(), "linear": linear, "few": neighbors.accuracy}


def vicreg(**weights: float) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The encoder that VICReg with these weights learns, alone and with its expander."""
    f = encoder()
    net = torch.nn.Sequential(f, expander(32, 96, 96, generator=seeded(2)))
    energy = SquaredDistance().compose(s_x=(net, "x"), s_y=(net, "y"))
    learn(energy, OnCodes(VICReg(**weights), "s_x", "s_y"))
    return f, net


found = {"pixels": meter("pixels", torch.nn.Flatten()), "untrained": meter("untrained encoder", encoder())}
found["VICReg"] = meter("VICReg", vicreg()[0])

# %% [markdown]
# Pixels are a strong baseline on such small images, and an untrained network is not nothing: compare with both, always.
# Against both, VICReg's codes gain with the linear probe; five labels a class do not make more of them than of pixels.
#
# Now **take the fix away**, one term after the other. The meter looks behind the expander too, because its 96 outputs are
# what the loss shapes, and there it knows how long codes should be: √96, where every standard deviation is 1.

# %%
for name, weights in (
    ("without covariance", {"covariance": 0.0}),
    ("and without variance", {"variance": 0.0, "covariance": 0.0}),
):
    f, net = vicreg(**weights)
    found[name] = meter(name, f)
    found[name + ", behind"] = meter("  behind the expander", net, length=math.sqrt(96))

assert found["VICReg"]["linear"] > found["pixels"]["linear"] + 0.03
assert found["without covariance, behind"]["verdict"] == "dimensional collapse"
assert found["and without variance, behind"]["verdict"] == "complete collapse"
assert found["VICReg"]["few"] > found["without covariance"]["few"] + 0.05

# %% [markdown]
# Without covariance all 96 outputs say the same thing: about one direction. Without variance they say nothing. Some of it
# reaches the encoder, in front of the expander: it uses about 2 directions in place of 5, and five labels a class no
# longer serve. The **linear** probe notices least: it rescales every direction, however little of it is left. Put the terms
# back, and you have the line "VICReg" again.
#
# **Distillation** has no such term. The same encoder, a predictor (with batch normalization), and a target that follows
# with τ = 0.99, that is, for about 100 steps. Then take one part away: **let the gradient through the target**, with one
# network on both sides. Only directions of codes count in this energy, so the meter is shown codes of length 1.


# %%
class UnitLength(torch.nn.Module):
    """z / |z|."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(z, dim=1)


energies = {}
for name in ("distillation", "gradient through target"):
    f = encoder()
    predictor = byol_head(32, hidden=96, outputs=32, generator=seeded(2))
    follows = name == "distillation"
    model = BYOL(f, predictor, EMA(f, 0.99) if follows else Shared(f))
    history = learn(model, AverageEnergy(), (update_targets(model, STEPS),) if follows else ())
    energies[name] = history.column("energy on data")
    found[name] = meter(name, torch.nn.Sequential(f, UnitLength()))
    print(f"{'':26} energy in the end {energies[name][-20:].mean():.4f}")
assert energies["gradient through target"][-20:].mean() < 0.02 * energies["distillation"][-20:].mean()
assert found["distillation"]["verdict"] == "alive"
assert found["gradient through target"]["verdict"] == "complete collapse"

# %%
with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    for (name, values), color in zip(energies.items(), (GREEN, VERMILION), strict=True):
        left.semilogy(values, color=color, label=name)
    left.set(title="The lower energy is the collapsed one", xlabel="step", ylabel="energy on the data")
    left.legend()
    names = ["pixels", "untrained", "VICReg", "without covariance", "and without variance", *energies]
    for k, name in enumerate(reversed(names)):
        alive = found[name]["verdict"] == "alive"
        right.barh(
            k, 100 * found[name]["few"], color=GRAY if name in names[:2] else GREEN if alive else VERMILION
        )
    right.set_yticks(range(len(names)), names[::-1])
    right.set(title="With five labels a class", xlabel="right on unseen scans (%)", xlim=(0, 100))
    plt.show()

# %% [markdown]
# The energy of the collapsed network is smaller by more than an order of magnitude; from the loss alone you would take it
# for the better one. Red is what the meter calls collapsed, gray is not trained.
#
# Now compare with your guesses: one that gives all things the same code; all say the same; uncorrelated, and far from
# independent; no, as long as no gradient goes through the target.

# %% [markdown]
# ## 8 · Further
#
# - Bardes, Ponce, LeCun (2021), *VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning*,
#   equations 1 to 6. The paper's weights belong to sums where the code (and this library) has means: see `ebm.joint.vicreg`.
# - Mialon, Balestriero, LeCun (2022), *Variance covariance regularization enforces pairwise independence in
#   self-supervised representations*: the expander. Gretton, Bousquet, Smola, Schölkopf (2005), *Measuring statistical
#   dependence with Hilbert-Schmidt norms*, definition 2: HSIC.
# - Grill et al. (2020), *Bootstrap Your Own Latent*, equations 1 and 2; Chen, He (2021), *Exploring Simple Siamese
#   Representation Learning*, equations 1 to 4; Tian, Chen, Ganguli (2021), *Understanding self-supervised
#   learning dynamics without contrastive pairs*: distillation.
# - Jing, Vincent, LeCun, Tian (2022), *Understanding dimensional collapse in contrastive self-supervised learning*.
# - LeCun (2022), *A Path Towards Autonomous Machine Intelligence*, sections 4.4 and 4.5: joint embedding
#   predictive architectures, and how they are trained.
# - Next: chapter 08, world models and planning.
