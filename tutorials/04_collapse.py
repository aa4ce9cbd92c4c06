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
# # 04 · Collapse
#
# An energy must be low on the data **and nowhere else**. A loss that asks for the first alone is often best served by an
# energy that is low everywhere.
#
# **You will be able to**
# - name four architectures, say which of them can collapse and why, and what keeps each from it;
# - measure a collapse: likely volume, energy gap, effective rank;
# - keep three failures apart: the manifold collapses, the energy is flat, the latent carries everything.
#
# **You need** chapters 01 and 03, a little linear algebra. **It takes** 60 minutes.

# %%
import math
from functools import partial

import matplotlib.pyplot as plt
import torch
from checks import ch04
from torch import nn

from ebm import marginal_over
from ebm.contrastive import AutoEncoder
from ebm.course import check
from ebm.data import digits
from ebm.joint import OnCodes, SquaredDistance, StopGradient, VICReg
from ebm.loss import AverageEnergy
from ebm.measure import auroc, code_report, model_report, rankme
from ebm.measure.collapse import collapse_report
from ebm.measure.off_data import in_box, shuffled
from ebm.nets import mlp
from ebm.nodes import Finite
from ebm.regularized import LatentPredictor, NoisyAutoEncoder, SparseCoding, WithLatent
from ebm.show import landscape, style
from ebm.show.explorers import TrainingExplorer, explore
from ebm.show.style import BLUE, GREEN, ORANGE, VERMILION
from ebm.targets import Ellipse, ellipse_data
from ebm.train import fit

SEED = 0
torch.set_default_dtype(torch.float64)


