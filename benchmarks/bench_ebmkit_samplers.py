"""Samplers beside ebmkit's, the ratio recorded.

NUTS and underdamped Langevin have rules of their own on each side, so the check says what the draws of NUTS
are worth.
"""

from __future__ import annotations

from benchmarks import ebmkit_inputs as inputs
from benchmarks.ebmkit_case import ROUNDING, case, within, worth_less

WIDE = inputs.places(inputs.Network, 2)
MODES = inputs.places(inputs.EightModes, 2)

CASES = [
    case("Langevin, network, 256 chains", "langevin", WIDE, ROUNDING),
    case("underdamped Langevin, network, 256 chains", "underdamped", WIDE, within(0.1)),
    case("MALA, network, 256 chains", "mala", WIDE, within(0.01)),
    case("HMC, network, 256 chains", "hmc", WIDE, within(0.01)),
    case("NUTS, ellipse of 20 numbers", "nuts", inputs.places(inputs.Ellipse, 20), worth_less),
    case("parallel tempering of MALA, eight modes", "tempering", MODES, within(0.1)),
    case("annealed importance sampling, eight modes", "partition", MODES, within(0.1)),
    case("annealed Langevin, network", "annealed", inputs.points, ROUNDING),
    case("SVGD, network, 256 particles", "particles", WIDE, within(1e-3)),
    case("Gibbs with gradients, Ising 8 x 8", "flips", inputs.bits, within(0.01)),
    case("Gibbs with gradients, Potts 8 x 8 of 3 values", "recolors", inputs.bits, within(0.1)),
    case("block Gibbs, RBM of 64 and 32 bits", "blocks", inputs.bits, within(0.03)),
]
