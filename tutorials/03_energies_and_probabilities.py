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
# # 03 · From energies to probabilities and back
#
# An energy ranks. A temperature turns the ranking into probabilities, and there the width of a valley counts as well
# as its depth.
#
# **You will be able to**
# - turn an energy into a probability and back, and say what temperature does to it;
# - draw from an energy by Langevin dynamics, say how far off the draws are, and remove the error by a test;
# - compute log Z on a grid, and between two bounds where no grid is possible;
# - recognize a chain that never left its valley, which by itself looks perfect.
#
# **You need** chapters 01 and 02, logarithms, Gaussians. **It takes** 60 minutes.

# %%
import math

import matplotlib.pyplot as plt
import torch
from checks import ch03

from ebm import sample
from ebm.course import check
from ebm.data import digits
from ebm.infer import HMC, MALA, Langevin, ParallelTempering, log_partition
from ebm.measure import ess, rhat
from ebm.nodes import Grid
from ebm.show import style
from ebm.show.explorers import SamplersExplorer, explore
from ebm.show.style import BLUE, GRAY, GREEN, VERMILION
from ebm.targets import Gaussian, Mixture

SEED = 0
torch.set_default_dtype(torch.float64)


def generator(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## 1 · Predict
#
# $p(y) \propto e^{-E(y)/T}$, with $T = 1/\beta$ the **temperature**.
#
# 1. Of two valleys the left one is deeper, by 1. The right one is ten times as wide. In which one is most of the
#    probability at $T = 1$? And at $T = 0.2$?
# 2. Langevin dynamics takes steps downhill and adds noise. On $E = \frac12y^2$ (variance 1) with steps of size 0.5, you
#    average over a billion draws. Is the variance that you find 1, a bit less, or a bit more?
# 3. Sixteen chains, 1,000 draws each, 90 % of all proposals accepted, all chains agree to two digits. May you trust the
#    mean that they agree on?

# %%
my_guesses = {"which valley": None, "variance of the draws": None, "sixteen chains agree": None}

# %% [markdown]
# ## 2 · Play
#
# Three samplers on one landscape, with equal work: 64 chains each. White dots are their draws, the line is the last
# stretch of one chain, orange dots are where the chains are now. Right: how wide the draws lie, divided by what is
# exact; dashed is right. The sentence below gives that number with its standard error.
#
# 1. **Let it play to the end, on the long Gaussian.** Which sampler is off? Then halve the step size ε, and again.
# 2. **Raise ε beyond 0.4.** What happens to Langevin, what to the share that MALA accepts?
# 3. **Choose "eight modes", ε = 0.05, temperature 0.2, and play.** Read the sentence: all is well. Look at the dots. Then
#    raise the temperature to 1.
#
# Where widgets don't run you see one picture: set the state from Python and look again, e.g.
# `samplers.set("step_size", 0.1)`, then `samplers.tick()` some times, then `explore(samplers)`.

# %%
samplers = SamplersExplorer("long Gaussian", step_size=0.25)
for _ in range(10):  # the first 400 gradients of each chain
    samplers.tick()
explore(samplers)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# 1. Langevin is too wide: by 15 % at ε = 0.25, by 5 % at 0.125 and 2 % at 0.0625 (part 3 says why), and no number of
#    draws cures it. MALA and HMC are right at each ε, as far as their errors tell. It takes small steps to be less
#    wrong, and small steps go nowhere: halving ε also halves what Langevin's draws are worth.
# 2. Langevin's chains fly off to infinity. MALA says no more often (40 % accepted at 0.5), and stays right. HMC, with
#    four long steps a proposal, is hardly ever accepted (2 % at 0.5): right in the end, but this run is too short for it.
# 3. All three say 1.00, with tiny errors, and more than nine draws in ten are from **one mode of eight**. A few chains
#    have come to a mode nearby, none to the far side. The meter asks how far draws are from the center, and all modes
#    are equally far: it is blind to this. At temperature 1 they travel.
# </details>

# %% [markdown]
# ## 3 · Derive
#
# **From energy to probability.** Of all distributions with a given mean energy, the one with the largest entropy is
#
# $$p(y) = \frac{e^{-\beta E(y)}}{Z},\qquad Z = \int e^{-\beta E(y)}\,dy,\qquad \beta = 1/T.$$
#
# Here are the two valleys, on a grid: $E = 50\,(y+1)^2$ on the left, $1 + \frac12 (y-3)^2$ on the right.

# %%
y = torch.linspace(-3.0, 13.0, 16001)
dy = y[1] - y[0]
E = torch.minimum(50 * (y + 1) ** 2, 1 + 0.5 * (y - 3) ** 2)
left = y < -0.5


def density(T: float) -> torch.Tensor:
    p = torch.exp(-(E - E.min()) / T)
    return p / (p.sum() * dy)


for T in (0.2, 1.0):
    print(f"T = {T}: {100 * (density(T)[left].sum() * dy):.1f} % of the probability is in the deep valley")
assert density(0.2)[left].sum() * dy > 0.9 and density(1.0)[left].sum() * dy < 0.25

# %% [markdown]
# **A valley has a free energy.** The share of a region A is $e^{-\beta F_A}/Z$, with $F_A = -T \log \int_A
# e^{-\beta E}$: chapter 01's $F_\beta$, with the position in the valley as the latent variable. For a valley of depth
# $E_A$ and curvature $k_A$ the integral is a Gaussian's:
#
# $$F_A = E_A - T \log\sqrt{2\pi T/k_A}.$$
#
# Depth counts fully, width counts times T. The two valleys are equally likely at $T_c = 2\,\Delta E / \log(k_A/k_B)$.

# %%
T_c = 2 * 1.0 / math.log(100 / 1)
share = (density(T_c)[left].sum() * dy).item()
print(f"T_c = {T_c:.4f}; there the deep valley has {100 * share:.2f} %")
assert abs(share - 0.5) < 0.005

# %%
temperatures = torch.logspace(-1.2, 0.5, 60).tolist()
shares = [(density(T)[left].sum() * dy).item() for T in temperatures]
theory = [
    1 / (1 + math.exp(-(1 - T * math.log(10)) / T)) for T in temperatures
]  # of F_A and F_B: log(10) = ½ log(100)
with style():
    figure, (ax, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=[1.4, 1])
    for T, color in ((0.2, BLUE), (T_c, GREEN), (1.0, VERMILION)):
        ax.plot(y, density(T), color=color, label=f"T = {T:.2f}")
    ax.plot(y, 0.25 * E, color=GRAY, linestyle="--", label="energy E(y) / 4")
    ax.set(xlim=(-2, 7), ylim=(0, 1.2), title="Cold: the deep valley. Warm: the wide one")
    ax.set(xlabel="y", ylabel="density p(y), cut at 1.2")
    ax.legend()
    right.semilogx(temperatures, shares, label="grid")
    right.semilogx(temperatures, theory, "k:", label="depth and curvature alone")
    right.set(title="Share of the deep valley", xlabel="temperature T", ylabel="share", ylim=(0, 1))
    right.legend()
    plt.show()

# %% [markdown]
# **Free energy is a trade** of energy against entropy: whatever q is,
#
# $$\langle E\rangle_q - T\,H(q) \;\ge\; F = -T\log Z,\qquad\text{with equality for } q = p.$$
#
# (The difference is $T$ times the Kullback-Leibler divergence of q from p. Chapter 06 trains by it.)

# %%
T = 0.5
F = E.min() - T * torch.log(torch.exp(-(E - E.min()) / T).sum() * dy)


def trade(q: torch.Tensor) -> torch.Tensor:
    return ((q * E).sum() + T * torch.xlogy(q, q).sum()) * dy  # <E> - T H


for center, width in ((-1.0, 0.1), (3.0, 0.7), (1.0, 2.0)):
    q = torch.exp(-0.5 * ((y - center) / width) ** 2)
    found = trade(q / (q.sum() * dy))
    print(f"q = N({center:4.1f}, {width}²): ⟨E⟩ - T H = {found:7.4f}  >=  F = {F:.4f}")
    assert found >= F
assert torch.isclose(trade(density(T)), F)

# %% [markdown]
# **And back.** $E(y) = -T\log p(y) - T \log Z$: a probability gives its energy up to a constant, and a constant changes
# neither which y is best nor p. What the constant hides is in log Z, whose slope is a mean energy:
#
# $$\frac{d \log Z}{d\beta} = -\langle E\rangle_p.$$
#
# So log Z can be collected on the way from hot to cold, from draws alone. (That is the idea of annealing, below.)

# %%
beta, step = 2.0, 1e-4
log_Z = [torch.log(torch.exp(-b * E).sum() * dy) for b in (beta - step, beta + step)]
slope, mean_energy = (log_Z[1] - log_Z[0]) / (2 * step), (density(1 / beta) * E).sum() * dy
print(f"d log Z / dβ = {slope:.6f};   -⟨E⟩ = {-mean_energy:.6f}")
assert abs(slope + mean_energy) < 1e-6

# %% [markdown]
# **Drawing: Langevin dynamics.** Walk downhill, and add just so much noise that you don't come to rest:
#
# $$y \leftarrow y - \varepsilon\nabla E(y) + \sqrt{2\varepsilon/\beta}\;\xi,\qquad \xi\sim N(0, I).$$
#
# On $E = y^2/2v$ a step is $y \leftarrow (1 - \varepsilon/v)\,y + \sqrt{2\varepsilon/\beta}\,\xi$, and the variance
# follows $V \leftarrow (1-\varepsilon/v)^2\,V + 2\varepsilon/\beta$, which comes to rest at
#
# $$V = \frac{v/\beta}{1 - \varepsilon/2v}\qquad\text{in place of } v/\beta.$$
#
# Too wide, by a factor that more draws don't change; infinite from $\varepsilon = 2v$ on.

# %%
v, eps, V = 1.0, 0.5, 0.0
for _ in range(100):
    V = (1 - eps / v) ** 2 * V + 2 * eps
print(f"variance after 100 steps: {V:.6f};   v / (1 - ε/2v) = {v / (1 - eps / (2 * v)):.6f}")
assert math.isclose(V, 4 / 3)
narrow, wide = torch.linalg.eigvalsh(torch.tensor([[2.0, 1.2], [1.2, 1.0]])).tolist()  # the long Gaussian
for eps in (0.25, 0.125, 0.0625):
    biased = sum(v / (1 - eps / (2 * v)) for v in (narrow, wide)) / 3
    print(f"part 2, ε = {eps}: spread over exact {biased:.3f}")

# %% [markdown]
# **A test makes it exact.** Take the Langevin step as a *proposal* from y to y', and accept it with probability
#
# $$\alpha = \min\Big(1,\ \frac{e^{-\beta E(y')}\,q(y\,|\,y')}{e^{-\beta E(y)}\,q(y'\,|\,y)}\Big),\qquad
# q(b\,|\,a) \propto e^{-\beta\,|b - a + \varepsilon\nabla E(a)|^2/4\varepsilon};$$
#
# else stay. Then as much probability flows from a to b as back (**detailed balance**), and p stays as it is. This is
# MALA. Without the two q it would be wrong: a step downhill is proposed more often than the way back.


# %%
def quartic(y: torch.Tensor) -> torch.Tensor:
    return y**4 / 4


def proposed(b: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return torch.exp(-((b - a + 0.3 * a**3) ** 2) / (4 * 0.3))  # q(b|a), ε = 0.3, β = 1


a, b = torch.randn(2, 6, generator=generator())
there, back = (torch.exp(-quartic(s)) * proposed(e, s) for s, e in ((a, b), (b, a)))
flow = there * (back / there).clamp(max=1), back * (there / back).clamp(max=1)
print("from a to b:", flow[0].numpy().round(4), "\nfrom b to a:", flow[1].numpy().round(4))
assert torch.allclose(*flow)
naive = [
    proposed(e, s) * torch.exp(-torch.maximum(quartic(s), quartic(e))) for s, e in ((a, b), (b, a))
]  # accepted by the energies alone
assert not torch.allclose(*naive, rtol=0.05)

# %% [markdown]
# **log Z without a grid.** A grid of 50 points a side has $50^{16} > 10^{27}$ points in 16 dimensions. Instead begin at
# an energy $E_0$ whose $Z_0$ you know (a wide Gaussian), go to $E$ through $E_b = (1-b) E_0 + b E$, and collect
#
# $$\log w = \sum_k (b_k - b_{k-1})\,\big(E_0(y_{k-1}) - E(y_{k-1})\big),\qquad \langle w\rangle = Z/Z_0,$$
#
# moving y by a few steps of MALA or HMC at each level: **annealed importance sampling**. As the logarithm is concave,
# $\langle\log w\rangle$ is too low; on the way back, from an exact draw of p, it is too high. The two close in as levels
# are added. With Gaussians in 10 dimensions (widths 2 and 1, so $\log Z/Z_0 = -10\log 2$) and exact draws at each level:

# %%
exact, g = -10 * math.log(2), generator()


def walk(levels: int, back: bool) -> float:
    b = torch.linspace(0, 1, levels + 1)
    total = torch.zeros(2000)
    for k in range(levels):
        at = b[k + 1] if back else b[k]
        precision = (1 - at) / 4 + at  # of the Gaussian at this level
        y2 = (torch.randn(2000, 10, generator=g) ** 2).sum(1) / precision
        total += (b[k + 1] - b[k]) * (y2 / 8 - y2 / 2)  # E_0 - E
    return total.mean().item()


for levels in (1, 10, 100):
    low, high = walk(levels, back=False), walk(levels, back=True)
    print(f"{levels:3d} levels: {low:7.3f}  <=  log Z/Z₀ = {exact:.3f}  <=  {high:7.3f}")
    assert low < exact < high

# %% [markdown]
# ## 4 · Implement
#
# ### Exercise 1: a step of Langevin dynamics
# `langevin_step(y, gradient, step_size, beta, noise)`: where chains go from `y` (B, D), with `gradient` = ∇E(y) (B, D) and
# `noise` = ξ (B, D).
#
# <details><summary>Hint 1</summary>Downhill, plus noise. β stands in one place only.</details>
# <details><summary>Hint 2</summary>The noise is multiplied by math.sqrt(2 * step_size / beta).</details>


# %% tags=["exercise", "langevin_step"]
def langevin_step(
    y: torch.Tensor, gradient: torch.Tensor, step_size: float, beta: float, noise: torch.Tensor
) -> torch.Tensor:
    raise NotImplementedError("Exercise 1: return y - ε ∇E + √(2ε/β) ξ, (B, D)")


# %% [markdown]
# ### Exercise 2: the test
# `accept_chance(energy, gradient, y, new, step_size, beta)`: the probability α with which MALA accepts a Langevin step
# from `y` to `new`, (B,), between 0 and 1. `energy(y)` is (B,), `gradient(y)` is (B, D).
#
# <details><summary>Hint 1</summary>Work with logarithms: log q(b|a) = -β |b - a + ε∇E(a)|² / 4ε, up to a constant that
# cancels.</details>
# <details><summary>Hint 2</summary>log ratio = β (E(y) - E(new)) + log q(y|new) - log q(new|y); then exp, and
# .clamp(max=1).</details>


# %% tags=["exercise", "accept_chance"]
def accept_chance(
    energy, gradient, y: torch.Tensor, new: torch.Tensor, step_size: float, beta: float
) -> torch.Tensor:
    raise NotImplementedError("Exercise 2: return min(1, p(new) q(y|new) / (p(y) q(new|y))), (B,)")


# %% [markdown]
# ### Exercise 3: log Z from points in a box
# `log_z(energies, volume, beta)`: an estimate of $\log\int e^{-\beta E(y)}\,dy$ over a box of that volume, from the
# energies (K,) of K points spread evenly over it. It must survive energies of 1,000 and more.
#
# <details><summary>Hint 1</summary>An integral is the volume times the mean of the values.</details>
# <details><summary>Hint 2</summary>torch.logsumexp adds without leaving logarithms; dividing by K is minus log K.</details>


# %% tags=["exercise", "log_z"]
def log_z(energies: torch.Tensor, volume: float, beta: float) -> torch.Tensor:
    raise NotImplementedError("Exercise 3: return log of volume times the mean of exp(-β E)")


# %% [markdown]
# ## 5 · Check

# %%
score = check(ch03.CHECKS, globals())

# %% [markdown]
# ## 6 · The same with the library
#
# `sample(energy, start, method, num_samples=...)` runs one chain a row. Two pits of a known energy (a mixture of two
# Gaussians, 80 % and 20 %, with log Z = 0), drawn from by both methods; log Z from a grid, and annealed.

# %%
pits = Mixture(torch.tensor([0.8, 0.2]), torch.tensor([[-3.0, 0.0], [3.0, 0.0]]), 0.25 * torch.eye(2))
start = torch.randn(500, 2, generator=generator())
one = sample(pits, start, Langevin(0.1), num_samples=1, beta=0.5, generator=generator(1)).value[0]
tested = sample(pits, start, MALA(0.1), num_samples=1, beta=0.5, generator=generator(1)).value[0]
grid = Grid([-7.0, -4.0], [7.0, 4.0], 80).nodes  # (6400, 2)
base = Gaussian(torch.zeros(2), torch.diag(torch.tensor([7.0, 0.3])))
annealed = log_partition(
    pits,
    base,
    MALA(0.1),
    betas=100,
    chains=400,
    exact=pits.exact_samples(400, generator()),
    generator=generator(),
)
print(annealed)
if score.passed:
    slopes = lambda y: pits.value_and_grad("y", y=y)[1]  # noqa: E731
    g = generator(1)
    xi, u = torch.randn(500, 2, generator=g), torch.rand(500, generator=g)
    new = langevin_step(start, slopes(start), 0.1, 0.5, xi)
    accept = u < accept_chance(lambda y: pits(y=y), slopes, start, new, 0.1, 0.5)
    assert torch.allclose(one, new) and torch.allclose(tested, torch.where(accept[:, None], new, start))
    print(f"on a grid: {log_z(pits(y=grid), 14.0 * 8.0, 1.0):.5f}; exact: {pits.log_z}")
    assert abs(log_z(pits(y=grid), 14.0 * 8.0, 1.0)) < 1e-4
    print("The library and your functions agree.")
assert annealed.lower < pits.log_z < annealed.upper

# %% [markdown]
# ## 7 · Collapse
#
# Nothing is learned here, so nothing collapses but the **sample**: chains that have seen one pit and report it as the
# world. Same two pits. The true share of the right one is 20 %, the true mean of y₁ is -1.8. Three ways to run 16 chains:
#
# - **from one pit**: all begin in the left pit, as they do when you start from "a good point";
# - **from everywhere**: each begins somewhere else;
# - **tempered**: each has three warmer companions, with which it changes places (the energies decide how likely).
#
# The meters: the share accepted; **ESS**, how many independent draws the draws are worth; and **R̂**, the spread over all
# chains divided by that within one, which is 1 where chains agree.

# %%
ladder = ParallelTempering(MALA(torch.tensor([0.12, 0.3, 0.8, 2.0])), [1.0, 0.4, 0.15, 0.06])
everywhere = 4 * torch.randn(16, 2, generator=generator(3))
ways = {
    "from one pit": (pits.means[:1].expand(16, 2), MALA(0.12)),
    "from everywhere": (everywhere, MALA(0.12)),
    "tempered": (everywhere, ladder),
}
runs, meters = {}, {}
for name, (begin, method) in ways.items():
    found = sample(pits, begin, method, num_samples=1000, burn_in=200, generator=generator(4))
    runs[name] = found.value[..., 0]  # y₁, (1000, 16)
    in_right = (found.value[..., 0] > 0).double()
    meters[name] = {
        "accepted": found.accepted.mean(),
        "ESS": ess(found.value).min(),
        "R-hat": rhat(found.value).max(),
        "share": in_right.mean(),
    }
    print(f"{name:16}", "  ".join(f"{key} {value:8.3f}" for key, value in meters[name].items()))
print(f"{'exact':16}", " " * 41, "share    0.200")

# %%
with style():
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True)
    for ax, (name, draws) in zip(panels, runs.items(), strict=True):
        ax.plot(draws[:, :8], linewidth=0.6)
        ax.axhline(0, color=GRAY, linestyle=":")
        found = meters[name]
        ax.set(
            title=f"{name}: R̂ = {found['R-hat']:.2f}\nright pit {100 * found['share']:.0f} % (exact: 20 %)"
        )
        ax.set(xlabel="draw")
    panels[0].set_ylabel("y₁ of eight chains")
    plt.show()
one_pit, spread, tempered = meters.values()
assert (
    one_pit["R-hat"] < 1.02 and one_pit["ESS"] > 1000 and one_pit["share"] == 0
)  # looks perfect, and is wrong
assert spread["R-hat"] > 1.5  # says so
assert tempered["R-hat"] < 1.05 and abs(tempered["share"] - 0.2) < 0.08

# %% [markdown]
# From one pit everything looks perfect, and the share is 0. R̂ compares chains, so it sees only what *different* chains
# have seen: **start them apart**. Then it cries out, but that is not yet a cure: the share from everywhere is that of
# your starting points, whatever the energies say. Companions that are warm enough to cross bring the true share.
#
# log Z falls into the same trap. Anneal from a base that covers the left pit alone:

# %%
lopsided = Gaussian(torch.tensor([-3.0, 0.0]), 0.5 * torch.eye(2))
exact_draws = pits.exact_samples(400, generator())
for covers, begin in (("both pits", base), ("the left pit alone", lopsided)):
    found = log_partition(
        pits, begin, MALA(0.1), betas=100, chains=400, exact=exact_draws, generator=generator()
    )
    print(f"base over {covers:18}: {found}")
print(f"log 0.8 = {math.log(0.8):.3f}: the log Z of what was seen")
assert abs(found.estimate - math.log(0.8)) < 0.05 and found.ess > 300 and found.upper - found.lower > 1.5

# %% [markdown]
# With the lopsided base the estimate is calm (its weights are nearly equal) and wrong; only the way back, from draws of
# the right pit, tells. No meter can tell of a pit that nothing has ever been to.
#
# ### Real data: sixteen numbers of a digit
#
# Take scanned digits, keep 16 numbers of each (their principal components), and give every class its Gaussian:
# $E(y) = -\log\sum_k w_k N(y; m_k, \Sigma_k)$, a landscape with ten valleys in 16 dimensions, with log Z = 0, and with
# exact shares to compare with. What does temperature do to a digit? And does a chain that begins at a 0 ever write
# another digit?

# %%
train = digits("train")
pixels, labels = train.images.flatten(1), train.labels
middle = pixels.mean(0)
axes = torch.linalg.svd(pixels - middle, full_matrices=False).Vh[:16]  # (16, 64)
codes = (pixels - middle) @ axes.T
means = torch.stack([codes[labels == k].mean(0) for k in range(10)])
covariances = torch.stack([codes[labels == k].T.cov() for k in range(10)]) + 0.02 * torch.eye(16)
valleys = Mixture(torch.bincount(labels).double() / len(labels), means, covariances)


def which(y: torch.Tensor) -> torch.Tensor:
    """The class whose Gaussian is the highest, for draws (..., 16)."""
    off = y.unsqueeze(-2) - means  # (..., 10, 16)
    heights = valleys.log_scales - 0.5 * torch.einsum("...kd,kde,...ke->...k", off, valleys.precisions, off)
    return heights.argmax(-1)


print(f"{100 * (which(codes) == labels).double().mean():.1f} % of the scans are in the valley of their class")
cold_to_hot = {}
for T in (0.1, 1.0, 6.0):
    found = sample(valleys, means[:1], HMC(0.15, 10), num_samples=300, beta=1 / T, generator=generator(7))
    cold_to_hot[T] = found.value[:, 0]
with style():
    figure, rows = plt.subplots(3, 1, figsize=(9, 3.4))
    for ax, (T, draws) in zip(rows, cold_to_hot.items(), strict=True):
        images = (middle + draws[19::20] @ axes).view(-1, 8, 8)
        strip = torch.nn.functional.pad(images, (1, 0), value=1.0)
        ax.imshow(strip.transpose(0, 1).flatten(1)[:, 1:], vmin=0, vmax=1)
        ax.set_title(f"T = {T:g}: every 20th draw of a chain that begins at the mean 0")
        ax.axis("off")
    plt.show()

# %%
zeros = means[:1].expand(20, 16)
steps = torch.tensor([0.15, 0.18, 0.21, 0.25, 0.3])
ways = {"HMC": HMC(0.15, 5), "tempered": ParallelTempering(HMC(steps, 5), [1.0, 0.6, 0.4, 0.25, 0.15])}
for name, method in ways.items():
    draws = sample(valleys, zeros, method, num_samples=200, generator=generator(5)).value  # (200, 20, 16)
    found = which(draws)
    ways[name] = ((found[100:] == 0).double().mean().item(), (found[1:] != found[:-1]).double().mean().item())
    print(f"{name:9} R̂ {rhat(draws[100:]).max():.2f}, zeros among the draws {100 * ways[name][0]:.0f} %, "
          f"another digit in {100 * ways[name][1]:.1f} % of steps")  # fmt: skip
print(f"exact: {100 * valleys.weights[0]:.0f} % zeros")
base = Gaussian(torch.zeros(16), 1.5 * codes.T.cov() + 0.02 * torch.eye(16))
log_z_digits = log_partition(
    valleys,
    base,
    HMC(0.15, 5),
    betas=50,
    chains=100,
    exact=valleys.exact_samples(100, generator()),
    generator=generator(),
)
print(f"log Z in 16 dimensions, exactly 0: {log_z_digits}")
assert ways["tempered"][1] > 2 * ways["HMC"][1] and ways["HMC"][0] > 2 * ways["tempered"][0]
assert log_z_digits.lower < 0 < log_z_digits.upper

# %% [markdown]
# Cold, the chain writes one and the same 0; at T = 1 it writes as the scans are written; hot, it scribbles. And the
# plain chains mostly write zeros still after 200 draws of 5 gradients, while the tempered ones have found the
# other digits. R̂ says of both that 200 draws are not enough, and the bounds of log Z say how far to trust its estimate.
#
# Now compare with your guesses: the wide valley at T = 1 and the deep one at T = 0.2; more (4/3); no.

# %% [markdown]
# ## 8 · Further
#
# - LeCun, Chopra, Hadsell, Ranzato, Huang (2006), *A Tutorial on Energy-Based Learning*, section 1.3: from energies to
#   probabilities, and why one may do without.
# - Roberts, Tweedie (1996), *Exponential convergence of Langevin distributions and their discrete approximations*: when
#   Langevin dynamics and MALA converge, and when not.
# - Neal (2011), *MCMC using Hamiltonian dynamics*: HMC, and how to set it.
# - Neal (2001), *Annealed importance sampling*; Grosse, Ghahramani, Adams (2015), *Sandwiching the marginal likelihood
#   using bidirectional Monte Carlo*: log Z between two bounds.
# - Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), *Rank-normalization, folding, and localization*: today's R̂ and
#   ESS.
# - Next: chapter 04, collapse.
