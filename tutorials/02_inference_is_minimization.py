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
# # 02 · Inference is minimization
#
# A network computes its answer in a fixed number of layers. An energy is asked, and the asking takes as long
# as it takes.
#
# **You will be able to**
# - answer a question by minimizing an energy over what is unknown, with what is known held fixed;
# - predict how many steps gradient descent takes from the condition number, and what momentum and Newton
#   change;
# - read a verdict: which test stopped the search, and what that does and does not prove;
# - solve a puzzle with an energy, and see that harder puzzles take more steps.
#
# **You need** chapter 01, eigenvalues, gradients. **It takes** 60 minutes.

# %%
import math

import matplotlib.pyplot as plt
import torch
from checks import ch02

from ebm import energy, minimize
from ebm.course import check
from ebm.data import digits
from ebm.infer import CEM, LBFGS, GradientDescent, Momentum, Newton, SpaRSA
from ebm.regularizers import Simplex
from ebm.show import style
from ebm.show.explorers import Landscape, Subject, explore, gallery
from ebm.targets import Rosenbrock

SEED = 0
torch.set_default_dtype(torch.float64)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


# %% [markdown]
# ## 1 · Predict
#
# 1. A bowl is 100 times as steep across as along, $E = \frac12(y_1^2 + 100\,y_2^2)$. With the best fixed step
#    size, how many steps does gradient descent need until the error is a thousandth: about 10, 40, 350 or
#    10,000?
# 2. The search says "converged". Is the answer a minimum?
# 3. A Sudoku with 21 empty fields and one with 55, solved by minimizing the same energy. How many times as
#    many steps does the second take: as many, 4 times as many, 100 times?

# %%
my_guesses = {"steps on the bowl": None, "converged means minimum": None, "Sudoku, times as many steps": None}

# %% [markdown]
# ## 2 · Play
#
# Left an energy, dark where it is low, with the path that a method takes from the start (drag it, or Tab to
# it and use the arrow keys). Right: how far above the lowest energy each step is, on a logarithmic scale.
# "Walk" goes along the path; the sentence below says how it ended.
#
# 1. **On the bowl, which is 10 times as steep across as along, slide the step size** from 0.05 up. Where is
#    the path shortest? Where does it leave for infinity? How does it look just before?
# 2. **Compare methods on the bowl, then on Rosenbrock's valley:** gradient descent, momentum 0.9, L-BFGS,
#    Newton. Count steps. (On the valley let gradient descent have its 0.003; "Armijo's step" finds its own.)
# 3. **Choose "observed x: near x and near a ring", with L-BFGS, and drag the observation** (the green handle)
#    slowly through the center. What does the answer do there?
#
# Where widgets don't run you see one picture: set the state from Python and look again, e.g.
# `landscape.set("step_size", 0.21); explore(landscape)`.


# %%
@energy
def bowl_of_ten(y):
    return 0.5 * (y[:, 0] ** 2 + 10 * y[:, 1] ** 2)


subjects = {"bowl, 10 times as steep across": Subject(bowl_of_ten, (-4, 4, -2.5, 2.5), start=(-3.5, 1.0))}
landscape = Landscape(subjects | gallery())
explore(landscape)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# 1. Shortest near 0.18, 77 steps; from 0.2 on it doesn't come down, at 0.21 it has left. Just before, it
#    jumps across the bowl from wall to wall: the steep direction is the trouble, the flat one hardly notices.
#    Part 3 says why.
# 2. Bowl: 77 at best, more than 120 (momentum 0.9 overshoots and swings: too much of it for so easy a bowl),
#    9, 1. Valley: gradient descent has hardly begun after 120 steps, momentum is far ahead of it here, L-BFGS
#    takes 34, Newton 16.
# 3. It jumps from one side of the ring to the other. With x in the center all points of the ring are equally
#    good: the question has no single answer, and the smallest change of x decides.
# </details>

# %% [markdown]
# ## 3 · Derive
#
# Near a minimum every smooth energy is a bowl, $E = \frac12 y^\top A y$ with curvatures $\lambda_1 \le \dots
# \le \lambda_D$, the eigenvalues of $A$. So take one.
#
# **A step multiplies.** Gradient descent is $y \leftarrow y - t A y$. Along the eigenvector of $\lambda_i$
# that is $y_i \leftarrow (1 - t\lambda_i)\, y_i$.

