"""Pictures of simple scenes: round shapes with soft edges, drawn from their distances.

    cover(pixel) = clip(½ - distance(pixel), 0, 1),        picture <- picture (1 - cover) + color · cover

`distance` is that from the pixel's center to the shape's edge, in pixels, negative inside: an edge is one
pixel wide. Colors are those of Okabe & Ito (2008).
"""

from __future__ import annotations

import torch
from torch import Tensor

Color = tuple[float, float, float]
BLUE: Color = (0.0, 0.447, 0.698)
VERMILION: Color = (0.835, 0.369, 0.0)
GREEN: Color = (0.0, 0.62, 0.451)
LIGHT: Color = (0.8, 0.8, 0.8)
DARK: Color = (0.25, 0.25, 0.25)


class Pictures:
    """B pictures, white at first; x goes to the right and y down, in pixels.

    Args:
        batch: B.
        height, width: in pixels.
        device: where they are drawn.

    Example:
        >>> pictures = Pictures(1, 5, 5)
        >>> pictures.line(torch.tensor([[2.0, 2.0]]), torch.tensor([[2.0, 2.0]]), 1.0, (0.0, 0.0, 0.0))
        >>> pictures.frames()[0, 2, :, 0]
        tensor([255, 128,   0, 128, 255], dtype=torch.uint8)
    """

    def __init__(self, batch: int, height: int, width: int, device: torch.device | None = None):
        self.ink = torch.ones(batch, height, width, 3, device=device)
        self.x = torch.arange(width, device=device, dtype=torch.float32)
        self.y = torch.arange(height, device=device, dtype=torch.float32)[:, None]

    def line(self, start: Tensor, end: Tensor, radius: float, color: Color) -> None:
        """A thick line with round ends, or a disc where start and end agree, (B, 2) each."""
        (ax, ay), (bx, by) = (point.float().unbind(-1) for point in (start, end))
        ax, ay, bx, by = (value[:, None, None] for value in (ax, ay, bx, by))
        squared = ((bx - ax) ** 2 + (by - ay) ** 2).clamp(min=1e-12)
        along = (((self.x - ax) * (bx - ax) + (self.y - ay) * (by - ay)) / squared).clamp(0, 1)
        across = self.x - ax - along * (bx - ax), self.y - ay - along * (by - ay)
        self._paint(torch.hypot(*across) - radius, color)

    def disc(self, center: Tensor, radius: float, color: Color) -> None:
        """A disc around (B, 2)."""
        self.line(center, center, radius, color)

    def box(self, center: Tensor, width: float, height: float, color: Color) -> None:
        """An upright rectangle around (B, 2)."""
        x, y = (value[:, None, None] for value in center.float().unbind(-1))
        self._paint(torch.maximum((self.x - x).abs() - width / 2, (self.y - y).abs() - height / 2), color)

    def frames(self) -> Tensor:
        """The pictures, (B, H, W, 3) uint8."""
        return (255 * self.ink).round().to(torch.uint8)

    def _paint(self, distance: Tensor, color: Color) -> None:
        cover = (0.5 - distance).clamp(0, 1).unsqueeze(-1)  # (B, H, W, 1)
        self.ink = self.ink * (1 - cover) + cover * self.ink.new_tensor(color)
