"""Does a wide random expander make codes independent in pairs, and does that separate sources?

    codes s = f(x), (N, k);   outputs z = standardized(tanh(A standardized(s) + b)), (N, W), A and b random
    L = μ v(z) + 2ν c(z),     VICReg's variance and covariance terms for two equal views; only f is learned

The proposition: what is uncorrelated behind a wide nonlinearity is independent in front of it, in pairs. If
every output sees one code, the covariance of outputs of different codes is their HSIC in the kernel of the
random features, W → ∞. The expanders that are compared, five of them, are those of `random_expander`.

`dependence` learns 3 codes of two angles (cos and sin of each: uncorrelated, dependent) and measures HSIC of
pairs and dHSIC of all three on new data. `separation` learns the rotation that unmixes 3 white mixtures and
measures its Amari distance, beside FastICA's. Usage: `python -m benchmarks.recipes.independence`.

Reference: Mialon, Balestriero & LeCun (2022), "Variance-covariance regularization enforces pairwise
independence in self-supervised representations"; Amari, Cichocki & Yang (1996), "A new learning algorithm for
blind signal separation", for the distance; divided by its greatest value, so that it is in [0, 1].
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn.decomposition import FastICA
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.machine import commit, machine, versions
from benchmarks.recipes.command import option, parse
from benchmarks.recipes.random_expander import CODES, EXPANDERS, learned, setup
from ebm.data import Whitening
from ebm.joint import OnCodes
from ebm.measure import dhsic, pairwise_hsic
from ebm.nets import mlp
from ebm.nets.layers import linear
from ebm.train import fit

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Arguments:
    """What to run; a seed draws data, start and expander."""

    widths: tuple[int, ...] = option(
        (6, 24, 96, 384), "numbers of outputs, multiples of 3", type=int, nargs="+"
    )
    seeds: int = option(5, "how many, from 0 on")
    variance: float = option(25.0, "μ")
    covariance: float = option(1.0, "ν")
    encoder_steps: int = option(400, "of learning codes")
    encoder_batch: int = option(256, "rows of a step")
    encoder_rate: float = option(1e-2, "learning rate, which falls to 0 along a cosine")
    held_out: int = option(1000, "rows on which codes are measured")
    rows: int = option(1000, "of a mixture, all of them in each step")
    unmixing_steps: int = option(60, "of learning a rotation")
    unmixing_rate: float = option(0.1, "learning rate")
    starts: int = option(2, "rotations to start from; the one that ends with the lowest loss counts")
    results: str = option(str(RESULTS), "the folder to write to")

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # the command line makes a list


def angles(n: int, generator: Generator) -> Tensor:
    """√2 (cos α, cos β, sin α, sin β) of independent uniform α and β: white, but cos² + sin² = 1; (n, 4)."""
    both = 2 * math.pi * torch.rand(n, 2, generator=generator)
    return math.sqrt(2) * torch.cat([both.cos(), both.sin()], 1)


def dependence(name: str, width: int, seed: int, args: Arguments) -> dict[str, float]:
    """Learn codes of angles behind one expander; measure them on new data.

    Returns:
        "pairwise" HSIC and "mutual" dHSIC; the same of columns shuffled apart, which are independent; and
        the largest "correlation".
    """
    generator = Generator().manual_seed(seed)
    x, new = angles(4096, generator), angles(args.held_out, generator)
    encoder = mlp(4, 64, 64, CODES, generator=generator)
    expander, criterion = setup(name, width, (args.variance, args.covariance), generator)
    fit(
        learned(encoder, expander),
        OnCodes(criterion, "s_x"),
        {"x": x},
        optimizer=partial(torch.optim.Adam, lr=args.encoder_rate),
        steps=args.encoder_steps,
        batch_size=args.encoder_batch,
        schedule=partial(CosineAnnealingLR, T_max=args.encoder_steps),
        generator=generator,
        progress=False,
    )
    with torch.no_grad():
        s = encoder(new)
    apart = torch.stack([column[torch.randperm(len(s), generator=generator)] for column in s.T], 1)
    return {
        "pairwise": float(pairwise_hsic(s)),
        "mutual": float(dhsic(*s.T)),
        "pairwise, shuffled": float(pairwise_hsic(apart)),
        "mutual, shuffled": float(dhsic(*apart.T)),
        "correlation": float(torch.corrcoef(s.T).fill_diagonal_(0).abs().max()),
    }


def mixture(seed: int, args: Arguments) -> tuple[Tensor, Tensor, Generator]:
    """Mixtures (rows, 3) of a uniform, a Laplace and an exponential source, the matrix A of x = A s."""
    generator = Generator().manual_seed(seed)
    u = torch.rand(args.rows, CODES, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    center = u[:, 1] - 0.5
    laplace = -center.sign() * torch.log1p(-2 * center.abs())
    s = torch.stack([u[:, 0], laplace, -u[:, 2].log()], 1)
    mixing = torch.randn(CODES, CODES, generator=generator, dtype=torch.float64)
    return (s - s.mean(0)) / s.std(0) @ mixing.T, mixing, generator


def separation(name: str, width: int, seed: int, args: Arguments) -> float:
    """The Amari distance of the rotation of white mixtures that an expander's loss finds."""
    x, mixing, generator = mixture(seed, args)
    whitening = Whitening.fit(x, eps=1e-9)
    expander, criterion = setup(name, width, (args.variance, args.covariance), generator)
    ends = []
    for _ in range(args.starts):
        start = linear(CODES, CODES, bias=False, generator=generator)
        rotation = nn.utils.parametrizations.orthogonal(start)  # begins at the start's orthogonal factor
        history = fit(
            learned(rotation, expander),
            OnCodes(criterion, "s_x"),
            {"x": whitening.apply(x).float()},
            optimizer=partial(torch.optim.Adam, lr=args.unmixing_rate),
            steps=args.unmixing_steps,
            batch_size=args.rows,
            generator=generator,
            progress=False,
        )
        found = rotation(torch.eye(CODES)).T.detach().double() @ whitening.matrix @ mixing
        ends.append((float(history.column("loss")[-1]), amari(found)))
    return min(ends)[1]


