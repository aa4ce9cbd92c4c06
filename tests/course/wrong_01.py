"""Wrong answers to chapter 01: (exercise, what stands in the solution, what to put there, the message)."""

WRONG = [
    ("energy_table", "return (", "return -(", "sign is turned"),
    ("energy_table", ".square().sum(2)", ".square().mean(2)", "mean over the two coordinates"),
    ("energy_table", ".square().sum(2)", ".square().sum(2).sqrt()", "its square"),
    ("energy_table", ".sum(2)", "", "must return shape"),
    ("energy_table", "[w[0] * z.cos(), w[1] * z.sin()]", "[w[1] * z.cos(), w[0] * z.sin()]", "exchanged"),
    ("free_energy", " - math.log(len(z))", "", "1/N_z is missing"),
    ("free_energy", "return -(torch", "return (torch", "sign is turned"),
    ("free_energy", ") / beta", ")", "1/β is missing"),
    ("free_energy", "table.min(1).values", "table.argmin(1)", "argmin"),
    ("free_energy", "table.min(1)", "table.max(1)", "the worst z"),
    (
        "free_energy",
        "-(torch.logsumexp(-beta * table, 1) - math.log(len(z))) / beta",
        "(torch.softmax(-beta * table, 1) * table).sum(1)",
        "entropy H",
    ),
    ("weight_slope", "-2 *", "2 *", "sign is turned"),
    ("weight_slope", "-2 *", "-1 *", "factor 2"),
    ("weight_slope", ".mean(0)", ".sum(0)", "1/N is missing"),
    (
        "weight_slope",
        "return (-2 * (y - w * direction) * direction).mean(0)",
        "c = torch.stack([z.cos(), z.sin()], 1)\n    return (-2 * (y[:, None] - w * c) * c).mean((0, 1))",
        "averages over all z",
    ),
]
