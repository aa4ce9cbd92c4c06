"""What goes to the browser: a state as one JSON frame, and the images that it names as bytes.

Fields and images travel as one byte a value, under a name that follows from their content, so that the same
picture is sent once. Numbers that JSON has no word for (NaN, infinity) become null in points and words in the
probe.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from ebm.show.explorers.controls import Button, Control
from ebm.show.explorers.scene import Bars, Dots, Gray, Handle, Heat, Layer, Line, Panel
from ebm.show.explorers.state import State

BLANK = 255  # the byte of a NaN in a field; values use 0 to 254


def wire(state: State) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A state as it goes to the browser.

    Args:
        state: any explorer's state.

    Returns:
        The frame, which JSON can hold (title, plays, verb, pace, controls, panels, text, probe), and the
        bytes of the images that its layers name.

    Example:
        >>> from ebm.show.explorers import EllipseExplorer
        >>> frame, images = wire(EllipseExplorer())
        >>> frame["title"], frame["controls"][0]["name"], sorted(map(len, images.values()))
        ('The latent ellipse', 'w1', [961, 4453])
    """
    scene = state.scene()
    images: dict[str, bytes] = {}
    frame = {
        "title": state.title,
        "plays": state.plays,
        "verb": state.verb,
        "pace": state.pace,
        "controls": [_control(control) for control in state.controls()],
        "panels": [_panel(panel, images) for panel in scene.panels],
        "text": scene.text,
        "probe": {name: v if math.isfinite(v) else str(v) for name, v in state.probe().items()},
    }
    return frame, images


def levels(heat: Heat) -> np.ndarray:
    """A field as bytes (R, C), the first row on top: 0 at `low`, 254 at `high`, 255 for NaN.

    Example:
        >>> levels(Heat(np.array([[0.0, 0.5], [1.0, np.nan]]), 0.0, 1.0, "energy")).tolist()
        [[254, 255], [0, 127]]
    """
    part = np.clip((heat.values[::-1] - heat.low) / (heat.high - heat.low), 0, 1)
    return np.where(np.isnan(part), BLANK, np.rint(254 * np.nan_to_num(part))).astype(np.uint8)


def _control(control: Control) -> dict[str, Any]:
    kind = type(control).__name__.lower()
    return (
        {"kind": kind, **asdict(control)}
        if not isinstance(control, Button)
        else {"kind": kind, "name": control.name, "label": control.label}
    )


def _panel(panel: Panel, images: dict[str, bytes]) -> dict[str, Any]:
    return {
        "title": panel.title,
        "xlabel": panel.xlabel,
        "ylabel": panel.ylabel,
        "extent": [float(v) for v in panel.extent],
        "equal": panel.equal,
        "clickable": panel.clickable,
        "layers": [_layer(layer, panel, images) for layer in panel.layers],
    }


def _layer(layer: Layer, panel: Panel, images: dict[str, bytes]) -> dict[str, Any]:
    kind = {"kind": type(layer).__name__.lower()}
    if isinstance(layer, Handle):
        return {**kind, **asdict(layer)}
    if isinstance(layer, Heat):
        ends = {"low": float(layer.low), "high": float(layer.high), "label": layer.label}
        return {**kind, **_image(levels(layer), images), **ends}
    if isinstance(layer, Gray):
        shades = np.rint(255 * np.clip(np.nan_to_num(layer.values), 0, 1)).astype(np.uint8)
        return {**kind, **_image(shades, images), "extent": [float(v) for v in layer.extent or panel.extent]}
    if isinstance(layer, Bars):
        return {
            **kind,
            "heights": _numbers(layer.heights),
            "color": layer.color,
            "labels": list(layer.labels),
        }
    look: dict[str, Any] = {"points": _numbers(layer.points), "color": layer.color, "label": layer.label}
    if isinstance(layer, Line):
        look |= {"dashed": layer.dashed, "width": layer.width}
    elif isinstance(layer, Dots):
        look |= {"size": layer.size}
    return {**kind, **look}


def _image(values: np.ndarray, images: dict[str, bytes]) -> dict[str, Any]:
    content = values.tobytes()
    name = hashlib.blake2b(content, digest_size=8).hexdigest()
    images[name] = content
    return {"image": name, "rows": values.shape[0], "columns": values.shape[1]}


def _numbers(values: np.ndarray) -> list:
    """Nested lists with null for what isn't finite; six digits are more than a screen has."""
    size = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    short = np.round(values.astype(np.float64), 6 - math.ceil(math.log10(size)) if size > 0 else 0)
    found = short.astype(object)
    found[~np.isfinite(short)] = None
    return found.tolist()
