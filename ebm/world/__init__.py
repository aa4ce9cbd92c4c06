"""Worlds to act in, as batched tensors, and models of them that are learned from what was seen."""

from __future__ import annotations

from ebm.world.cart_pole import CartPole
from ebm.world.disturbed import Disturbed
from ebm.world.ensemble import Ensemble
from ebm.world.known import KnownDynamics
from ebm.world.learning import world_energy
from ebm.world.model import WorldModel
from ebm.world.pendulum import Pendulum
from ebm.world.point_mass import PointMass
from ebm.world.random_walk import random_walks
from ebm.world.two_rooms import TwoRooms
from ebm.world.two_rooms_loss import two_rooms_loss
from ebm.world.two_rooms_model import TwoRoomsModel
from ebm.world.world import World

__all__ = [
    "CartPole",
    "Disturbed",
    "Ensemble",
    "KnownDynamics",
    "Pendulum",
    "PointMass",
    "TwoRooms",
    "TwoRoomsModel",
    "World",
    "WorldModel",
    "random_walks",
    "two_rooms_loss",
    "world_energy",
]
