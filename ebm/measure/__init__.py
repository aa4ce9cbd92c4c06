"""Measuring: whether codes collapsed, whether chains converged, where the energy is low besides the data."""

from __future__ import annotations

from ebm.measure.ess import ess
from ebm.measure.rhat import rhat
from ebm.measure.trace import EnergyTrace, energies_of, energy_trace

__all__ = ["EnergyTrace", "energies_of", "energy_trace", "ess", "rhat"]