def generator(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## 1 · Predict
#
# Let x be what is seen, y what goes with it. Four ways to make an energy of networks f, g, h:
#
# | architecture | energy |
# |---|---|
# | predictor | $E = \lvert y - g(x)\rvert^2$ |
# | latent variable (a generative model) | $F = \min_z \lvert y - g(x, z)\rvert^2$ |
# | auto-encoder | $E = \lvert v - g(f(v))\rvert^2$, with $v = (x, y)$ |
# | joint embedding | $E = \lvert f(x) - h(y)\rvert^2$ |
#
# Each is trained by lowering its mean energy on the data, and by nothing else.
#
# 1. Which of the four can bring the energy to 0 **everywhere**?
# 2. While a joint embedding trains, its loss falls from 1 to 0.0001. Good news?
# 3. An auto-encoder of scanned digits (64 pixels) keeps k numbers of each. For which k does its energy tell digits from
#    scrambled ones best: 1, 20, or 64?

# %%
my_guesses = {"which can be 0 everywhere": None, "loss 0.0001": None, "best k": None}

# %% [markdown]
# ## 2 · Play
#
# Left: the energy of an auto-encoder of points of the plane, dark where it is low; it trains while you watch. Middle: how
# much more energy points anywhere in the box have than data (in nats, the exponent of a probability). Right: the share of
# the box that the energy finds likely.
#
# 1. **Play with "push down only", for 200 steps.** The energy of the data goes to 0: success? Watch middle and right.
# 2. **Switch the loss to "contrastive"** while it trains: points of noise are pushed up now. How fast does it recover from
#    a complete collapse? Then go back to "push down only".
# 3. **Choose "regularized", with noise s = 1 in the code, and let it recover; then slide s to 0.** Nothing else changes.
#    What happens, and how fast?
#
# Where widgets don't run you see one picture: set the state from Python and look again, e.g.
# `training.set("loss", "contrastive")`, then `training.tick()` some times (10 steps each), then `explore(training)`.

# %%
training = TrainingExplorer("two moons")
for _ in range(3):  # the first 30 steps
    training.tick()
explore(training)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# (Your numbers may differ a little: other steps, another machine.)
#
# 1. After 200 steps the data have less than 0.01 nats, points anywhere have 0.2 more, and 96 % of the box is likely: the
#    picture is dark all over. The energy is flat. The training curve alone would have said: perfect.
# 2. A gap of 5 nats after 100 steps, and of more than 8 after 300, with a fourth of the box likely. Back at pushing down,
#    300 steps leave 0.2 nats, with 95 % likely: flat again.
# 3. A gap of 3 to 4 nats, somewhat less than 60 % likely. With s at 0 the data go on to lower energy and the dark spreads:
#    400 steps later the gap is about half a nat and some 90 % is likely. What looked like a nuisance was the one thing
#    that held the rest up.
# </details>

# %% [markdown]
# ## 3 · Derive
#
# **The meter.** How much of a box can an energy find likely? With $p \propto e^{-E/T}$ on a box of volume V and H the
# entropy of p, the **likely volume** is $e^H / V$: 1 for a flat energy. On n points that lie uniformly in the box, with
# $w_i = e^{-E_i/T}/\sum_j e^{-E_j/T}$, it is $\frac1n e^{-\sum_i w_i\log w_i}$. For a Gaussian well of width σ in two
# dimensions it must be $2\pi e\,\sigma^2/V$:

# %%
points = 10 * torch.rand(20000, 2, generator=generator()) - 5  # V = 100


def likely(energies: torch.Tensor, T: float) -> float:
    w = (-energies / T).softmax(0)
    return (torch.exp(torch.special.entr(w).sum()) / len(w)).item()


print(f"flat: {likely(torch.zeros(20000), 1.0):.3f}")
sigma = 0.6
found, expected = likely(points.square().sum(1) / (2 * sigma**2), 1.0), 2 * math.pi * math.e * sigma**2 / 100
print(f"well: {found:.4f}, exact {expected:.4f}")
assert abs(found - expected) < 0.005

# %% [markdown]
# **A predictor cannot collapse.** For each x, $E = |y - g(x)|^2$ is one bowl, and no weight of g makes it wider. In one
# dimension the bowl's likely volume is that of a Gaussian with variance T/2, whatever g is:
#
# $$\frac{e^H}{V} \le \frac{\sqrt{\pi e\,T}}{\text{height of the box}}.$$
#
# **K answers: at most K bowls.** $F = \min_z |y - g(x,z)|^2$ with K values of z can find K times as much likely, and no
# more. A z from a continuum has no such limit: if every y is some g(x, z), then F = 0 everywhere.

# %%
T, height = 0.05, 2.2
one_bowl = math.sqrt(math.pi * math.e * T) / height
xs, ys = torch.linspace(-1.5, 1.5, 61).unsqueeze(1), torch.linspace(-1.1, 1.1, 221)
for K in (1, 2, 3, 40):
    found = []
    for seed in range(5):
        g = mlp(1, 32, K, generator=generator(seed))
        answers = 0.6 * (g(xs) - g(xs).mean()).detach() / g(xs).std()  # (61, K)
        found.append(likely((ys - answers.unsqueeze(2)).square().amin(1).flatten(), T))
    print(f"K = {K:2d}, random networks: {[round(v, 2) for v in found]}, bound {min(1.0, K * one_bowl):.2f}")
    assert max(found) <= min(1.0, K * one_bowl) + 0.01

# %% [markdown]
# **An auto-encoder collapses to the identity.** Take a linear one that keeps k of D directions, with P the projection on
# them: $E(y) = |y - Py|^2$. It is best on the data if it keeps the principal directions; then its mean energy is the sum
# of the other variances $\lambda_{k+1} + \dots + \lambda_D$. It falls with every k, to 0 at k = D, where $P = I$ and every
# point has energy 0. **The bottleneck is the limit**, and the loss alone would always have it wider.

# %%
scales = torch.tensor([2.0, 1.0, 0.5, 0.2, 0.1])
cloud = scales * torch.randn(2000, 5, generator=generator())
variances, directions = torch.linalg.eigh(cloud.T.cov(correction=0))
centered, box = cloud - cloud.mean(0), in_box(cloud, 2000, generator()) - cloud.mean(0)
for k in range(6):
    kept = directions[:, 5 - k :]
    off_data, on_data = ((v - v @ kept @ kept.T).square().sum(1).mean() for v in (box, centered))
    print(f"k = {k}: mean energy of the data {on_data:7.4f}, anywhere in the box {off_data:7.4f}")
    assert torch.isclose(on_data, variances[: 5 - k].sum())
assert off_data < 1e-20

# %% [markdown]
# **A joint embedding collapses to a constant**, direction by direction. Let x and y be two noisy views of one thing, and
# $f(x) = Wx$, $h(y) = Wy$. With $C = \langle (x-y)(x-y)^\top\rangle$ the loss is $\langle|W(x-y)|^2\rangle = \text{tr}\,
# W C W^\top$, and a step of gradient descent is
#
# $$W \leftarrow W - 2\varepsilon\, W C\quad\Rightarrow\quad W_n = W_0\,(I - 2\varepsilon C)^n.$$
#
# Directions in which the views differ most die first: the codes keep fewer and fewer directions (**dimensional
# collapse**), and at last none (**complete collapse**). Nothing in the loss objects.

# %%
thing = torch.randn(1000, 4, generator=generator())
blur = torch.tensor([0.1, 0.2, 0.4, 0.8])
x = thing + blur * torch.randn(1000, 4, generator=generator(1))
y = thing + blur * torch.randn(1000, 4, generator=generator(2))
C = (x - y).T @ (x - y) / 1000
W0 = torch.randn(4, 4, generator=generator(3))
W, eps = W0.clone(), 0.1
for step in range(801):
    if step in (0, 5, 20, 100, 800):
        code = x @ W.T
        print(f"step {step:3d}: loss {((x - y) @ W.T).square().sum(1).mean():.6f}, effective rank "
              f"{rankme(code, centered=True):.2f}, standard deviation {code.std(0).mean():.4f}")  # fmt: skip
    W = W - 2 * eps * W @ C
assert torch.allclose(W, W0 @ torch.matrix_power(torch.eye(4) - 2 * eps * C, 801))
assert rankme(x @ W.T, centered=True) < 1.1

# %% [markdown]
# **A stopped gradient alone is no cure.** Let no gradient pass through the target: the loss is $|Wx - \text{sg}(Wy)|^2$,
# its slope $2\langle W(x-y)\,x^\top\rangle$. Average over both roles of x and y: that is $W C$, **half the slope above**,
# so W dies half as fast. (In BYOL and SimSiam it is the predictor on one side, together with the stopped gradient, that
# changes where the dynamics go: chapter 07.)

# %%
both_roles = ((x - y).T @ x + (y - x).T @ y) / 1000
print(f"largest difference from ½ · 2 C: {(both_roles - C).abs().max():.1e}")
assert torch.allclose(both_roles, C)

# %% [markdown]
# ## 4 · Implement
#
# ### Exercise 1: the likely volume
# `likely_volume(energies, beta)`: $\frac1n\exp(-\sum_i w_i \log w_i)$ with $w_i \propto e^{-\beta E_i}$, for the energies
# (n,) of n uniform points; a number between 1/n and 1. It must survive energies of 1,000 and more.
#
# <details><summary>Hint 1</summary>torch.log_softmax(-beta * energies, 0) gives all log w_i, safely.</details>
# <details><summary>Hint 2</summary>With log_w: the entropy is -(log_w.exp() * log_w).sum(). Then exp, and divide by n.</details>


# %% tags=["exercise", "likely_volume"]
def likely_volume(energies: torch.Tensor, beta: float) -> torch.Tensor:
    raise NotImplementedError("Exercise 1: return exp(entropy of w) / n")


# %% [markdown]
# ### Exercise 2: the effective rank
# `effective_rank(z)`: into how many directions do the codes z (N, D) really spread? With $\sigma_k$ the singular values of
# the codes **minus their mean** and $p_k = \sigma_k/\sum_j\sigma_j$, it is $\exp(-\sum_k p_k\log p_k)$. (RankMe, centered.)
# A direction with $\sigma_k = 0$ must count nothing.
#
# <details><summary>Hint 1</summary>torch.linalg.svdvals(z - z.mean(0)) are the singular values.</details>
# <details><summary>Hint 2</summary>torch.special.entr(p) is -p log p, and 0 where p is 0.</details>


# %% tags=["exercise", "effective_rank"]
def effective_rank(z: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 2: return exp of the entropy of the singular values' shares")


# %% [markdown]
# ### Exercise 3: learning from a target that stands still
# `joint_slope(W, x, y)`: the derivative with respect to W, (K, D), of the mean over rows of $|Wx - \text{sg}(Wy)|^2$,
# where sg means that Wy is held (a target), **without autograd**; x and y are (B, D).
#
# <details><summary>Hint 1</summary>The code of a row of x is x @ W.T; let d be code minus target, (B, K).</details>
# <details><summary>Hint 2</summary>W occurs in the code alone: for each row the slope is 2 d xᵀ. Then the mean: d.T @ x
# sums over rows.</details>


# %% tags=["exercise", "joint_slope"]
def joint_slope(W: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 3: return the slope of the mean of |Wx - sg(Wy)|², (K, D)")


# %% [markdown]
# ## 5 · Check

# %%
score = check(ch04.CHECKS, globals())

# %% [markdown]
# ## 6 · The same with the library
#
# `collapse_report(energy, data)` holds the energy of data against three sets of points that are not data, and gives a
# verdict; `rankme` measures codes; `StopGradient` is a target that stands still.

# %%
ellipse, ring = Ellipse(), ellipse_data(500, generator=generator())
free = marginal_over(ellipse, "z", 20.0, by=Finite(ellipse.angles()))
report = collapse_report(free, ring, beta=4.0, points=20000, generator=generator())
print(report)
linear = nn.Linear(4, 3, bias=False)
pair = SquaredDistance().compose(s_x=(linear, "x"), s_y=(StopGradient(linear), "y"))
AverageEnergy()(pair, x=x, y=y).loss.backward()
if score.passed:
    mine = likely_volume(free(y=in_box(ring, 20000, generator(1))), 4.0)
    assert abs(mine - report.likely_volume) < 0.01  # other points of the same box
    assert abs(effective_rank(x) - rankme(x, centered=True)) < 1e-4
    assert torch.allclose(joint_slope(linear.weight.detach(), x, y), linear.weight.grad)
    print("The library and your functions agree.")

# %% [markdown]
# ## 7 · Collapse
#
# Now the four architectures, trained. x is uniform, and y lies on one of **two** branches: to one x belong two good y. At
# first the energy of the data is pushed down, and that is all. Energies count in units of T = 0.05.

# %%
g = generator()
x = 3 * torch.rand(1000, 1, generator=g) - 1.5
branch = 2 * torch.randint(2, (1000, 1), generator=g) - 1
y = branch * (0.7 + 0.3 * torch.sin(2 * x)) + 0.03 * torch.randn(1000, 1, generator=g)
BETA, push_down = 20.0, AverageEnergy()


class Join(nn.Module):
    def forward(self, x, y):
        return torch.cat([x, y], 1)


def net(inputs: int, outputs: int, seed: int = 1) -> nn.Module:
    return mlp(inputs, 32, 32, outputs, generator=generator(seed))


def trained(energy, loss):
    adam = partial(torch.optim.Adam, lr=4e-3)
    settings = {"steps": 300, "batch_size": 128, "generator": generator(2), "progress": False}
    fit(energy, loss, {"x": x, "y": y}, optimizer=adam, **settings)
    return energy.requires_grad_(False)


def latent(values, beta=None):
    model = LatentPredictor(WithLatent(net(1 + values.shape[1], 1), (1,)), values, noise=0.5**0.5)
    trained(model.free_energy if beta is None else model.soft_free_energy(beta), push_down)
    return model.free_energy


def auto_encoder(noise):
    model = NoisyAutoEncoder(net(2, 8), net(8, 2, seed=3), size=8, noise=noise)
    return trained(model.free_energy.compose(y=(Join(), "x", "y")), push_down)


def embedding(f, h, loss):
    return trained(SquaredDistance().compose(s_x=(f, "x"), s_y=(h, "y")), loss)


def slightly_spoiled(y, generator):
    return y + 0.2 * torch.randn(y.shape, generator=generator)


def measured(energy):
    return collapse_report(
        energy, y, given={"x": x}, beta=BETA, corruption=slightly_spoiled, generator=generator(4)
    )


def shown(energies):
    reports = {name: measured(energy) for name, energy in energies.items()}
    with style():
        figure, panels = plt.subplots(1, len(energies), figsize=(2.3 * len(energies) + 0.8, 3.1), sharey=True)
        for ax, (name, energy) in zip(panels, energies.items(), strict=True):
            landscape(
                energy,
                ("x", "y"),
                ax,
                (-1.5, 1.5, -1.3, 1.3),
                resolution=81,
                ceiling=0.2,
                levels=21,
                colorbar=False,
            )
            ax.plot(x[:200], y[:200], ".", color=ORANGE, markersize=2)
            ax.set(
                title=name,
                xlabel=f"x\nlikely: {100 * reports[name].likely_volume:.0f} % of the box",
                ylabel="",
            )
        panels[0].set_ylabel("y")
        figure.colorbar(panels[0].collections[0], ax=panels, label="energy", ticks=[0, 0.1, 0.2])
        plt.show()
    print(f"{'':22} energy of data  gap in the box (nats)  likely   verdict")
    for name, found in reports.items():
        gap = BETA * found.off_data["uniform in the box"].gap
        print(
            f"{name:22} {found.mean:14.5f} {gap:22.2f} {100 * found.likely_volume:6.0f} %   {found.verdict}"
        )
    return reports


many = torch.linspace(-8, 8, 40).unsqueeze(1)  # z a number, in 40 values
pushed = shown({
    "predictor": embedding(net(1, 1), nn.Identity(), push_down),  # |g(x) - y|²
    "latent variable": latent(many),
    "auto-encoder": auto_encoder(0.0),
    "joint embedding": embedding(net(1, 2), net(1, 2, seed=3), push_down),
})  # fmt: skip

# %%
assert all(pushed[name].likely_volume > 0.95 for name in pushed if name != "predictor")
assert all(pushed[name].mean < 0.01 for name in pushed if name != "predictor")
assert pushed["predictor"].likely_volume < 0.4 and pushed["predictor"].verdict == "upside down"

# %% [markdown]
# Three have brought the energy of the data to nearly nothing, and that of everything else with it. Only the predictor has
# not: it cannot. But look where its low energy is: **between** the branches, on the average of two good answers, which is
# a bad one. It cannot collapse, and it cannot say "either, or".
#
# Put a limit back, of another kind for each: two values of z; noise on the code; codes that must vary and not repeat each
# other (VICReg, chapter 07).

# %%
limited = shown({
    "latent, two values": latent(torch.eye(2), beta=20.0),
    "auto-encoder, noise": auto_encoder(1.0),
    "embedding, VICReg": embedding(net(1, 2), net(1, 2, seed=3), OnCodes(VICReg(), "s_x", "s_y")),
})  # fmt: skip
assert all(found.likely_volume < 0.65 and found.verdict == "alive" for found in limited.values())

# %% [markdown]
# The energies of the data have *risen*, and the energies are good for something. **Never judge by the energy of the data
# alone: ask for the gap.** (Ask in nats, too. AUROC, which only looks at the order of energies, gives the flat joint
# embedding a good grade: its ripples of a thousandth of a nat happen to be in the right order.)

# %%
for name, found in {**pushed, **limited}.items():
    print(
        f"{name:22} AUROC {found.off_data['uniform in the box'].auroc:.2f}, spread over the box {found.spread:8.3f} nats"
    )
flat = pushed["joint embedding"]
assert flat.off_data["uniform in the box"].auroc > 0.8 and flat.spread < 0.1

# %% [markdown]
# ### Three failures, kept apart
#
# All three on the ellipse of chapter 01:
#
# - **the manifold collapses**: its own energy, trained at β = 0.2. The energy is not flat: it is a bowl, around the wrong
#   place;
# - **the energy is flat**: an auto-encoder without a limit;
# - **the latent carries everything**: $E(y, z) = |y - z|^2$ plus a price on z that is next to nothing. F is flat as well.
#   But E is not: z* says all there is to say of y. The meter is **what another row's z costs**.

# %%
manifold = Ellipse((1.5, 1.2))
soft = marginal_over(manifold, "z", 0.2, by=Finite(manifold.angles()))
optimizer = torch.optim.LBFGS(manifold.parameters(), max_iter=100, line_search_fn="strong_wolfe")


def loss():
    optimizer.zero_grad()
    value = soft(y=ring).mean()
    value.backward()
    return value


optimizer.step(loss)
wide = AutoEncoder(nn.Sequential(net(2, 8), net(8, 2, seed=3)))
adam = partial(torch.optim.Adam, lr=4e-3)
fit(wide, push_down, ring, optimizer=adam, steps=250, batch_size=128, generator=generator(), progress=False)
rich = SparseCoding(torch.eye(2), 1e-3)
failures = {"manifold collapses": soft, "energy is flat": wide, "latent carries everything": rich.free_energy}
with style():
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.1), sharey=True)
    for ax, (name, energy) in zip(panels, failures.items(), strict=True):
        landscape(energy, "y", ax, (-3, 3, -2.5, 2.5), resolution=81, ceiling=4.0, levels=21, colorbar=False)
        ax.plot(ring[:150, 0], ring[:150, 1], ".", color=ORANGE, markersize=2)
        ax.set(title=name, xlabel="y₁", ylabel="", aspect="equal")
    panels[0].set_ylabel("y₂")
    figure.colorbar(panels[0].collections[0], ax=panels, label="energy", ticks=[0, 2, 4])
    plt.show()

# %%
spreads = {}
for name, energy in failures.items():
    found = collapse_report(energy, ring, beta=4.0, corruption=slightly_spoiled, generator=generator(5))
    spreads[name] = found.spread
    print(
        f"{name:27} spread over the box {found.spread:7.3f} nats, likely {100 * found.likely_volume:4.0f} %, {found.verdict}"
    )
print(f"the ellipse's weights: {manifold.weights.detach().abs().max():.4f}")
latent_report = model_report(rich, ring, beta=4.0, generator=generator(5))
print(f"another row's z costs {latent_report.gap:.1f} nats; {latent_report.verdict}")
assert spreads["manifold collapses"] > 3 and manifold.weights.abs().max() < 0.01
assert spreads["energy is flat"] < 1 and spreads["latent carries everything"] < 0.1
assert latent_report.verdict == "latent carries everything" and latent_report.gap > 5

# %% [markdown]
# ### Real data: how wide may the bottleneck be?
#
# The linear auto-encoder of part 3, on scanned digits. "Scrambled" are the same scans, each pixel from another scan: every
# pixel has its own right distribution, and what ties them together is lost.

# %%
train, test = digits("train"), digits("test")
images, held_out = train.images.flatten(1), test.images.flatten(1)
middle = images.mean(0)
directions = torch.linalg.svd(images - middle, full_matrices=False).Vh  # (64, 64)
scrambled = shuffled(held_out, 360, generator())


def reconstruction(v: torch.Tensor, k: int) -> torch.Tensor:
    off = v - middle
    return (off - off @ directions[:k].T @ directions[:k]).square().sum(1)


widths = range(0, 65, 2)
on = torch.stack([reconstruction(held_out, k).mean() for k in widths])
off = torch.stack([reconstruction(scrambled, k).mean() for k in widths])
grades = [auroc(reconstruction(held_out, k), reconstruction(scrambled, k)) for k in widths[:25]]
with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), sharex=True)
    left.plot(widths, on, color=ORANGE, label="digits, held out")
    left.plot(widths, off, color=VERMILION, label="scrambled digits")
    left.plot(widths, off - on, color=GREEN, linestyle="--", label="gap")
    left.set(
        title="The energy falls; the gap rises and falls", xlabel="numbers kept, k", ylabel="mean energy"
    )
    left.legend()
    right.plot(widths[:25], grades, color=BLUE)
    right.set(title="Digits told from scrambled ones", xlabel="numbers kept, k", ylabel="AUROC")
    plt.show()
