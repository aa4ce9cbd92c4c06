"""Two Rooms by the published protocol: learn the world from random walks, then act in it, and count.

    success: nearer than 4.5 px to the goal at the last of 200 steps; start and goal in different rooms
    learned from windows of random walks, without rewards or goals; wall and door drawn for every episode

For each of three seeds a model is learned and tested in 80 episodes; beside it stand the floors (random,
greedy, a scripted expert that knows the walls) and what the model knows: how far a linear probe misses the
position, how many pushes at the wall it lets through (leak), and how many through the door (pass). The same
models then serve a table of planners, and models learned without one of the loss's terms one of ablations.

Every model and every row is kept as soon as it is there; a second run goes on, within a training too. The
same script runs on CPU and GPU. One departure: a third of the walks begin around the door, which is learned
last and is rarely met by walks that begin anywhere (`near_door=0` is the published way).

Usage: `python -m benchmarks.two_rooms`; three trainings of up to a quarter of an hour on two cores.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Generator
from torch.optim.lr_scheduler import OneCycleLR

from benchmarks.machine import commit, machine, versions
from benchmarks.recipes.command import joined, option, parse
from benchmarks.two_rooms_planners import (
    cost_of_a_plan,
    floors,
    interval,
    measured,
    temporal_distance,
    tried,
)
from ebm.checkpoint import Checkpoint
from ebm.train import fit
from ebm.world import TwoRooms, TwoRoomsModel, random_walks
from ebm.world.learning import world_energy
from ebm.world.two_rooms_loss import two_rooms_loss

FOLDER = Path(__file__).parent / "results"
PLANNERS = (
    *(
        f"graph search, {size}{memory}"
        for size in ("small", "medium", "large")
        for memory in ("", " no memory")
    ),
    *(f"{method}, path, {size}" for size in ("small", "medium") for method in ("MPPI", "CEM", "gradient")),
    "gradient, path, large",
    "MPPI, path, large",
    "CEM, last state, medium",
    "CEM, learned, small",
    "collocation, last state, small",
)
WITHOUT = {
    "variance": {"variance": 0.0},
    "covariance": {"covariance": 0.0},
    "time similarity": {"time_similarity": 0.0},
    "inverse dynamics": {"inverse_dynamics": 0.0},
}


@dataclass(frozen=True)
class Arguments:
    """What to run."""

    steps: int = option(15000, "of every training")
    batch: int = option(128, "windows in a step")
    windows: int = option(200_000, "of random walks to learn from")
    near_door: float = option(0.33, "share of the windows that begin around the door")
    rate: float = option(2e-3, "greatest learning rate of AdamW")
    hidden: int = option(128, "width of the predictor")
    seeds: int = option(3, "trainings")
    episodes: int = option(80, "for each of them")
    compared_episodes: int = option(20, "of each planner and ablation")
    ablation_steps: int = option(7500, "of a training without one of the terms")
    ablations: bool = option(True, "learn without each term of the loss, too")
    planners: bool = option(True, "compare planners on the first model, too")
    fixed: bool = option(False, "wall and door where they always are")
    device: str = option("", "cpu or cuda; CUDA where it is, if empty")
    threads: int = option(2, "of torch")
    out: str = option("two-rooms", "folder of the models, which are not recorded")
    results: str = option("", "the file to write; if empty, two_rooms_DEVICE.json beside the others")


def learned(
    name: str, seed: int, arguments: Arguments, device: torch.device, **weights: float
) -> tuple[TwoRoomsModel, float]:
    """The model of a seed, learned or read from where it was kept, and the seconds that learning took."""
    folder = Path(arguments.out)
    path, about = folder / f"{name}.safetensors", folder / f"{name}.json"
    settings = {**asdict(arguments), "seed": seed, **weights}
    settings = {k: v for k, v in settings.items() if k in LEARNING or k in weights}
    generator = Generator().manual_seed(seed)
    model = TwoRoomsModel(hidden=arguments.hidden, generator=generator)
    loss = two_rooms_loss(model, generator=generator, **weights)
    if about.exists() and (kept := json.loads(about.read_text(encoding="utf-8")))["settings"] == settings:
        model.load_state_dict(load_file(path))
        return model.eval().to(device), kept["seconds"]
    folder.mkdir(parents=True, exist_ok=True)
    walks = random_walks(
        world_of(arguments), arguments.windows, generator=generator, near_door=arguments.near_door
    )
    began = time.perf_counter()
    history = fit(
        world_energy(model.to(device)),
        loss.to(device),
        {key: value.to(device) for key, value in walks.items()},
        optimizer=partial(torch.optim.AdamW, lr=arguments.rate, weight_decay=1e-4),
        schedule=partial(OneCycleLR, max_lr=arguments.rate, total_steps=arguments.steps, pct_start=0.05),
        steps=arguments.steps,
        batch_size=arguments.batch,
        clip=5.0,
        generator=generator,
        progress=name,
        checkpoint=Checkpoint(folder / f"{name}-training", every=1000),
    )
    if history.interrupted:
        raise KeyboardInterrupt
    seconds = max(history.seconds, time.perf_counter() - began)
    save_file({key: value.cpu().contiguous() for key, value in model.state_dict().items()}, path)
    about.write_text(json.dumps({"settings": settings, "seconds": seconds}, indent=1), encoding="utf-8")
    return model, seconds


LEARNING = ("steps", "batch", "windows", "near_door", "rate", "hidden", "fixed", "seed")


def world_of(arguments: Arguments) -> TwoRooms:
    """With a wall drawn for every episode, or the one that stays."""
    return TwoRooms(wall=32, door=10) if arguments.fixed else TwoRooms()


def run(arguments: Arguments) -> dict[str, Any]:
    """Everything that isn't in the file yet; returns what the file holds."""
    torch.set_num_threads(arguments.threads)
    with joined(arguments.device) as device:
        kind = f"{'fixed_' if arguments.fixed else ''}{device.type}"
        path = Path(arguments.results) if arguments.results else FOLDER / f"two_rooms_{kind}.json"
        book = Book(path, arguments, device)
        world = world_of(arguments)
        book.once("floors", lambda: floors(world, 500))
        for seed in range(arguments.seeds):
            name = f"seed {seed}"
            model, seconds = learned(name.replace(" ", "-"), seed, arguments, device)
            book.once(
                name,
                lambda m=model, s=seconds: {
                    **tried(m, world, "graph search", arguments.episodes, seed=7000),
                    **measured(m),
                    "seconds of training": s,
                },
            )
        book.total([f"seed {seed}" for seed in range(arguments.seeds)])
        if arguments.planners:
            model, _ = learned("seed-0", 0, arguments, device)
            book.once("cost of a plan", lambda: cost_of_a_plan(model, world))
            critic = temporal_distance(model, world) if set(PLANNERS) - set(book.planners) else None
            for planner in PLANNERS:
                book.once(
                    f"planner: {planner}",
                    lambda p=planner: tried(model, world, p, arguments.compared_episodes, 2000, critic),
                )
        if arguments.ablations:
            for term, weights in WITHOUT.items():
                shorter = replace(arguments, steps=arguments.ablation_steps)
                model, seconds = learned(f"no-{term.replace(' ', '-')}", 0, shorter, device, **weights)
                book.once(
                    f"without {term}",
                    lambda m=model: {
                        **tried(m, world, "graph search", arguments.compared_episodes, seed=2000),
                        **measured(m),
                    },
                )
        return book.record


