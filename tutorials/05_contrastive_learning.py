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
# # 05 · Contrastive learning
#
# Push the energy of the data down and that of other points up. All the methods of this chapter differ in one thing: which
# other points.
#
# **You will be able to**
# - sort contrastive methods by the points that they push up: everywhere (C1), chosen points (C2), points that are to be
#   mapped back (C3), and none at all, only slopes (C4);
# - write noise-contrastive estimation, contrastive divergence and denoising score matching, in ten lines each;
# - say what each of them cannot see;
# - compute how many points must be pushed up as the number of dimensions grows.
#
# **You need** chapters 01 to 04, logistic regression. **It takes** 60 minutes.

# %%
import math
from functools import partial

import matplotlib.pyplot as plt
import torch
from checks import ch05

from ebm import energy
from ebm.contrastive import (
    NCE,
    AutoEncoder,
    ContrastiveDivergence,
    Denoising,
    DenoisingScoreMatching,
)
from ebm.contrastive import (
    Gaussian as Spoil,
)
from ebm.course import check
from ebm.data import digits
from ebm.infer import Langevin
from ebm.loss import AverageEnergy
from ebm.measure.collapse import collapse_report
from ebm.nets import mlp
from ebm.show import style
from ebm.show.explorers import TrainingExplorer, explore
from ebm.targets import Gaussian
from ebm.train import fit

SEED = 0
torch.set_default_dtype(torch.float64)


