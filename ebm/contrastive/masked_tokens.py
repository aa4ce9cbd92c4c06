"""Masked tokens: the energy of a sequence is how badly a network predicts it from what it is shown.

    E(y, seen) = -Σ_t log p_t(y_t | seen),        p_t(· | seen) = softmax(network(seen)_t)

It is the auto-encoder of discrete data, and `Denoising(MaskTokens(mask))` trains it as BERT is trained: the
energy of the data is low where `seen` is a spoilt copy. A network that predicts each hidden token from all
others knows p(y_t | y_{-t}), which is what pseudo-likelihood asks of an energy:

    PLL(y) = Σ_t log p_t(y_t | y with token t masked)

Its negative scores whole sentences, at T calls of the network each. The conditionals of a network need not
belong to any one joint distribution, and nearly do after training.

Reference: Devlin, Chang, Lee, Toutanova (2019), "BERT", sect. 3.1; Salazar, Liang, Nguyen, Kirchhoff (2020),
"Masked Language Model Scoring", eq. 1; as energies: Goyal, Dyer, Berg-Kirkpatrick (2022), "Exposing the
Implicit Energy Networks behind Masked Language Models via Metropolis-Hastings".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebm.energy import Energy


class MaskedTokens(Energy):
    """E(y, seen) = -Σ_t log softmax(network(seen)_t)[y_t], of sequences of tokens y.

    The option `seen` is what the network gets to see in place of y. Tokens y are (B, T) int64, or one-hot
    (B, T, K), whose energy is linear in y for a given `seen`; the network sees the largest entry of each.

    Args:
        network: (B, T) int64 -> scores (B, T, K), for instance `TokenTransformer`.
        mask: the symbol that hides a token, below K: usually K - 1.

    Raises:
        ValueError: on a call, if the scores are no (B, T, K) with K above the mask, or a token is none of K.

    Example:
        >>> class Blind(nn.Module):  # all of 4 symbols are as likely, whatever it sees
        ...     def forward(self, tokens):
        ...         return torch.zeros(*tokens.shape, 4)
        >>> E, y = MaskedTokens(Blind(), mask=3), torch.tensor([[0, 2, 1]])
        >>> E(y=y), E.pseudo_log_likelihood(y)  # 3 log 4
        (tensor([4.1589]), tensor([-4.1589]))
    """

    def __init__(self, network: nn.Module, mask: int):
        super().__init__()
        self.network, self.mask = network, mask

    def forward(self, y: Tensor, seen: Tensor | None = None) -> Tensor:
        seen = y if seen is None else seen
        log_p = self.log_probabilities(seen.argmax(2) if seen.is_floating_point() else seen)
        symbols = log_p.shape[2]
        if y.is_floating_point() and y.shape != log_p.shape:
            raise ValueError(f"one-hot tokens are {tuple(log_p.shape)}, (B, T, K); got {tuple(y.shape)}.")
        if not y.is_floating_point() and y.numel() and not 0 <= int(y.min()) <= int(y.max()) < symbols:
            raise ValueError(
                f"tokens lie in [0, {symbols}), as many as the network has scores for; got {int(y.min())} to "
                f"{int(y.max())}."
            )
        if y.is_floating_point():
            return -(y * log_p).flatten(1).sum(1)
        return -log_p.gather(2, y.unsqueeze(2)).flatten(1).sum(1)

    def log_probabilities(self, seen: Tensor) -> Tensor:
        """log p_t(· | seen), (B, T, K), of tokens (B, T)."""
        scores = self.network(seen)
        if scores.ndim != 3 or scores.shape[:2] != seen.shape or scores.shape[2] <= self.mask:
            raise ValueError(
                f"the network must return a score for each place and symbol, {tuple(seen.shape)} + (K,) with "
                f"K > {self.mask}, the mask; it returned {tuple(scores.shape)}."
            )
        return torch.log_softmax(scores, 2)

    def log_conditionals(self, y: Tensor, max_rows: int | None = None) -> Tensor:
        """log p_t(· | y with token t masked), (B, T, K), of tokens (B, T).

        Args:
            y: (B, T) int64.
            max_rows: show the network at most about so many sequences at once; all B·T if None.
        """
        batch, length = y.shape
        parts = []
        places = torch.arange(length, device=y.device)
        for some in places.split(length if max_rows is None else max(1, max_rows // batch)):
            seen = y.unsqueeze(1).repeat(1, len(some), 1)  # (B, m, T)
            seen.scatter_(2, some.view(1, -1, 1).expand(batch, -1, 1), self.mask)
            log_p = self.log_probabilities(seen.flatten(0, 1)).unflatten(0, (batch, len(some)))
            at = some.view(1, -1, 1, 1).expand(batch, -1, 1, log_p.shape[3])
            parts.append(log_p.gather(2, at).squeeze(2))
        return torch.cat(parts, 1)

    def pseudo_log_likelihood(self, y: Tensor, max_rows: int | None = None) -> Tensor:
        """Σ_t log p_t(y_t | y with token t masked), (B,), in nats; T calls of the network for each row."""
        log_p = self.log_conditionals(y, max_rows)
        return log_p.gather(2, y.unsqueeze(2)).flatten(1).sum(1)