best = widths[int((off - on).argmax())]
print(f"largest gap at k = {best}; best AUROC {max(grades):.3f} at k = {widths[grades.index(max(grades))]}")
assert 4 <= best <= 20 and off[-1] < 1e-12 and (on[1:] <= on[:-1] + 1e-12).all()

# %% [markdown]
# At k = 64 it copies whatever it is shown. The energy of the digits, alone, has no idea: it falls all the way.
#
# Last, a joint embedding of the two halves: x is the left half of a scan, y the right half, 16 numbers each.

# %%
left_half, right_half = ({"train": train.images[..., part].flatten(1), "test": test.images[..., part].flatten(1)}
                         for part in (slice(0, 4), slice(4, 8)))  # fmt: skip
for name, criterion in {
    "push down only": push_down,
    "VICReg": OnCodes(VICReg(covariance=10.0), "s_x", "s_y"),
}.items():
    f, h = (mlp(32, 64, 16, generator=generator(seed)) for seed in (1, 2))
    halves = SquaredDistance().compose(s_x=(f, "x"), s_y=(h, "y"))
    adam = partial(torch.optim.Adam, lr=5e-3)
    settings = {"steps": 200, "batch_size": 256, "generator": generator(), "progress": False}
    fit(halves, criterion, {"x": left_half["train"], "y": right_half["train"]}, optimizer=adam, **settings)
    halves.requires_grad_(False)
    own = halves(x=left_half["test"], y=right_half["test"])
    wrong = halves(x=left_half["test"], y=right_half["test"].roll(7, 0))
    codes = code_report(f(left_half["test"]), scale=4.0)  # 16 numbers with variance 1 are about 4 long
    print(f"{name:15} energy of pairs {own.mean():8.4f}, of wrong pairs {wrong.mean():8.4f}, AUROC {auroc(own, wrong):.2f}; "
          f"codes: standard deviation {codes.std:.4f}, RankMe {rankme(f(left_half['test']), centered=True):4.1f}, {codes.verdict}")  # fmt: skip
    assert codes.verdict == ("complete collapse" if name == "push down only" else "alive")