# %%
curvatures = torch.tensor([1.0, 100.0])
start, t = torch.tensor([3.0, 1.0]), 0.015
y = start.clone()
for _ in range(7):
    y = y - t * curvatures * y
print(
    f"after 7 steps: {y.numpy().round(5)};  "
    f"(1 - tλ)^7 times the start: {((1 - t * curvatures) ** 7 * start).numpy().round(5)}"
)
assert torch.allclose(y, (1 - t * curvatures) ** 7 * start)

# %% [markdown]
# **Too long a step explodes:** $|1 - t\lambda_D| < 1$ only for $t < 2/\lambda_D$. The steepest direction sets
# the step.

# %%
for t in (0.99 * 2 / 100, 1.01 * 2 / 100):
    print(f"t = {t:.4f}: the steep coordinate after 300 steps is {(1 - t * 100) ** 300:.1e}")
assert abs(1 - 0.99 * 2) < 1 < abs(1 - 1.01 * 2)

# %% [markdown]
# **The best step** makes the flattest and the steepest direction equally slow, $1 - t\lambda_1 = t\lambda_D -
# 1$:
#
# $$t = \frac{2}{\lambda_1+\lambda_D},\qquad \text{error} \leftarrow \frac{\kappa-1}{\kappa+1}\,\text{error},\qquad
# \kappa = \frac{\lambda_D}{\lambda_1}\ \text{ (the condition number)},$$
#
# which takes about $\frac{\kappa}{2}\ln\frac1\varepsilon$ steps to an error of $\varepsilon$.

# %%
kappa, t = 100.0, 2 / 101
rate = (1 - t * curvatures).abs().max().item()
steps = math.log(1e-3) / math.log(rate)
print(
    f"rate {rate:.5f}; steps to 1/1000: {steps:.1f}; the rule of thumb says {kappa / 2 * math.log(1e3):.1f}"
)
assert math.isclose(rate, (kappa - 1) / (kappa + 1)) and abs(steps - kappa / 2 * math.log(1e3)) < 1

# %% [markdown]
# **Momentum** (heavy ball: $m \leftarrow \mu m - t\nabla E,\ y \leftarrow y + m$) remembers. Along one
# eigenvector a step is a 2 × 2 matrix acting on $(y, m)$, and with the best $t$ and $\mu$ its largest
# eigenvalue is $\frac{\sqrt\kappa-1}{\sqrt\kappa+1}$: **the root of κ** in place of κ.

# %%
root = math.sqrt(kappa)
best_t, best_mu = 4 / (1 + root) ** 2, ((root - 1) / (root + 1)) ** 2
for curvature in curvatures.tolist():
    matrix = torch.tensor([[1 - best_t * curvature, best_mu], [-best_t * curvature, best_mu]])
    radius = torch.linalg.eigvals(matrix).abs().max().item()
    print(f"λ = {curvature:5.1f}: {radius:.5f} = (√κ - 1)/(√κ + 1) = {(root - 1) / (root + 1):.5f}")
    assert abs(radius - (root - 1) / (root + 1)) < 1e-6

# %% [markdown]
# **Newton** divides by the curvature, $y \leftarrow y - A^{-1}\nabla E$: one step on any bowl, whatever κ.
#
# **What a small gradient proves.** On a bowl $|\nabla E| \ge \lambda_1 |y - y^*|$, so a gradient below tol
# proves an error below $\text{tol}/\lambda_1$. **What a small step proves: nothing.** A step is $t\,|\nabla
# E|$, and $t$ is yours.

# %%
y = torch.tensor([3.0, 1.0])
slope, tiny = curvatures * y, 1e-9
print(
    f"error {y.norm():.2f} <= |∇E|/λ₁ = {slope.norm() / curvatures[0]:.2f};  "
    f"a step with t = {tiny}: {tiny * slope.norm():.0e}"
)
assert y.norm() <= slope.norm() / curvatures[0] and tiny * slope.norm() < 1e-6 < y.norm()

# %% [markdown]
# ## 4 · Implement
#
# ### Exercise 1: descent with a verdict for every row
# `descend(gradient, y, step_size, tol, max_steps)`: gradient descent on B independent rows at once.
# `gradient(y)` is (B, D), like `y`. **A row stops, for good, as soon as the norm of its own gradient is at
# most `tol`**; the others go on, `max_steps` at most. Return the last `y` and the number of steps that each
# row took, (B,) int64.
#
# <details><summary>Hint 1</summary>In each round: slope = gradient(y), then moving = slope.norm(dim=1) > tol,
# (B,).</details>
# <details><summary>Hint 2</summary>torch.where(moving[:, None], y - step_size * slope, y) moves some rows and
# leaves the others; steps = steps + moving counts.</details>


