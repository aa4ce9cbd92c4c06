"""Part four: a world learned from pixels, and plans made in it.

learn   E(observations, actions) = mean over steps |rollout(enc(o_0), a)_t - enc(o_t)|²
plan    c* = argmin_c time + |rollout(enc(o), c)_T - enc(goal)|
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from ebm.checkpoint import Checkpoint
from ebm.demo.part import Part, Picture
from ebm.demo.rooms_pictures import show_codes, show_collapse, show_energy, show_graph
from ebm.history import History
from ebm.measure import WatchCodes
from ebm.plan import Episodes, RecedingHorizon, run_episodes, two_rooms_agent
from ebm.show.animation import save_animation
from ebm.train import fit
from ebm.world import TwoRooms, TwoRoomsModel, random_walks
from ebm.world.dots import draw_dots
from ebm.world.learning import world_energy
from ebm.world.policies import greedy_policy, random_policy
from ebm.world.two_rooms_loss import two_rooms_loss

FORMULA = "<i>a</i>* = argmin<sub><i>a</i></sub> <i>E</i>(observation, goal, <i>a</i>)"
WALL, DOOR = 32, 16
STEPS, WINDOWS, EPISODES = 4000, 60_000, 40
FILMED = 6


@dataclass(frozen=True)
class Learned:
    """A model of the rooms, and how learning went."""

    model: TwoRoomsModel
    history: History
    watch: WatchCodes


def rooms_part(part: Part) -> None:
    """Walk at random, learn what happens, then go to goals in the other room."""
    part.introduce(
        "A world, learned and used",
        FORMULA,
        "A dot walks at random through two rooms with one door. From pixels alone, with no reward and no "
        "goal, a network learns to encode what it sees and to predict the code that comes of an action. Its "
        "codes are not pixels: what can't be predicted may be left out.",
        "Then it is shown a goal in the other room. Planning is minimization again: the energy of a "
        "sequence of actions is how far from the goal it ends, as imagined. A straight way is shut by the "
        "wall, so the search goes over places that are reached in imagination, each looked at once.",
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small are slower on two
    try:
        learn_and_act(part)
    finally:
        torch.set_num_threads(threads)


def learn_and_act(part: Part) -> None:
    """A model, episodes with it, and pictures of both."""
    world = TwoRooms(wall=WALL, door=DOOR)
    learned = learn(part, world, 120 if part.quick else STEPS)
    agent = two_rooms_agent(learned.model, world)
    done = act(part, world, agent, learned)
    film(part, world, done)
    show_graph(part, world, learned.model, agent)
    show_energy(part, world, learned.model)
    show_codes(part, learned.model)
    show_collapse(part, learned.history)


def learn(part: Part, world: TwoRooms, steps: int) -> Learned:
    """A model from random walks; goes on where an earlier run of the demo was stopped."""
    generator = part.generator()
    walks = random_walks(world, WINDOWS // (10 if part.quick else 1), generator=generator, near_door=0.33)
    model = TwoRoomsModel(generator=generator)
    loss = two_rooms_loss(model, generator=generator)
    seen = draw_dots(walks["position"][:512, 0], 65)
    watch = WatchCodes(model.dots, seen, every=max(1, steps // 40), patience=38)
    saved = part.out / ".training" / f"rooms-{part.seed}-{steps}"
    saved.parent.mkdir(exist_ok=True)
    history = fit(
        world_energy(model),
        loss,
        walks,
        optimizer=partial(torch.optim.AdamW, lr=2e-3, weight_decay=1e-4),
        schedule=partial(OneCycleLR, max_lr=2e-3, total_steps=steps, pct_start=0.05),
        steps=steps,
        batch_size=128,
        clip=5.0,
        callbacks=[watch],
        generator=generator,
        progress="    rooms: learning",
        checkpoint=Checkpoint(saved, every=200),
    )
    if history.interrupted:
        raise KeyboardInterrupt  # what is learned is kept, and the next run goes on
    part.numbers["training"] = {
        "steps": float(len(history)),
        "seconds": history.seconds,
        "windows": float(len(walks["wall"])),
    }
    return Learned(model, history, watch)


def act(part: Part, world: TwoRooms, agent: RecedingHorizon, learned: Learned) -> Episodes:
    """Episodes with the planner, and without."""
    count, steps = (4, 30) if part.quick else (EPISODES, world.steps)
    generator = torch.Generator().manual_seed(part.seed + 1)
    state = world.reset(count, generator)
    done = run_episodes(
        world, agent, count, steps=steps, generator=generator, state=state, progress="    rooms: acting"
    )
    at = torch.stack([world.reached(s) for s in done.states])
    first = torch.where(at.any(0), at.int().argmax(0).double(), torch.nan)
    numbers = {
        "planning": {
            "at the goal at the end": float(at[-1].double().mean()),
            "ever at the goal": float(at.any(0).double().mean()),
            "median steps": float(first.nanmedian()) if bool(at.any()) else float(steps),
            "CPU ms an action": done.cpu_ms_an_action,
        }
    }
    for name, policy in (("straight ahead", greedy_policy), ("at random", random_policy)):
        here, ever = state, torch.zeros(count, dtype=torch.bool)
        for _ in range(steps):
            here = world.step(here, policy(here, generator), generator)
            ever |= world.reached(here)
        at_end = float(world.reached(here).double().mean())
        numbers[name] = {"at the goal at the end": at_end, "ever at the goal": float(ever.double().mean())}
    part.numbers["episodes"] = {"episodes": float(count), "steps": float(steps), **numbers}
    header = ("", "at the goal at the end", "ever", "median steps", "CPU ms an action")
    rows = [
        (
            name,
            f"{100 * n['at the goal at the end']:.0f} %",
            f"{100 * n['ever at the goal']:.0f} %",
            f"{n['median steps']:.0f}" if "median steps" in n else "",
            f"{n['CPU ms an action']:.1f}" if "CPU ms an action" in n else "",
        )
        for name, n in numbers.items()
    ]
    caption = (
        f"{count} episodes of {steps} steps, start and goal in different rooms. Going straight ahead and "
        "walking at random need no model; the planner has seen nothing but pixels."
    )
    part.add_table("Who arrives", caption, header, rows)
    return done


def film(part: Part, world: TwoRooms, done: Episodes) -> None:
    """Some episodes side by side, until all of them have arrived."""
    shown = min(FILMED, done.actions.shape[0])
    at = torch.stack([world.reached(s)[:shown] for s in done.states]).all(1)
    end = min(len(at), (int(at.int().argmax()) if bool(at.any()) else len(at)) + 8)
    frames: Tensor = torch.stack([done.frames(world, k)[:end] for k in range(shown)], 1)  # (T, B, H, W, 3)
    save_animation(frames, part.out / "rooms-episodes.gif", fps=8, scale=3)
    caption = (
        "Episodes from start to goal: orange is the dot, blue its goal. The next plan is made after four "
        "steps, from what is seen then; what came out otherwise than imagined is not tried again."
    )
    alt = "Animation: in six pairs of rooms an orange dot walks through the door to a blue goal."
    part.shown.append(Picture("rooms-episodes.gif", "Through the door", caption, alt))
