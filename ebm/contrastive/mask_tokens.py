"""Hiding tokens: the corruption that BERT learns to undo.

    each token, with probability `share`, is chosen; a chosen one becomes
        the mask, with probability 1 - random - keep;    any symbol, `random`;    itself, `keep`

Were all chosen tokens masked, a network would learn to say something sensible at masks alone, which never
occur in use; so some are made wrong and some left right, and it cannot trust any token it sees.

Reference: Devlin, Chang, Lee, Toutanova (2019), "BERT: Pre-training of Deep Bidirectional Transformers for
Language Understanding", sect. 3.1 (15 %, of which 80, 10 and 10 %).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.contrastive.corruption import Corruption, probability


class MaskTokens(Corruption):
    """Hides some tokens of a sequence and makes others wrong, (B, *shape) int64 -> the same.

    Args:
        mask: the symbol that hides; random symbols are drawn from those below it, so it is the last one.
        share: in [0, 1], of the tokens chosen.
        random, keep: of the chosen ones, the shares that become any symbol and that stay; the rest is masked.

    Raises:
        ValueError: if a share is no probability or random and keep exceed 1 together; on a call, if a token
            is not below the mask.

    Example:
        >>> MaskTokens(mask=9, share=0.5)(torch.arange(8)[None], torch.Generator().manual_seed(0))
        tensor([[9, 1, 9, 9, 8, 5, 9, 7]])
    """

    def __init__(self, mask: int, share: float = 0.15, *, random: float = 0.1, keep: float = 0.1):
        if mask < 1:
            raise ValueError(f"mask is the symbol after all others, at least 1; got {mask}.")
        shares = {"share": share, "random": random, "keep": keep, "random + keep": random + keep}
        for name, value in shares.items():
            probability("MaskTokens", name, value)
        self.mask, self.share, self.random, self.keep = mask, share, random, keep

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if y.is_floating_point() or (y.numel() and not 0 <= int(y.min()) <= int(y.max()) < self.mask):
            raise ValueError(
                f"tokens are whole numbers in [0, {self.mask}), below the mask; got {y.dtype}"
                f"{f' from {y.min().item():g} to {y.max().item():g}' if y.numel() else ''}."
            )
        chosen, fate = torch.rand(2, *y.shape, generator=generator, device=y.device)
        symbols = torch.randint(self.mask, y.shape, generator=generator, device=y.device)
        seen = torch.where(fate < self.random, symbols, self.mask)
        return torch.where((chosen < self.share) & (fate < 1 - self.keep), seen, y)