def seeded(more: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(SEED + more)


# %% [markdown]
# ## 1 · Predict
#
# 1. A classifier learns to tell data from noise, by an energy and one more number $c$, as $-E(y) - c - \log
#    p_{\text{noise}}(y)$. The data are N(0, 1) and $E = \frac12 y^2$. What does $c$ come out as?
# 2. A model has two valleys, equally deep, and all data lie in the first. We push up where short chains lead that begin
#    at the data. What happens to the second valley?
# 3. In 8 dimensions that classifier learns well from one point of noise for every two rows of data, the noise being 1.5
#    times as wide as the data. How many does it need for each row in 32 dimensions: 1, 2, 20? And in 128?

# %%
my_guesses = {"c": None, "the second valley": None, "noise for each row in 32 dimensions": None}

# %% [markdown]
# ## 2 · Play
#
# A network learns an energy over the plane while you watch. Left the energy, dark where it is low, the data (orange), and
# with the contrastive loss the noise that is pushed up (purple). Middle: how much more energy points anywhere in the data's
# box have than data. Right: the share of the box that the energy finds likely.
#
# 1. **Push down only**: press Play and wait for 200 steps. What share of the box is likely? Where did the picture go?
# 2. **Switch the loss to contrastive** and go on, 200 steps more. Where does the energy rise first? Is it high in the
#    corners, where there is hardly any noise? Was it before?
# 3. **Switch back to push down only.** How long does it take until what was learned is lost?
#
# Where widgets don't run you see one picture: set the state from Python and look again, e.g.
# `training.set("loss", "contrastive"); [training.tick() for _ in range(20)]; explore(training)` (ten steps a tick).

# %%
training = TrainingExplorer(loss="push down only")
explore(training)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# 1. About 96 % after 200 steps, with a gap below 0.2 nats: a flat energy. The data's box is one dark color, and the moons
#    are gone. It is bright outside, since the network does not reach so far; the loss has no part in that.
# 2. At once around the data: after 10 steps the gap is 1.6 nats. About 30 % are likely after 100 steps, 26 % after 200,
#    with a gap of more than 8 nats. The corners are high, and were before: look inside to see what a loss does.
# 3. After 50 steps 75 % of the box is likely, after 200 more than 90 %, and the gap is below half a nat. Pushing up is no
#    cure that is taken once: a loss that only pushes down collapses an energy that was well.
# </details>

# %% [markdown]
# ## 3 · Derive
#
# **C1, push up everywhere.** Maximum likelihood is $L = \langle E\rangle_\text{data} + \log Z$ with $Z = \int
# e^{-E(y)}dy$. The slope of $\log Z$ is minus a mean over the **model**:
#
# $$\nabla L = \underbrace{\langle\nabla E\rangle_\text{data}}_{\text{positive phase: down on data}}
# - \underbrace{\langle\nabla E\rangle_{p},\ p \propto e^{-E}}_{\text{negative phase: up where the model has its mass}}.$$
#
# Where the two agree, learning ends. On a line the integral is a sum over a grid:

# %%
data = torch.cat(
    [torch.randn(300, generator=seeded()) - 1.5, 0.7 * torch.randn(200, generator=seeded(1)) + 2]
)
grid = torch.linspace(-8, 8, 8001)
theta = torch.tensor([-0.8, 0.1], requires_grad=True)


def powers(y: torch.Tensor) -> torch.Tensor:
    return torch.stack([y**2, y**4])  # E = θ₁ y² + θ₂ y⁴, so ∇E = (y², y⁴)


loss = (theta @ powers(data)).mean() + torch.logsumexp(-theta @ powers(grid), 0) + math.log(16 / 8000)
(slope,) = torch.autograd.grad(loss, theta)
p = torch.softmax(-theta.detach() @ powers(grid), 0)
two_phases = powers(data).mean(1) - powers(grid) @ p
print(f"autograd {slope.numpy().round(4)};  data minus model {two_phases.numpy().round(4)}")
assert torch.allclose(slope, two_phases)

# %% [markdown]
# **C2, push up on chosen points.** In many dimensions there is no grid, so samples must do. **Contrastive divergence**
# takes them from $k$ steps of Langevin dynamics (chapter 03) that begin at the data. On $E = \frac12\lambda y^2$ a step
# multiplies by $a = 1 - \varepsilon\lambda$ and adds noise, so data of variance $v$ become chains of variance
#
# $$v_k = a^{2k} v + (1 - a^{2k})\, v_\infty,\qquad v_\infty = \tfrac{1}{\lambda(1 - \varepsilon\lambda/2)},\qquad
# \frac{dL}{d\lambda} = \tfrac12 (v - v_k) = \tfrac12\,(1 - a^{2k})\,(v - v_\infty).$$
#
# With few steps the slope is short, but it vanishes at the same place.


# %%
class Bowl(torch.nn.Module):
    """E(y) = ½ λ |y|²."""

    def __init__(self, curvature: float = 1.0):
        super().__init__()
        self.curvature = torch.nn.Parameter(torch.tensor(curvature))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return 0.5 * self.curvature * y.square().sum(1)


v, eps, wide = 4.0, 0.1, math.sqrt(4.0) * torch.randn(200_000, 1, generator=seeded())
for k in (1, 5, 50):
    bowl = Bowl()
    model = energy(bowl.forward)
    value = ContrastiveDivergence(Langevin(eps), steps=k)(model, seeded(k), y=wide).loss
    (found,) = torch.autograd.grad(value, bowl.curvature)
    theory = 0.5 * (1 - (1 - eps) ** (2 * k)) * (v - 1 / (1 - eps / 2))
    print(f"k = {k:2d}: slope {found:.3f}, theory {theory:.3f}")
    assert abs(found - theory) < 0.05

# %% [markdown]
# **What short chains cannot see.** A model with a second valley at $y = 10$ as deep as the first, and no data there. The
# weight $b$ of that valley has the exact slope ½ (half of the model's mass is there). Chains that begin at the data never
# come across:

# %%
b = torch.tensor(0.0, requires_grad=True)


@energy
def two_valleys(y):
    return -torch.logaddexp(-0.5 * y[:, 0] ** 2, b - 0.5 * (y[:, 0] - 10) ** 2)


near = torch.randn(2000, 1, generator=seeded())
short = ContrastiveDivergence(Langevin(0.1), steps=20)(two_valleys, seeded(), y=near).loss
(blind,) = torch.autograd.grad(short, b)
spread = torch.linspace(-4, 14, 2000).unsqueeze(1)  # chains that begin anywhere
for i in range(20):
    here = spread.clone().requires_grad_()
    (uphill,) = torch.autograd.grad(two_valleys(y=here).sum(), here)
    spread = spread - 0.1 * uphill + math.sqrt(0.2) * torch.randn(2000, 1, generator=seeded(i))
(seeing,) = torch.autograd.grad(two_valleys(y=near).mean() - two_valleys(y=spread).mean(), b)
print(f"slope of b: exact 0.5, chains from the data {blind:.5f}, chains from anywhere {seeing:.3f}")
assert abs(blind) < 1e-3 and abs(seeing - 0.5) < 0.02

# %% [markdown]
# So chains are kept in a buffer from update to update (**persistent** CD), or begin at noise. Metric learning, ratio
# matching and an adversarial generator are other ways to choose the points.
#
# **C2, points from known noise.** Noise-contrastive estimation (NCE) doesn't sample the model at all. For each row of
# data it takes $\nu$ points of noise with a known density $p_n$, and trains a classifier whose logit is the log-ratio
#
# $$G(y) = -E(y) - c - \log p_n(y),\qquad
# L = -\langle\log\sigma(G - \log\nu)\rangle_\text{data} - \nu\,\langle\log\sigma(\log\nu - G)\rangle_\text{noise}.$$
#
# The best classifier knows the true ratio of densities. So $-E - c$ becomes $\log p$, and **$c$ becomes $\log Z$**,
# although nobody integrated. With $E = \frac12 y^2$ and data from N(0, 1), here is $L$ for many $c$, its means computed
# on a grid:

# %%
nu, step = 3.0, grid[1] - grid[0]
log_p = -0.5 * grid**2 - 0.5 * math.log(2 * math.pi)
log_noise = -0.5 * (grid / 1.5) ** 2 - math.log(1.5) - 0.5 * math.log(2 * math.pi)
cs = torch.linspace(0.5, 1.5, 2001)
logit = -0.5 * grid**2 - cs[:, None] - log_noise - math.log(nu)
softplus = torch.nn.functional.softplus
curve = step * (softplus(-logit) @ log_p.exp() + nu * softplus(logit) @ log_noise.exp())
print(f"smallest at c = {cs[curve.argmin()]:.4f};  log Z = ½ log 2π = {0.5 * math.log(2 * math.pi):.4f}")
assert abs(cs[curve.argmin()] - 0.5 * math.log(2 * math.pi)) < 1e-3

# %% [markdown]
# **C3, map points back.** Spoil the data, $\tilde y = y + \sigma\varepsilon$, and train a network $G$ to undo it:
# $L = \langle|y - G(\tilde y)|^2\rangle$. The energy is $E(y) = |y - G(y)|^2$, the distance from a point to where it is
# mapped. A regression finds means, and the mean of $y$ given $\tilde y$ is
#
# $$G(\tilde y) = \tilde y + \sigma^2\,\nabla\log p_\sigma(\tilde y),\qquad p_\sigma = \text{the data, blurred by }\sigma;
# \qquad\text{for data N}(0, S):\ G = S(S + \sigma^2 I)^{-1}.$$
#
# So $E = \sigma^4|\nabla\log p_\sigma|^2$. Data along a line that is 0.1 thick, in the plane:

# %%
S, sigma = torch.diag(torch.tensor([1.0, 0.01])), 0.3
y = torch.randn(200_000, 2, generator=seeded()) @ S.sqrt()
spoilt = y + sigma * torch.randn(y.shape, generator=seeded(1))
G = torch.linalg.lstsq(spoilt, y).solution
best = S @ torch.linalg.inv(S + sigma**2 * torch.eye(2))
along, across = (torch.eye(2) - torch.eye(2) @ G).square().sum(1)
print(f"G = {G.diag().numpy().round(3)} (theory {best.diag().numpy().round(3)})")
print(f"E one unit along the line {along:.4f}, one unit across {across:.4f}")
assert torch.allclose(G, best, atol=0.01) and across > 50 * along

# %% [markdown]
# **C4, push on slopes.** To have the right shape it is enough that the slope is right everywhere there is data, and that
# can be asked without $Z$ and without other points. **Score matching** makes data sit where the slope is small and the
# curvature large: $J = \langle\frac12|\nabla E|^2 - \nabla\!\cdot\!\nabla E\rangle$. (No point is pushed up, so some lists
# count it with the regularized methods of chapter 06.) For $E = \frac12\lambda y^2$ it is $J = \frac12\lambda^2 v -
# \lambda$, smallest at $\lambda = 1/v$, the truth.
#
# **Denoising score matching** avoids second derivatives: the slope at $\tilde y$ is to point from the data to $\tilde y$,
#
# $$J_\sigma = \tfrac12\Big\langle\Big|\nabla E(\tilde y) - \frac{\tilde y - y}{\sigma^2}\Big|^2\Big\rangle,$$
#
# which is C3 again, with $\sigma^2\nabla E(\tilde y)$ in place of $\tilde y - G(\tilde y)$. The price: it learns the
# blurred data, $\lambda = 1/(v + \sigma^2)$.

# %%
sample = math.sqrt(2.0) * torch.randn(100_000, generator=seeded())
noise = torch.randn(100_000, generator=seeded(1))
lambdas = torch.linspace(0.2, 0.8, 1201)
exact = 0.5 * lambdas**2 * sample.square().mean() - lambdas
there = sample + 0.8 * noise
denoised = torch.stack([0.5 * (each * there - noise / 0.8).square().mean() for each in lambdas])
print(f"score matching {lambdas[exact.argmin()]:.4f}, 1/v = 0.5")
print(f"denoising      {lambdas[denoised.argmin()]:.4f}, 1/(v + σ²) = {1 / 2.64:.4f}")
assert abs(lambdas[exact.argmin()] - 0.5) < 0.01 and abs(lambdas[denoised.argmin()] - 1 / 2.64) < 0.01

# %% [markdown]
# ### The price of dimension
#
# Space grows, and the points that are pushed up get lost in it. Make that a number: data N(0, I) in $D$ dimensions, the
# model $E = \frac12 e^\theta|y|^2$, true at $\theta = 0$, noise of the right shape but `width` times as wide. From many
# rows, NCE finds $\theta$ with an error that is known: with $P = \sigma(\log\nu + \log p_n - \log p)$, the classifier's
# belief in noise, and $g = (\frac12|y|^2,\ 1)$, the slopes of $E + c$ with respect to $\theta$ and $c$,
#
# $$N\,\langle\hat\theta^2\rangle = \Big[\langle P g g^\top\rangle_\text{data}^{-1}\Big]_{11},\qquad
# \text{and } 2/D \text{ for maximum likelihood.}$$
#
# All depends on $|y|^2$ alone, so these means are integrals over one number. As D grows the classifier is right ever more
# easily: $P$ goes to zero on the data, and nothing is left to learn from.


# %%
def price(dim: int, ratio: float, width: float) -> float:
    """The mean squared error of NCE over that of maximum likelihood."""
    r = torch.logspace(-3, 3, 4001)  # |y|²
    chi2 = r ** (dim / 2) * torch.exp(-r / 2)  # times dr = r dlog r
    logit = math.log(ratio) + 0.5 * r * (1 - 1 / width**2) - dim * math.log(width)
    g = torch.stack([r / 2, torch.ones_like(r)])
    information = (g * torch.sigmoid(logit) * chi2 / chi2.sum()) @ g.T
    return (torch.linalg.inv(information)[0, 0] * dim / 2).item()


def needed(dim: int, width: float) -> float:
    """Points of noise for each row of data until the error is at most twice that of maximum likelihood."""
    low, high = -10.0, 40.0  # bisection in log ν
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if price(dim, math.exp(middle), width) > 4 else (low, middle)
    return math.exp(high)


def measured(dim: int, width: float, rows: int = 2048, times: int = 200) -> float:
    """The same with ν = 1 by doing it: Newton's method on θ and c, many times at once."""
    r = torch.randn(times, rows, dim, generator=seeded()).square().sum(2)
    r = torch.cat([r, width**2 * torch.randn(times, rows, dim, generator=seeded(1)).square().sum(2)], 1)
    is_data = (torch.arange(2 * rows) < rows).double()
    a, c = torch.zeros(times, 1), torch.full((times, 1), 0.5 * dim * math.log(2 * math.pi))  # e^θ = 1 + a
    for _ in range(6):
        log_noise = -0.5 * r / width**2 - dim * (math.log(width) + 0.5 * math.log(2 * math.pi))
        share = torch.sigmoid(-0.5 * (1 + a) * r - c - log_noise)
        g = torch.stack([-r / 2, -torch.ones_like(r)], 2)
        bend = (g * (share * (1 - share)).unsqueeze(2)).mT @ g
        move = torch.linalg.solve(bend, (g * (is_data - share).unsqueeze(2)).sum(1))
        a, c = a + move[:, :1], c + move[:, 1:]
    return (a.square().mean() * rows * dim / 2).item()


widths = {1.1: "#009E73", 1.5: "#0072B2", 2.0: "#D55E00"}
dims = [1, 2, 4, 8, 16, 32, 64, 128]
tried = {dim: measured(dim, 1.5) for dim in (1, 4, 8, 16)}
print("ν = 1, noise 1.5 times as wide:")
for dim, value in tried.items():
    print(f"D = {dim:2d}: squared error {value:5.2f} measured, {price(dim, 1, 1.5):5.2f} computed")
    assert abs(value / price(dim, 1, 1.5) - 1) < 0.4  # 4 standard errors, 200 times
with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    for width, color in widths.items():
        left.loglog(dims, [price(dim, 1, width) ** 0.5 for dim in dims], color=color)
        right.loglog(
            dims, [needed(dim, width) for dim in dims], color=color, label=f"{width:g} times as wide"
        )
    left.plot(tried.keys(), [value**0.5 for value in tried.values()], "o", color="#0072B2", label="measured")
    left.axhline(1, color="#6E6E6E", linestyle=":", label="score matching")
    left.set(
        title="One point of noise for each row", xlabel="dimensions", ylabel="error / maximum likelihood's"
    )
    right.set(title="What twice that error takes", xlabel="dimensions", ylabel="points of noise for each row")
    left.set_ylim(0.8, 1e3)
    right.set_ylim(0.03, 1e7)
    for ax in (left, right):
        ax.set_xticks(dims, [str(dim) for dim in dims])
        ax.minorticks_off()
        ax.legend()
    plt.show()
for dim in (8, 32, 128):
    print(f"D = {dim:3d}: " + ", ".join(f"{needed(dim, w):.3g} ({w:g} times as wide)" for w in widths))
assert needed(128, 1.1) < 1 < needed(32, 1.5) < needed(128, 1.5) / 1e5

# %% [markdown]
# The price grows exponentially, and what is in the exponent is **how unlike the data the noise is**. Score matching stays
# at 1 in any dimension: here its answer is that of maximum likelihood. (It pays elsewhere: it cannot tell how deep two
# separate valleys are beside each other.) `figures/dimension.py` measures it for five losses.
#
# ## 4 · Implement
#
# ### Exercise 1: noise-contrastive estimation
# `nce_loss(E_data, E_noise, log_noise_data, log_noise_noise, c)`: the loss $L$ above, one number. `E_data` (B,) and
# `E_noise` (B, ν) are the energies of the data and of ν points of noise a row; the next two are $\log p_n$ at the same
# points.
#
# <details><summary>Hint 1</summary>Make the logit G - log ν twice, for data and for noise; ν is E_noise.shape[1].</details>
# <details><summary>Hint 2</summary>-log σ(t) is torch.nn.functional.softplus(-t). The noise counts ν times: ν · mean.
# </details>


# %% tags=["exercise", "nce_loss"]
def nce_loss(
    E_data: torch.Tensor,
    E_noise: torch.Tensor,
    log_noise_data: torch.Tensor,
    log_noise_noise: torch.Tensor,
    c: torch.Tensor,
) -> torch.Tensor:
    raise NotImplementedError("Exercise 1: return the loss of telling data from noise, one number")


# %% [markdown]
# ### Exercise 2: contrastive divergence
# `contrastive_divergence(energy, y, noise, step_size)`: $L = \langle E(y)\rangle - \langle E(y^-)\rangle$, where $y^-$
# begins at $y$ and makes one Langevin step $y^- \leftarrow y^- - \varepsilon\nabla E(y^-) + \sqrt{2\varepsilon}\,\xi$ for
# each $\xi$, (B, D), in `noise` (k, B, D). `energy(y)` gives (B,). **The chain is not differentiated**: L depends on the
# energy's weights through the two mean energies alone. Leave `y` as it is.
#
# <details><summary>Hint 1</summary>In each step: a chain that requires a gradient, torch.autograd.grad(energy(chain).sum(),
# chain) for the slope, then .detach() the new chain.</details>
# <details><summary>Hint 2</summary>Begin with chain = y.detach().clone(); a round begins with chain.requires_grad_().
# </details>


# %% tags=["exercise", "contrastive_divergence"]
def contrastive_divergence(energy, y: torch.Tensor, noise: torch.Tensor, step_size: float) -> torch.Tensor:
    raise NotImplementedError("Exercise 2: return <E(y)> - <E(end of the chains)>, one number")


# %% [markdown]
# ### Exercise 3: denoising score matching
# `denoising_loss(energy, y, noise, sigma)`: $J_\sigma$ above, with $\tilde y = y + \sigma\varepsilon$ and $\varepsilon$ =
# `noise`, (B, D) like `y`: a sum over coordinates, a mean over rows, and ½. It will be differentiated with respect to the
# energy's weights.
#
# <details><summary>Hint 1</summary>The slope: torch.autograd.grad(energy(spoilt).sum(), spoilt, create_graph=True).</details>
# <details><summary>Hint 2</summary>(ỹ - y)/σ² is noise / sigma.</details>


# %% tags=["exercise", "denoising_loss"]
def denoising_loss(energy, y: torch.Tensor, noise: torch.Tensor, sigma: float) -> torch.Tensor:
    raise NotImplementedError("Exercise 3: return half the mean squared distance of slope and target")


# %% [markdown]
# ## 5 · Check

# %%
score = check(ch05.CHECKS, globals())

# %% [markdown]
# ## 6 · The same with the library
#
# A loss takes an energy, a generator and the data: `loss(energy, generator, y=y)`. To compare, your functions get the same
# random numbers.

# %%
bowl = Bowl(1.3)
model, batch, sigma = energy(bowl.forward), torch.randn(64, 3, generator=seeded()), 0.5
noise_density = Gaussian(torch.zeros(3), 2.25 * torch.eye(3))
nce = NCE(noise_density, ratio=4, log_z=2.0)
values = {
    "NCE": nce(model, seeded(1), y=batch),
    "contrastive divergence": ContrastiveDivergence(Langevin(0.1), steps=2)(model, seeded(2), y=batch),
    "denoising score matching": DenoisingScoreMatching(sigma)(model, seeded(3), y=batch),
}
for name, output in values.items():
    print(f"{name:25} loss {output.loss:8.4f}, energy gap {output.gap:.3f}")
if score.passed:
    drawn = nce.draw(64 * 4, seeded(1))
    mine = nce_loss(
        model(y=batch),
        model(y=drawn).view(64, 4),
        nce.log_density(batch),
        nce.log_density(drawn).view(64, 4),
        torch.tensor(2.0),
    )
    assert torch.allclose(mine, values["NCE"].loss)
    again = seeded(2)
    steps = torch.stack([torch.randn(64, 3, generator=again) for _ in range(2)])
    mine = contrastive_divergence(lambda y: model(y=y), batch, steps, 0.1)
    assert torch.allclose(mine, values["contrastive divergence"].loss)
    mine = denoising_loss(lambda y: model(y=y), batch, torch.randn(64, 3, generator=seeded(3)), sigma)
    assert torch.allclose(mine, values["denoising score matching"].loss)
    print("The library and your functions agree.")

# %% [markdown]
# ## 7 · Collapse
#
# ### Real data: digits, with and without the push up
#
# $E(y) = |y - G(y)|^2$ for scanned digits, $G(y) = y + \text{a small network}$: nothing keeps this network from being 0,
# so it can have $E = 0$ everywhere. First it is trained by pushing down only, $\langle E\rangle_\text{data}$. Then the same
# network goes on with its fix, the corruption (C3): it sees digits with noise of $\sigma = 0.4$ and is to say what they
# were. The meter is the collapse report of chapter 04, in nats, $p\propto e^{-E/2\sigma^2}$.


# %%
class Restore(torch.nn.Module):
    """G(y) = y + net(y)."""

    def __init__(self):
        super().__init__()
        self.net = mlp(64, 128, 64, generator=seeded())

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return y + self.net(y)


train, test = (digits(split).images.flatten(1) for split in ("train", "test"))
sigma, reports, shown = 0.4, {}, {}
spoilt = Spoil(sigma)(test, seeded(5))
shuffled = torch.stack([test[torch.randperm(360, generator=seeded(j)), j] for j in range(64)], 1)
model = AutoEncoder(Restore())
for name, loss in (("push down only", AverageEnergy()), ("denoising", Denoising(Spoil(sigma)))):
    adam = partial(torch.optim.Adam, lr=2e-3)
    fit(model, loss, train, optimizer=adam, steps=450, batch_size=128, generator=seeded(), progress=False)
    meter = partial(collapse_report, corruption=Spoil(sigma), beta=0.5 / sigma**2, generator=seeded())
    reports[name] = meter(model, test)
    with torch.no_grad():
        energies = [0.5 / sigma**2 * model(y=points) for points in (test, shuffled, spoilt)]
        shown[name] = energies, model.network(spoilt)
    print(f"{name}\n{reports[name]}\n")
assert reports["push down only"].verdict == "flat energy"
assert reports["denoising"].verdict == "alive" and reports["denoising"].likely_volume < 0.5

# %%
with style():
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True)
    for ax, (name, (energies, _)) in zip(axes, shown.items(), strict=True):
        labels = ("digits", "shuffled pixels", "digits with noise")
        bins = torch.linspace(0, 40, 81).tolist()
        for values, label in zip(energies, labels, strict=True):
            ax.hist(values.clamp(max=39.9).tolist(), bins, alpha=0.7, label=label)
        ax.set(title=f"{name}: {reports[name].verdict}", xlabel=r"energy $E/2\sigma^2$ (nats)")
    axes[0].set_ylabel("images")
    axes[1].legend()
    plt.show()
    figure, rows = plt.subplots(4, 1, figsize=(9, 4))
    strips = {
        "digits that the network has not seen": test,
        "with noise": spoilt,
        "mapped back, after pushing down only": shown["push down only"][1],
        "mapped back, after denoising": shown["denoising"][1],
    }
    for ax, (name, images) in zip(rows, strips.items(), strict=True):
        strip = torch.nn.functional.pad(images[:14].view(14, 8, 8), (1, 0), value=1.0)
        ax.imshow(strip.transpose(0, 1).flatten(1)[:, 1:], vmin=0, vmax=1)
        ax.set_title(name)
        ax.axis("off")
    plt.show()