class Book:
    """The record: rows that are written down as soon as they are there."""

    def __init__(self, path: Path, arguments: Arguments, device: torch.device):
        settings = {
            k: v for k, v in asdict(arguments).items() if k in (*LEARNING, "episodes", "ablation_steps")
        }
        self.path = path
        self.record: dict[str, Any] = {"arguments": settings, "rows": {}}
        if path.exists() and (old := json.loads(path.read_text(encoding="utf-8")))["arguments"] == settings:
            self.record["rows"] = old["rows"]
        gpu = {"gpu": torch.cuda.get_device_name()} if device.type == "cuda" else {}
        self.about = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": {**machine(), **gpu},
            "versions": versions(["torch", "ebm-lab"]),
            **commit(Path(__file__).parent),
        }

    def once(self, name: str, make: Any) -> None:
        """The row `name`, made if it isn't there."""
        if name not in self.record["rows"]:
            self.record["rows"][name] = make()
            print(name, json.dumps(self.record["rows"][name]), flush=True)
            self.write()

    @property
    def planners(self) -> list[str]:
        """The planners whose row is there."""
        return [name.removeprefix("planner: ") for name in self.record["rows"]]

    def total(self, names: Sequence[str]) -> None:
        """The rows `names` taken together, with Wilson's interval."""
        rows = [self.record["rows"][name] for name in names]
        reached, of = sum(r["reached"] for r in rows), sum(r["episodes"] for r in rows)
        low, high = interval(reached, of)
        self.record["success"] = {
            "reached": reached,
            "episodes": of,
            "share": reached / of,
            "95 %": [low, high],
        }
        print(f"{reached} of {of} at the last step: {reached / of:.1%} ({low:.1%} to {high:.1%})", flush=True)
        self.write()

    def write(self) -> None:
        """The whole file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**self.about, **self.record}, indent=1, allow_nan=False)
        self.path.write_text(text + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    lines = (__doc__ or "").splitlines()
    run(parse(Arguments, "python -m benchmarks.two_rooms", lines[0], argv))


if __name__ == "__main__":
    main()
