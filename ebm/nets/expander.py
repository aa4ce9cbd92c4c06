"""Heads on codes: the expander on which VICReg is computed, projectors and predictors of its relatives.

    h_0 = s,    h_l = ReLU(BN(W_l h_{l-1} + b_l)),    z = W_L h_{L-1}

A criterion on a wide z, thrown away after training, lets the code s keep what it would press out of z.

    expander            Linear BN ReLU, ..., Linear without bias          VICReg; Barlow Twins with bias=False
    byol_head           Linear BN ReLU Linear without bias                BYOL's projector, and its predictor
    simsiam_projector   Linear BN ReLU, twice, Linear BN without scale    SimSiam; no layer has a bias
    simsiam_predictor   Linear BN ReLU Linear                             SimSiam; a bottleneck

Batch normalization subtracts the batch's mean: in training mode the z of a row depends on all rows. In
evaluation mode (`net.eval()`) it doesn't, and `minimize` and `sample` ask for that. Weights start as
`ebm.nets.layers.linear` draws them, batch normalizations as the identity (scale 1, shift 0).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Generator, nn

from ebm.nets.layers import check_sizes, linear


def expander(*sizes: int, bias: bool = True, generator: Generator | None = None) -> nn.Sequential:
    """Linear, batch normalization and ReLU, repeated; the last layer is linear without bias.

    The published shape is `expander(2048, 8192, 8192, 8192)`. The hidden biases do nothing, as a
    normalization follows: they are there because the official code has them, and `bias=False` is Barlow
    Twins' projector.

    Args:
        sizes: the widths of codes, hidden layers and output; at least two.
        bias: whether the hidden linear layers have one.
        generator: source of the weights; the global one if None.

    Returns:
        A module (B, sizes[0]) -> (B, sizes[-1]); in training mode it mixes rows and needs 2 of them.

    Raises:
        ValueError: if there are fewer than two sizes, or one is not positive.

    Reference: Bardes, Ponce, LeCun (2021), "VICReg", sect. 4.2; Zbontar et al. (2021), "Barlow
    Twins", sect. 2.2.

    Example:
        >>> net = expander(16, 32, 64, generator=Generator().manual_seed(0))
        >>> [type(layer).__name__ for layer in net]
        ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
        >>> sum(p.numel() for p in net.parameters())  # 16·32 + 32 + 2·32 + 32·64
        2656
    """
    if len(sizes) < 2:
        raise ValueError(f"expander needs two widths or more, codes to output; got {sizes}.")
    check_sizes("expander", *sizes)
    layers = [
        layer
        for inputs, outputs in pairwise(sizes[:-1])
        for layer in _hidden(inputs, outputs, bias, generator)
    ]
    return nn.Sequential(*layers, linear(*sizes[-2:], bias=False, generator=generator))


def byol_head(
    inputs: int, *, hidden: int = 4096, outputs: int = 256, generator: Generator | None = None
) -> nn.Sequential:
    """BYOL's projector, `byol_head(2048)`, and its predictor, `byol_head(256)`: one hidden layer.

    Args:
        inputs: width of the codes, or of the projections.
        hidden, outputs: widths of the hidden layer and of the result.
        generator: source of the weights; the global one if None.

    Returns:
        A module (B, inputs) -> (B, outputs); in training mode it mixes rows and needs 2 of them.

    Raises:
        ValueError: if a width isn't positive.

    Reference: Grill et al. (2020), "Bootstrap Your Own Latent", sect. 3.3 and the official code.

    Example:
        >>> projector, predictor = byol_head(512), byol_head(256)
    """
    return expander(inputs, hidden, outputs, generator=generator)


def simsiam_projector(
    inputs: int, *, outputs: int = 2048, hidden: int | None = None, generator: Generator | None = None
) -> nn.Sequential:
    """SimSiam's projector: three linear layers, each normalized, the last one without scale, shift or ReLU.

    Args:
        inputs: width of the codes.
        outputs: width of the result.
        hidden: width of both hidden layers; `inputs` if None, as published.
        generator: source of the weights; the global one if None.

    Returns:
        A module (B, inputs) -> (B, outputs); in training mode it mixes rows and needs 2 of them.

    Raises:
        ValueError: if a width isn't positive.

    Reference: Chen, He (2021), "Exploring Simple Siamese Representation Learning", sect. 3 and the official
    code (whose last layer has a bias, frozen, in front of a normalization that removes it).

    Example:
        >>> import torch
        >>> z = simsiam_projector(4, outputs=8)(torch.randn(6, 4))
        >>> bool(z.mean(0).abs().max() < 1e-6)  # normalized over the batch
        True
    """
    hidden = inputs if hidden is None else hidden
    check_sizes("simsiam_projector", inputs, hidden, outputs)
    return nn.Sequential(
        *_hidden(inputs, hidden, False, generator),
        *_hidden(hidden, hidden, False, generator),
        linear(hidden, outputs, bias=False, generator=generator),
        nn.BatchNorm1d(outputs, affine=False),
    )


def simsiam_predictor(
    width: int = 2048, *, hidden: int = 512, generator: Generator | None = None
) -> nn.Sequential:
    """SimSiam's predictor: a bottleneck of a quarter of the width, and a plain linear layer after it.

    Args:
        width: of the projections, in and out.
        hidden: width of the bottleneck.
        generator: source of the weights; the global one if None.

    Returns:
        A module (B, width) -> (B, width); in training mode it mixes rows and needs 2 of them.

    Raises:
        ValueError: if a width isn't positive.

    Reference: Chen, He (2021), "Exploring Simple Siamese Representation Learning", sect. 3.

    Example:
        >>> sum(p.numel() for p in simsiam_predictor(8, hidden=2).parameters())  # 8·2 + 2·2 + 2·8 + 8
        44
    """
    check_sizes("simsiam_predictor", width, hidden)
    return nn.Sequential(
        *_hidden(width, hidden, False, generator), linear(hidden, width, generator=generator)
    )


def _hidden(inputs: int, outputs: int, bias: bool, generator: Generator | None) -> list[nn.Module]:
    return [linear(inputs, outputs, bias=bias, generator=generator), nn.BatchNorm1d(outputs), nn.ReLU()]
