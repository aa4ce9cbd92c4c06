"""The contract of state: an energy saved is the energy loaded.

load(save(E)) = E        through safetensors, in which nothing is ever unpickled
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.testing.examples import Example, evaluate
from ebm.testing.verdict import EnergyContractError as Wrong
from ebm.testing.verdict import require_equal

try:
    from safetensors.torch import load_model, save_model
except ImportError:  # a bare machine: the round trip then goes through the state_dict alone
    load_model = save_model = None  # type: ignore[assignment]


def check_state(energy: Energy, example: Example) -> None:
    """Check that a fresh copy of an energy, its tensors overwritten, is the same energy again after loading.

    Goes through a safetensors file where safetensors is installed, otherwise through the state_dict.

    Args:
        energy: the energy.
        example: a value for each variable.

    Raises:
        EnergyContractError: if it cannot be copied or saved, or an energy differs after loading.

    Example:
        >>> from ebm import Energy
        >>> class Bowl(Energy):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.depth = torch.tensor(3.0)  # wrong: it is never saved; a buffer is
        ...     def forward(self, y):
        ...         return self.depth * y.square().sum(1)
        >>> check_state(Bowl(), {"y": torch.tensor([[1.0], [2.0]])})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ebm.testing.verdict.EnergyContractError: Bowl keeps the tensor 'depth' that is neither parameter nor
        buffer, ...
    """
    _refuse_bare_tensors(energy)
    expected = evaluate(energy, example)
    other = copy.deepcopy(energy)
    _overwrite(other)
    if save_model is None:
        other.load_state_dict({k: v.clone() for k, v in energy.state_dict().items()})
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "energy.safetensors"
            save_model(energy, str(file))
            missing, unexpected = load_model(other, str(file))
        if missing or unexpected:
            raise Wrong(
                f"{energy.label} loads what it saved; missing {list(missing)}, unexpected {list(unexpected)}."
            )
    came = evaluate(other, example)
    require_equal(Wrong, came, expected, f"{energy.label} is what it was after saving and loading")


def _refuse_bare_tensors(energy: Energy) -> None:
    for module in energy.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                raise Wrong(
                    f"{type(module).__name__} keeps the tensor {name!r} that is neither parameter nor "
                    f"buffer, so it "
                    f"is not saved and does not follow .to(...); use self.register_buffer({name!r}, tensor)."
                )


@torch.no_grad()
def _overwrite(energy: Energy) -> None:
    """Give everything that is saved other numbers."""
    for tensor in energy.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(torch.nan)
        elif tensor.dtype != torch.bool:
            tensor.zero_()