# %% tags=["exercise", "descend"]
def descend(gradient, y: torch.Tensor, step_size: float, tol: float, max_steps: int):
    raise NotImplementedError("Exercise 1: return the last y (B, D), and the steps of each row (B,)")


# %% [markdown]
# ### Exercise 2: the heavy ball
# `heavy_ball(gradient, y, step_size, momentum, steps)`: so many steps of $m \leftarrow \mu m - t \nabla
# E(y)$, $y \leftarrow y + m$, from $m = 0$; no stopping test. Return the last `y`.
#
# <details><summary>Hint 1</summary>The velocity m begins as torch.zeros_like(y), before the loop.</details>
# <details><summary>Hint 2</summary>First the velocity, at the point where you are; then the point moves by
# it.</details>


# %% tags=["exercise", "heavy_ball"]
def heavy_ball(gradient, y: torch.Tensor, step_size: float, momentum: float, steps: int) -> torch.Tensor:
    raise NotImplementedError("Exercise 2: return y after so many steps of the heavy ball")


# %% [markdown]
# ### Exercise 3: the energy of a Sudoku
# A Sudoku has C = 81 fields, and two fields in one row, column or block must differ. Let $q_c$ hold the
# shares of the 9 digits in field c (9 numbers that add up to 1; at the end a single 1). Where fields c and c'
# see each other, $q_c\cdot q_{c'}$ says how much they conflict:
#
# $$E(q) = \sum_{\text{pairs } \{c, c'\}} q_c \cdot q_{c'}.$$
#
# `conflicts(q, sees)`: for `q` (B, C, 9) and the symmetric table `sees` (C, C) of ones (they see each other)
# and zeros, the energy of every row, (B,). **Every pair counts once.**
#
# <details><summary>Hint 1</summary>sees @ q is (B, C, 9): for each field, the sum of q over the fields that
# it sees.</details>
# <details><summary>Hint 2</summary>Multiply that by q and sum over fields and digits. Each pair is in there
# twice.</details>


