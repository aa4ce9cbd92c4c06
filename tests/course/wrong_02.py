"""Wrong answers to chapter 02: (exercise, what stands in the solution, what to put there, the message)."""

WRONG = [
    ("descend", "y - step_size", "y + step_size", "goes uphill"),
    (
        "descend",
        "slope.norm(dim=1) > tol",
        "(slope.norm(dim=1).mean() > tol).expand(len(y))",
        "its own verdict",
    ),
    ("descend", "slope.norm(dim=1) > tol", "(slope.norm(dim=1).max() > tol).expand(len(y))", "must stop"),
    ("descend", "slope.norm(dim=1)", "slope.square().sum(1)", "take the norm"),
    ("descend", "steps = steps + moving", "steps = steps + 1", "count a row only while it moves"),
    ("descend", "return y, steps", "return y", "two tensors"),
    ("descend", "return y, steps", "return y, steps + 1", "One step too many"),
    (
        "descend",
        "y = torch.where(moving[:, None], y - step_size * slope, y)",
        "y -= step_size * slope * moving[:, None]",
        "must not change",
    ),
    ("heavy_ball", "- step_size", "+ step_size", "goes uphill"),
    ("heavy_ball", "momentum * velocity - ", "-", "velocity is forgotten"),
    ("heavy_ball", "- step_size", "- (1 - momentum) * step_size", "averages gradients"),
    ("heavy_ball", "gradient(y)", "gradient(y + momentum * velocity)", "Nesterov"),
    ("conflicts", "0.5 * ", "", "counted twice"),
    ("conflicts", "0.5", "-0.5", "sign is turned"),
    ("conflicts", "(sees @ q)", "(q.sum(1, keepdim=True) - q)", "All pairs are counted"),
    ("conflicts", ".sum((1, 2))", ".mean((1, 2))", "This is a mean"),
    ("conflicts", ".sum((1, 2))", ".sum()", "must return shape"),
]
