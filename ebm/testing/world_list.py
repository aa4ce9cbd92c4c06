"""The list of worlds: every one of this package, in each of its settings that changes what it does.

A new world is put on it, one line, and inherits the whole contract.
"""

from __future__ import annotations

from ebm.world.cart_pole import CartPole
from ebm.world.pendulum import Pendulum
from ebm.world.point_mass import PointMass
from ebm.world.two_rooms import TwoRooms
from ebm.world.world import World


def worlds() -> dict[str, World]:
    """Every world of the package.

    Example:
        >>> sorted({type(world).__name__ for world in worlds().values()})
        ['CartPole', 'Pendulum', 'PointMass', 'TwoRooms']
    """
    return {
        "CartPole": CartPole(),
        "Pendulum": Pendulum(),
        "PointMass": PointMass(),
        "PointMass, random starts": PointMass(spread=(0.3, 0.8, 0.2, 0.0)),
        "TwoRooms": TwoRooms(),
        "TwoRooms, fixed wall": TwoRooms(wall=32, door=30, speed=9.0, steps=7),
    }