# %% tags=["exercise", "conflicts"]
def conflicts(q: torch.Tensor, sees: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("Exercise 3: return the sum over pairs of q_c · q_c', (B,)")


# %% [markdown]
# ## 5 · Check

# %%
score = check(ch02.CHECKS, globals())

# %% [markdown]
# ## 6 · The same with the library
#
# `minimize(energy, over, method, given=...)`: a method is a rule for the next step; the loop, the stopping
# test of every row and the verdict are the same for all of them.


# %%
@energy
def bowl(y):
    return 0.5 * (torch.tensor([1.0, 10.0, 100.0]) * y**2).sum(1)


starts = torch.tensor([[3.0, 1.0, 1.0], [0.001, 0.0, 0.0], [0.0, 0.0, 2.0], [30.0, 0.0, 1.0]])
found = minimize(bowl, starts, GradientDescent(0.015), tol=1e-3, max_steps=2000)
print(found, "\nsteps of each row:", found.steps.tolist())
rolled = minimize(bowl, starts, Momentum(0.015, 0.8), tol=0.0, max_steps=40, trace=True).trace.value[-1]
if score.passed:
    slopes = torch.tensor([1.0, 10.0, 100.0])
    last, steps = descend(lambda y: slopes * y, starts, 0.015, 1e-3, 2000)
    assert torch.allclose(found.value, last) and torch.equal(found.steps, steps)
    assert torch.allclose(rolled, heavy_ball(lambda y: slopes * y, starts, 0.015, 0.8, 40))
    print("The library and your functions agree.")

# %% [markdown]
# ### Real data: the lower half of a digit
#
# Given the upper half of a scanned digit, what is the lower half? Fit the simplest energy to 1,437 digits,
# $E(y) = \frac12 (y-\mu)^\top \Lambda\, (y-\mu)$ with $\Lambda = (\Sigma + \varepsilon I)^{-1}$ from their
# mean and covariance, hold the upper half, minimize over the lower. How long that takes is decided by κ of
# the lower half's block of Λ, and κ by ε: pixels in the corners never vary, so the smaller ε, the steeper the
# walls there.

# %%
train, test = digits("train").images.flatten(1), digits("test").images.flatten(1)[:100]
mean, covariance = train.mean(0), train.T.cov()
upper, lower = test[:, :32], test[:, 32:]
table, answers = {}, {}
for eps in (0.01, 0.001):
    precision = torch.linalg.inv(covariance + eps * torch.eye(64))

    @energy
    def digit(lower, upper, precision=precision):
        away = torch.cat([upper, lower], 1) - mean
        return 0.5 * (away * (away @ precision)).sum(1)

    low, high = torch.linalg.eigvalsh(precision[32:, 32:])[[0, -1]].tolist()
    root = math.sqrt(high / low)
    methods = {
        "gradient descent": GradientDescent(2 / (low + high)),
        "heavy ball": Momentum(4 / (math.sqrt(low) + math.sqrt(high)) ** 2, ((root - 1) / (root + 1)) ** 2),
        "L-BFGS": LBFGS(),
        "Newton": Newton(),
    }
    print(f"ε = {eps}: κ = {high / low:.0f}")
    for name, method in methods.items():
        solved = minimize(
            digit, mean[32:].expand(100, 32), method, given={"upper": upper}, tol=1e-3, max_steps=5000
        )
        table[eps, name] = solved.steps.double().median().item()
        answers[eps, name] = solved.value
        print(f"    {name:17} {table[eps, name]:6.0f} steps (median of 100 digits)")
        assert solved.converged.all()
for eps in (0.01, 0.001):
    assert all(torch.allclose(answers[eps, name], answers[eps, "Newton"], atol=1e-3) for name in methods)
assert table[0.001, "gradient descent"] > 8 * table[0.01, "gradient descent"]  # κ
assert table[0.001, "heavy ball"] < 4 * table[0.01, "heavy ball"]  # √κ

# %%
with style():
    figure, rows = plt.subplots(3, 1, figsize=(9, 3.9))
    shown = {
        "what is given": torch.cat([upper, torch.full_like(lower, 0.5)], 1),
        "the lower half that minimizes the energy": torch.cat([upper, answers[0.01, "Newton"]], 1),
        "the true digit": test,
    }
    for ax, (name, images) in zip(rows, shown.items(), strict=True):
        strip = torch.nn.functional.pad(images[:14].view(14, 8, 8), (1, 0), value=1.0)
        ax.imshow(strip.transpose(0, 1).flatten(1)[:, 1:], vmin=0, vmax=1)
        ax.set_title(name)
        ax.axis("off")
    plt.show()
print(f"squared error {(answers[0.01, 'Newton'] - lower).square().sum(1).mean():.2f}, of the mean digit "
      f"{(mean[32:] - lower).square().sum(1).mean():.2f}")  # fmt: skip

# %% [markdown]
# κ is 9 times as large, gradient descent takes 10 times the steps, momentum and L-BFGS 3 times, Newton one.
# All of them find the same answer: **a method changes how long it takes, the energy says what is right.**
# (The answers are blurred: a single bowl has a single answer, the mean of all that fit. Chapter 01's latent
# variable is what it lacks.)
#
# ### Optimization as computation: harder inputs take more steps
#
# **Sorting.** Give a list the energy $E(\text{order}) = -\sum_i i\, y_{\text{order}(i)}$: low where large
# numbers stand late. Exchanging two neighbors that stand wrong lowers it by their difference. Do that until
# nothing is left to exchange: each exchange removes one inversion, so **the steps are the inversions of the
# input**, 0 for a sorted list.

# %%
dice, in_order = generator(), torch.arange(8.0)
mixed = [torch.randperm(8, generator=dice).double() for _ in range(3)]
lists = torch.stack([in_order, *mixed, in_order.flip(0)])  # (5, 8)
inversions = (lists[:, :, None] > lists[:, None, :]).triu(1).sum((1, 2))
ranks, y, steps = torch.arange(8.0), lists.clone(), torch.zeros(5, dtype=torch.long)
while (wrong := y[:, :-1] > y[:, 1:]).any():
    rows = wrong.any(1).nonzero().flatten()
    place = wrong[rows].double().argmax(1)  # the first two neighbors that stand wrong
    before = -(ranks * y).sum(1)
    y[rows, place], y[rows, place + 1] = y[rows, place + 1], y[rows, place]
    assert (-(ranks * y).sum(1) <= before).all()
    steps[rows] += 1
print("steps:", steps.tolist(), " inversions:", inversions.tolist())
assert torch.equal(steps, inversions) and torch.equal(y, ranks.expand(5, 8))

# %% [markdown]
# **Sudoku.** Exercise 3's energy is linear in the shares of each single field, so a minimum over all shares
# is found where every share is 0 or 1: nothing is lost by letting q be fractional, and now there is a
# gradient. $E = 0$ is a solution. `Simplex("q")` keeps the shares of a field nonnegative and adding up to 1,
# and a proximal method does the rest. The difference to sorting: this energy has **local minima**, so we ask
# from 128 starts at once.
#
# Three puzzles with one solution each; easier ones are made by giving more of the solution.

# %%
PUZZLES = (
    "000800000430009007000024006201000000000910000008407090020051000004003100065000020",
    "000500014000019067000700800900000070204803000000001600000105490000004000009300081",
    "530108002000200000900000840620000000074080205000500000000020478000609020000000000",
)
SOLUTIONS = (
    "916875432432169587587324916291586743743912658658437291329651874874293165165748329",
    "726538914583419267491762835915246378264873159837951642372185496158694723649327581",
    "537148692481296357962753841625437189374981265819562734196325478748619523253874916",
)

field = torch.arange(81)
row, column, block = field // 9, field % 9, field // 27 * 3 + field % 9 // 3
sees = sum(part[:, None] == part for part in (row, column, block)).clamp(max=1).double() - torch.eye(81)


@energy
def sudoku(q, known, clue):
    q = torch.where(known, clue, q)
    return 0.5 * (q * (sees @ q)).sum((1, 2))


def one_hot(digits: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(digits - 1, 9).double()


def clues(puzzle: str, number: int) -> torch.Tensor:
    """Which fields are given, (81,): those of the puzzle, and as many others as make up the number."""
    known = torch.tensor([c != "0" for c in puzzle])
    hidden = (~known).nonzero().flatten()
    known[hidden[torch.randperm(len(hidden), generator=generator())[: number - known.sum()]]] = True
    return known


def solve(known: torch.Tensor, solution: str, rows: int):
    """Search from many starts: nearly equal shares, and a little noise."""
    starts = torch.softmax(0.1 * torch.randn(rows, 81, 9, generator=generator()), 2)
    right = one_hot(torch.tensor([int(c) for c in solution]))
    inputs = {"known": known[:, None].expand(rows, 81, 9), "clue": right.expand(rows, 81, 9)}
    return minimize(sudoku + Simplex("q"), {"q": starts}, SpaRSA(), given=inputs, tol=1e-6, max_steps=500)


givens = (60, 50, 45, 40, 36, 32, 28, 26)
steps, shares = torch.zeros(3, len(givens)), torch.zeros(3, len(givens))
for i, (puzzle, solution) in enumerate(zip(PUZZLES, SOLUTIONS, strict=True)):
    for j, given in enumerate(givens):
        solved = solve(clues(puzzle, given), solution, rows=128)
        assert solved.converged.all()
        steps[i, j], shares[i, j] = solved.steps.double().mean(), (solved.energy < 1e-6).double().mean()

with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), sharex=True)
    for i in range(3):
        left.plot([81 - g for g in givens], steps[i], "o-", label=f"puzzle {i + 1}")
        right.plot([81 - g for g in givens], 100 * shares[i], "o-")
    left.set(
        title="Harder puzzles take more steps",
        xlabel="empty fields",
        ylabel="steps until a row stops (mean)",
        ylim=(0, None),
    )
    right.set(title="and more starts", xlabel="empty fields", ylabel="starts that solve it (%)")
    left.legend()
    plt.show()