errors = {name: (back - test).square().sum(1).mean() for name, (_, back) in shown.items()}
print({name: round(error.item(), 2) for name, error in errors.items()})
assert errors["denoising"] < 0.5 * errors["push down only"]

# %% [markdown]
# After pushing down only, the network copies whatever it sees: noise stays noise, and nothing costs anything. Look at the
# report again, though. Its AUROC is near 1: **digits still have the lowest energy, by a hair.** Order is not height: a
# few hundredths of a nat change no probability. With the fix, shuffled pixels and noise stand out by nats, and the map leads
# back to digits.
#
# Now compare with your guesses: $\frac12\log 2\pi = 0.919$, which is $\log Z$; nothing happens to the second valley; 20,
# and in 128 dimensions 12 million.

# %% [markdown]
# ## 8 · Further
#
# - LeCun, Chopra, Hadsell, Ranzato, Huang (2006), *A Tutorial on Energy-Based Learning*, sections 2.2 and 5: which losses
#   push up, and which can collapse.
# - Gutmann, Hyvärinen (2012), *Noise-Contrastive Estimation of Unnormalized Statistical Models*: the loss, and its error
#   (theorem 3).
# - Hinton (2002), *Training Products of Experts by Minimizing Contrastive Divergence*; Tieleman (2008) for chains that go
#   on.
# - Hyvärinen (2005), *Estimation of Non-Normalized Statistical Models by Score Matching*, theorem 1; Vincent (2011), *A
#   Connection Between Score Matching and Denoising Autoencoders*, section 4; Alain, Bengio (2014), *What Regularized
#   Auto-Encoders Learn from the Data-Generating Distribution*, theorem 2: where C3 maps to.
# - In the library: everything in `ebm.contrastive`.
# - Next: chapter 06, regularized learning, which needs no point to push up.