assert auroc(own, wrong) > 0.8

# %% [markdown]
# Pushed down, pairs have an energy below 0.001, and so have wrong pairs; with VICReg it is more than a thousand times as
# high, and that of wrong pairs four times higher still. Note what the **rank** says of the collapsed codes: it is nearly
# full. Rank looks at proportions, and codes that have shrunk to nothing can still differ in all directions. One meter is
# never enough.
#
# Now compare with your guesses: all but the predictor; you can't tell from it; about 20.

# %% [markdown]
# ## 8 · Further
#
# - LeCun (2022), *A Path Towards Autonomous Machine Intelligence*, section 4.3 and figure 9: the architectures, and which
#   can collapse.
# - LeCun, Chopra, Hadsell, Ranzato, Huang (2006), *A Tutorial on Energy-Based Learning*, section 2.2: losses that push
#   down on the data alone.
# - Jing, Vincent, LeCun, Tian (2022), *Understanding Dimensional Collapse in Contrastive Self-supervised Learning*.
# - Garrido, Balestriero, Najman, LeCun (2023), *RankMe*, equation 1.
# - Tian, Chen, Ganguli (2021), *Understanding Self-Supervised Learning Dynamics without Contrastive Pairs*: why a
#   predictor with a stopped gradient need not collapse.
# - Next: chapter 05, contrastive learning: push up where the data aren't.
