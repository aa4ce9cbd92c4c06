from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State
from ebm.problem import dot


class Matrix:
    def lay(self, x: Tensor) -> Tensor:
        return x.t().contiguous().t()

    def begin(self, gradient: Tensor, size: Tensor) -> tuple[Tensor, State]:
        scale = size.clamp(min=1.0).reciprocal()
        eye = torch.eye(gradient.shape[1], dtype=gradient.dtype, device=gradient.device)
        return gradient * -scale.unsqueeze(1), {"inverse": (eye.unsqueeze(2) * scale).permute(2, 0, 1)}

    def update(self, state: State, s: Tensor, y: Tensor, g: Tensor, d: Tensor):
        h = state["inverse"].permute(1, 2, 0).contiguous()
        s, y, g, d = s.t(), y.t(), g.t(), d.t()
        hg = (h * g).sum(1)
        hy = hg + d
        sy, yhy = (s * y).sum(0), (y * hy).sum(0)
        learnt = sy > torch.finfo(sy.dtype).eps * yhy.abs()
        first = learnt & state["fresh"]
        if bool(first.any()):
            factor = torch.where(first, sy / yhy, 1.0)
            h, hg, hy, yhy = factor * h, factor * hg, factor * hy, factor * yhy
        rho = torch.where(learnt, sy.reciprocal(), 0.0)
        a = (0.5 * rho * (yhy * rho + 1) * s).addcmul_(rho, hy, value=-1)
        h = torch.addcmul(h, s.unsqueeze(1), a).addcmul_(a.unsqueeze(1), s)
        hg = hg.addcmul_(s, (a * g).sum(0)).addcmul_(a, (s * g).sum(0))
        return hg.neg_().t(), {"inverse": h.permute(2, 0, 1)}, learnt

class Pairs:
    def __init__(self, history): pass