def references(seed: int, args: Arguments) -> dict[str, float]:
    """The Amari distances of FastICA, and of whitening alone."""
    x, mixing, _ = mixture(seed, args)
    ica = FastICA(CODES, whiten="unit-variance", random_state=seed, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its last digit
        ica.fit(x.numpy())
    return {
        "FastICA": amari(torch.from_numpy(ica.components_) @ mixing),
        "whitening": amari(Whitening.fit(x, eps=1e-9).matrix @ mixing),
    }


def amari(product: Tensor) -> float:
    """The Amari distance of an unmixing from a mixing matrix, P = their product (k, k), from 0 to 1.

        d = (1 / 2k(k-1)) [Σ_i (Σ_j |P_ij| / max_j |P_ij| - 1) + Σ_j (Σ_i |P_ij| / max_i |P_ij| - 1)]

    It is 0 where P is a permutation with scales and signs, that is where the sources are separated.

    Example:
        >>> amari(torch.tensor([[0.0, -2.0], [5.0, 0.0]])), amari(torch.ones(2, 2))
        (0.0, 1.0)
    """
    p, k = product.abs(), len(product)
    rows, columns = p / p.amax(1, keepdim=True), p / p.amax(0, keepdim=True)
    return float((rows.sum() + columns.sum() - 2 * k) / (2 * k * (k - 1)))


def summary(values: Sequence[float]) -> dict[str, Any]:
    """The mean over seeds, its standard error, and the values."""
    v = torch.tensor(values, dtype=torch.float64)
    return {"mean": float(v.mean()), "standard error": float(v.std() / len(v) ** 0.5), "values": list(values)}


def run(args: Arguments, say: bool = True) -> dict[str, Any]:
    """All of it, as what the file of results holds."""
    began = time.perf_counter()
    cells = [(EXPANDERS[0], 0), *((name, width) for name in EXPANDERS for width in args.widths)]
    learning: list[dict[str, Any]] = []
    unmixing: list[dict[str, Any]] = []
    for name, width in cells:
        what: dict[str, Any] = {"expander": name if width else "none", "width": width}
        each = [dependence(name, width, seed, args) for seed in range(args.seeds)]
        learning.append({**what, **{key: summary([e[key] for e in each]) for key in each[0]}})
        if width:
            amaris = [separation(name, width, seed, args) for seed in range(args.seeds)]
            unmixing.append({**what, "Amari": summary(amaris)})
        if say:
            pair, all_three = (1e3 * learning[-1][key]["mean"] for key in ("pairwise", "mutual"))
            found = f", Amari {unmixing[-1]['Amari']['mean']:.3f}" if width else ""
            print(f"{what}: HSIC {pair:.2f}e-3, dHSIC {all_three:.2f}e-3{found}", flush=True)
    lines = [references(seed, args) for seed in range(args.seeds)]
    return {
        "dependence": learning,
        "separation": unmixing,
        "references": {key: summary([line[key] for line in lines]) for key in lines[0]},
        "seconds": round(time.perf_counter() - began, 1),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write results/independence.json."""
    args = parse(Arguments, "python -m benchmarks.recipes.independence", "Independence by an expander.", argv)
    torch.set_num_threads(1)
    document = {
        "recipe": "independence",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit(Path(__file__).parents[2]),
        "arguments": {key: value for key, value in asdict(args).items() if key != "results"},
        "machine": machine(),
        "versions": versions(["ebm-lab", "torch", "numpy", "scikit-learn"]),
        **run(args),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    folder = Path(args.results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "independence.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
