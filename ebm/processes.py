"""Several processes as one: what each of them holds of a batch, put together with its gradients.

`torchrun` starts W processes. Each has N rows of a batch of W·N; `gather` gives all of them all rows,

    gather(z) = [z⁰; z¹; ...; z^{W-1}]  (W·N, ...),        ∂/∂z^r = Σ_s (∂L^s / ∂gather(z))^r

so a loss of gathered rows is the same number L in every process, and the gradient that process r gets for its
own rows is W times that of L. Gradients of parameters are averaged over processes (`average`), which gives
the gradient of L: what one process with all rows would have found. What has to be drawn alike everywhere,
directions for instance, is drawn everywhere and then replaced by what process 0 drew (`share`), since every
process has random numbers of its own. Without processes nothing happens.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ebm.exchange import ProcessError, all_gather, carry, exchange, fail, rank, world_size
from ebm.first_order import first_order

__all__ = [
    "ProcessError",
    "agreed",
    "average",
    "collect",
    "fail",
    "gather",
    "rank",
    "refuse_different",
    "refuse_lone",
    "refuse_unequal",
    "send",
    "share",
    "texts",
    "world_size",
]

MOST_DIMS = 16


def gather(z: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks, differentiable once.

    Args:
        z: (N, *shape), the same N and shape everywhere.

    Returns:
        (W·N, *shape); z itself where there is one process.

    Raises:
        ValueError: if the processes hold batches of different sizes.

    Example:
        >>> gather(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if world_size() == 1:
        return z
    refuse_unequal(z)
    gathered: Tensor = _Gather.apply(z)
    return gathered


def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, in one flat exchange for each dtype."""
    if world_size() == 1:
        return
    for flat, put_back in _flat(tensors):
        exchange(dist.all_reduce, flat)
        put_back(flat.div_(world_size()))


def share(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by that of process 0, bit for bit, in one flat exchange for each dtype.

    Example:
        >>> directions = torch.randn(8, 4)  # every process draws, with a generator of its own ...
        >>> share([directions])  # ... and goes on with what process 0 drew
    """
    if world_size() == 1:
        return
    for flat, put_back in _flat(tensors):
        exchange(dist.broadcast, flat, 0)
        put_back(flat)


def agreed(wish: bool) -> bool:
    """Whether any process wishes so: the same answer in all of them."""
    if world_size() == 1:
        return wish
    votes = torch.tensor([float(wish)])
    average([votes])
    return bool(votes > 0)


def collect(tensor: Tensor) -> list[Tensor]:
    """The one-dimensional tensors of all processes, by rank; they may differ in length."""
    if world_size() == 1:
        return [tensor]
    lengths = [int(n) for n in all_gather(torch.tensor([len(tensor)]))]
    padded = torch.nn.functional.pad(tensor, (0, max(lengths) - len(tensor)))
    return [part[:n] for part, n in zip(all_gather(padded), lengths, strict=True)]


def texts(text: str) -> list[str]:
    """What all processes say, by rank."""
    if world_size() == 1:
        return [text]
    raw = torch.tensor(list(text.encode()), dtype=torch.uint8)
    return [bytes(part.tolist()).decode() for part in collect(raw)]


def send(value: Any) -> Any:
    """What process 0 holds, in all processes: anything that JSON can tell (tuples arrive as lists)."""
    return json.loads(texts(json.dumps(value if rank() == 0 else None))[0]) if world_size() > 1 else value


def refuse_unequal(z: Tensor) -> None:
    """Raise, in every process, if their tensors differ in shape.

    Raises:
        ValueError: listing the shapes by rank.
    """
    shape = torch.tensor([*z.shape, *[-1] * (MOST_DIMS - z.ndim)], device=z.device)
    found = [tuple(n for n in s.tolist() if n >= 0) for s in all_gather(shape)]
    if len(set(found)) > 1:
        raise ValueError(
            f"the processes hold batches of different shapes, {found} by rank; give all of them the same "
            f"number of rows (leave out the last rows of the data, or pad them)."
        )


def refuse_different(facts: Mapping[str, str]) -> None:
    """Raise, in every process, if one of these facts is not the same in all of them.

    Raises:
        ValueError: naming the first fact that differs and what each process holds.
    """
    said = [json.loads(text) for text in texts(json.dumps(dict(facts)))]
    for name in dict.fromkeys(name for one in said for name in one):
        values = [one.get(name, "none") for one in said]
        if len(set(values)) > 1:
            listed = "; ".join(f"process {r} has {value}" for r, value in enumerate(values))
            raise ValueError(f"{name} differs between the processes: {listed}. Start them all alike.")


def refuse_lone() -> None:
    """Raise if torchrun started several processes and they don't know of one another.

    Raises:
        RuntimeError: saying which call is missing.
    """
    started = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if started > 1 and world_size() == 1:
        raise RuntimeError(
            f"torchrun started {started} processes, but each is alone: call "
            f"torch.distributed.init_process_group() first, and destroy_process_group() at the end."
        )


def _flat(tensors: Iterable[Tensor]) -> Iterator[tuple[Tensor, Callable[[Tensor], None]]]:
    """Tensors of one dtype and device as one flat copy, and the function that copies it back."""
    by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        by_kind.setdefault((tensor.dtype, tensor.device), []).append(tensor.detach())
    for group in by_kind.values():

        def put_back(flat: Tensor, group: list[Tensor] = group) -> None:
            for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
                tensor.copy_(part.view_as(tensor))

        yield carry(torch.cat([tensor.reshape(-1) for tensor in group])), put_back


class _Gather(torch.autograd.Function):
    """all_gather, whose transpose is a sum over the processes of each one's share."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return torch.cat(all_gather(z))

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        exchange(dist.all_reduce, gradient)
        return gradient.chunk(world_size())[rank()]
