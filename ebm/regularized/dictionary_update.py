"""The dictionary's half of dictionary learning: the best atoms for codes that are held.

    argmin_D Σ_t ½ |y_t - z_t D|²  with |D_j| = 1,        by A = Σ z_tᵀ z_t (K, K) and B = Σ z_tᵀ y_t (K, P)

One atom after the other, where A_jj > 0: D_j ← u_j / |u_j| with u_j = B_j - Σ_{k ≠ j} A_jk D_k. Older codes,
made with older dictionaries, are forgotten: A ← ρ A + Zᵀ Z with ρ = (t / (t + 1))².

Reference: Mairal, Bach, Ponce & Sapiro (2009), "Online Dictionary Learning for Sparse Coding", alg. 2;
forgetting: their JMLR paper (2010), sect. 3.4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

FORGETTING = 2.0  # exponent of t / (t + 1)
PATIENCE = 10  # steps without use after which an atom is replaced


class DictionaryStatistics:
    """What data y and their codes z have told about the dictionary: A, B and how long each atom lay idle.

    Args:
        dictionary: D, (K, P), unit rows; for the shapes, dtype and device.
    """

    def __init__(self, dictionary: Tensor):
        atoms, size = dictionary.shape
        self.code_products = dictionary.new_zeros(atoms, atoms)  # A
        self.data_products = dictionary.new_zeros(atoms, size)  # B
        self.idle = torch.zeros(atoms, dtype=torch.int64, device=dictionary.device)
        self.steps = 0

    def add(self, y: Tensor, z: Tensor) -> None:
        """Take in data (B, P) and its codes (B, K), and forget a little of what came before."""
        kept = (self.steps / (self.steps + 1)) ** FORGETTING
        self.code_products.mul_(kept).addmm_(z.T, z)
        self.data_products.mul_(kept).addmm_(z.T, y)
        self.idle = torch.where((z != 0).any(0), 0, self.idle + 1)
        self.steps += 1

    def improve(self, dictionary: Tensor) -> None:
        """One pass of block coordinate descent over the atoms that have been used, in place."""
        used = self.code_products.diagonal() > 0
        others = self.code_products.diagonal().diag() - self.code_products  # -A_j without its own A_jj
        tiny = torch.finfo(dictionary.dtype).tiny
        rows = zip(dictionary.unbind(), others.unbind(), self.data_products.unbind(), strict=True)
        for (atom, products, data), counts in zip(rows, used.tolist(), strict=True):
            if counts:
                best = torch.addmv(data, dictionary.T, products)
                torch.div(best, torch.linalg.vector_norm(best).clamp_(min=tiny), out=atom)

    def replace_idle(self, dictionary: Tensor, y: Tensor, energy: Tensor) -> int:
        """Give idle atoms the data (B, P) of the highest energy (B,), in place; returns how many."""
        dead = (self.idle >= PATIENCE).nonzero().flatten()
        worst = energy.argsort(descending=True)[: len(dead)]
        length = torch.linalg.vector_norm(y[worst], dim=1, keepdim=True)
        worst, length = worst[length[:, 0] > 0], length[length[:, 0] > 0]
        dead = dead[: len(worst)]
        dictionary[dead] = y[worst] / length
        self.code_products[dead] = 0
        self.code_products[:, dead] = 0
        self.data_products[dead] = 0
        self.idle[dead] = 0
        return len(dead)