print(
    f"steps with 21 empty fields {steps[:, 0].mean():.1f}, with {81 - givens[-1]} {steps[:, -1].mean():.1f}"
)
assert (steps[:, -1] > 2.5 * steps[:, 0]).all()

# %% [markdown]
# Every row says "converged", by its gradient: where it is, the slope is zero. Only some have found a solution. Of
# the others most are in a local minimum, and some not even there: with 26 clues about one row in seven is on a
# saddle or a plateau, from which a little noise leads further down. Which rows are right, the energy itself tells,
# with no teacher: $E = 0$. That is the other use of an energy: **to check an answer is cheaper than to find it.**
# The third puzzle with 26 clues (bold):

# %%
known, solution = clues(PUZZLES[2], 26), torch.tensor([int(c) for c in SOLUTIONS[2]])
solved = solve(known, SOLUTIONS[2], rows=512)
answer = solved.value["q"][solved.energy.argmin()].argmax(1) + 1
print(
    f"{(solved.energy < 1e-6).sum()} of 512 starts solve it; "
    f"the lucky one took {solved.steps[solved.energy.argmin()]} steps"
)
assert torch.equal(answer[~known], solution[~known])
with style():
    figure, ax = plt.subplots(figsize=(3.6, 3.6))
    for c in range(81):
        color, weight = ("black", "bold") if known[c] else ("#0072B2", "normal")
        digit_here = str(solution[c].item() if known[c] else answer[c].item())
        ax.text(c % 9 + 0.5, c // 9 + 0.5, digit_here, color=color, weight=weight, ha="center", va="center")
    for k in range(10):
        ax.axhline(k, color="#6E6E6E", linewidth=2 if k % 3 == 0 else 0.5)
        ax.axvline(k, color="#6E6E6E", linewidth=2 if k % 3 == 0 else 0.5)
    ax.set(xlim=(0, 9), ylim=(9, 0), aspect="equal", title="Solved by descent")
    ax.axis("off")
    plt.show()

# %% [markdown]
# ## 7 · Collapse
#
# Where there is no gradient one can search with a **population** (the cross-entropy method): draw 100 points
# around a mean, keep the best 10, set mean and spread to theirs, repeat. The spread shrinks, and when it is
# small the search stops. It may shrink **too soon**: then all points agree, on the slope of a valley, and
# there is nobody left to find out.
#
# The meter: the energy, and the gradient norm where the search stopped. The **fix**: a floor under the
# spread.

# %%
begin = torch.tensor([-1.5, 1.0]).expand(50, 2)
outcomes = {}
for name, floor in (("with a floor", 0.1), ("fix taken away", 0.0), ("put back", 0.1)):
    method = CEM(num_samples=100, num_elites=10, std=1.0, min_std=floor)
    found = minimize(Rosenbrock(), begin, method, tol=1e-3, max_steps=300, generator=generator())
    at = found.value.clone().requires_grad_()
    slope = torch.autograd.grad(Rosenbrock()(y=at).sum(), at)[0].norm(dim=1)
    outcomes[name] = found
    print(
        f"{name:15} {found.reasons[0]:>10}: {found.converged.sum()} of 50 converged, after "
        f"{found.steps.median()} steps; energy {found.energy.median():.1e}, gradient {slope.median():.2f}"
    )

with style():
    figure, ax = plt.subplots(figsize=(7, 3.6))
    bins = torch.logspace(-8, 1, 37)
    for name, color in (("fix taken away", "#D55E00"), ("with a floor", "#009E73")):
        ax.hist(outcomes[name].energy.clamp(min=1e-8), bins, label=name, color=color, alpha=0.8)
    ax.set(xscale="log", xlabel="energy where the search stopped (the minimum is 0)", ylabel="searches")
    ax.set_title("Those that say “converged” are wrong, the others are right")
    ax.legend()
    plt.show()
assert outcomes["fix taken away"].converged.all() and outcomes["fix taken away"].energy.median() > 0.1
assert not outcomes["put back"].converged.any() and outcomes["put back"].energy.median() < 1e-4

# %% [markdown]
# Without the floor every search says "converged (spread)", in the valley's middle. With it none does, for its
# own test can't fire, and all are at the minimum. So read **which** test fired: a small gradient proves
# something (part 3), a small step or a small spread proves that the search stopped. For a proof hand the
# answer to a method with a gradient:

# %%
polished = minimize(Rosenbrock(), outcomes["fix taken away"].value, Newton(), tol=1e-8)
print(polished)
assert polished.energy.max() < 1e-12

# %% [markdown]
# Now compare with your guesses: about 350; not by itself, ask which test; about 4 times, and many more
# starts.

# %% [markdown]
# ## 8 · Further
#
# - LeCun (2022), *A Path Towards Autonomous Machine Intelligence*: inference by minimizing an energy, and
#   "System 2" as optimization that takes its time.
# - Nocedal, Wright (2006), *Numerical Optimization*: chapters 3 (descent and Newton) and 7 (L-BFGS).
# - Polyak (1964), *Some methods of speeding up the convergence of iteration methods*: the heavy ball, and the
#   root of κ.
# - Wright, Nowak, Figueiredo (2009), *Sparse Reconstruction by Separable Approximation*: the method that
#   solved the Sudokus.
# - de Boer, Kroese, Mannor, Rubinstein (2005), *A Tutorial on the Cross-Entropy Method*.
# - Next: chapter 03, from energies to probabilities and back.
