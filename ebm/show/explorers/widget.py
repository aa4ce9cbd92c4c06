"""The live view of an explorer: an anywidget for JupyterLab, VS Code and Colab; one canvas renderer for all.

The page sends what the reader did, one message at a time; the state takes it, and the answer is a new frame.
canvas.js draws a panel, handle.js and explorer.js are the page around it; they need no network and no build.
Where anywidget isn't installed, `explore` gives a still picture instead; and every live view carries one, for
pages that show no widgets (GitHub, a site made of stored outputs).
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from ebm.show.explorers.picture import picture
from ebm.show.explorers.state import State
from ebm.show.explorers.wire import wire
from ebm.show.style import ENERGY_MAP

try:
    import anywidget
    import traitlets
except ImportError:  # a plain installation; the extra `tutorials` brings them
    anywidget = traitlets = None  # type: ignore[assignment]

HERE = Path(__file__).parent
SCRIPT = "\n".join((HERE / f"{name}.js").read_text("utf-8") for name in ("canvas", "explorer", "handle"))
STYLE = (HERE / "explorer.css").read_text("utf-8")
INSTALL = "A still picture: `pip install 'ebm-lab[tutorials]'`, and it moves under your hand."
RUN = "A still picture: run this notebook, and it moves under your hand."


def act(state: State, events: Sequence[Mapping[str, Any]]) -> bool | None:
    """Do to a state what a reader did, in order.

    Args:
        state: the explorer's state; it changes.
        events: each {"do": "set", "name", "value"}, {"do": "press", "name"}, {"do": "tick"}, or {"do": "drag"
            or "click", "name", "x", "y"}.

    Returns:
        What the last tick said, whether there is more to come; None if there was none.

    Raises:
        ValueError, TypeError: as the state does; for something that is not known how to do.

    Example:
        >>> from ebm.show.explorers import EllipseExplorer
        >>> ellipse = EllipseExplorer()
        >>> act(ellipse, [{"do": "set", "name": "beta", "value": 0.1}, {"do": "tick"}])
        True
    """
    more = None
    for event in events:
        match event:
            case {"do": "set", "name": name, "value": value}:
                state.set(name, value)
            case {"do": "press", "name": name}:
                state.press(name)
            case {"do": "drag", "name": name, "x": x, "y": y}:
                state.drag(name, x, y)
            case {"do": "click", "name": name, "x": x, "y": y}:
                state.click(name, x, y)
            case {"do": "tick"}:
                more = state.tick()
            case _:
                raise ValueError(f"an event is to set, press, drag, click or tick; got {json.dumps(event)}.")
    return more


def png(state: State, message: str = "") -> bytes:
    """The static view of a state as a file, with a message in small letters below.

    Example:
        >>> from ebm.show.explorers import EllipseExplorer
        >>> png(EllipseExplorer())[1:4]
        b'PNG'
    """
    figure, file = picture(state), io.BytesIO()
    figure.text(0.995, 0.01, message, fontsize=8, ha="right", color="#6E6E6E")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once, where `savefig` draws twice, and the reader waits for it
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(file, "png")
    return file.getvalue()


class Still:
    """The static view of an explorer, which a notebook shows as a picture.

    Args:
        state: the explorer's state; the picture is of the time when it is shown.
    """

    def __init__(self, state: State):
        self.state = state

    def _repr_png_(self) -> bytes:
        return png(self.state, INSTALL)


if anywidget is None:
    Explorer: Any = Still
else:

    class Explorer(anywidget.AnyWidget):  # type: ignore[no-redef]
        """The live view of an explorer, which a notebook shows.

        Args:
            state: the explorer's state. After changing it by code, call `refresh()`.

        Attributes:
            state: it.
            frame: what is shown now, as it went to the page; `frame["probe"]` are the state's numbers.
            images: the pictures that the frame names, as bytes.
        """

        _esm, _css = SCRIPT, STYLE
        frame = traitlets.Dict().tag(sync=True)
        images = traitlets.Dict().tag(sync=True)
        palette = traitlets.Bytes().tag(sync=True)

        def __init__(self, state: State):
            colors = mpl.colormaps[ENERGY_MAP](np.arange(256), bytes=True)[:, :3]
            frame, images = wire(state)
            self.state = state
            super().__init__(frame=self._answer(frame), images=images, palette=colors.tobytes())
            self.on_msg(self._heard)

        def refresh(self) -> None:
            """Show the state as it is now."""
            self._show()

        def _repr_mimebundle_(self, **options: Any) -> Any:
            """The widget, and a still picture beside it for a page that can't show widgets."""
            shown = super()._repr_mimebundle_(**options)
            if shown is None:
                return None
            data, metadata = shown
            return {**data, "image/png": base64.b64encode(png(self.state, RUN)).decode()}, metadata

        def _heard(self, _: Any, content: Mapping[str, Any], buffers: Any) -> None:
            if content.get("kind") != "explore":
                return
            more, problem = None, ""
            try:
                more = act(self.state, content["events"])
            except (ValueError, TypeError) as wrong:  # said on the page, where its reader looks
                problem = str(wrong)
            except Exception as wrong:  # a mistake in the state: the page must not wait for an answer in vain
                more, problem = False, f"{type(wrong).__name__}: {wrong}"
                raise
            finally:
                self._show(answered=content["id"], more=more, problem=problem)

        def _show(self, **answer: Any) -> None:
            frame, images = wire(self.state)
            with self.hold_sync():  # one message for both
                self.images = images
                self.frame = self._answer(frame, **answer)

        @staticmethod
        def _answer(
            frame: dict[str, Any], answered: str = "", more: bool | None = None, problem: str = ""
        ) -> dict[str, Any]:
            return {**frame, "answered": answered, "more": more, "problem": problem}


def explore(state: State) -> Any:
    """Show an explorer: live where anywidget is installed, else as a still picture that says so.

    Args:
        state: what to explore, as `EllipseExplorer()`.

    Returns:
        An `Explorer`, or a `Still`: the last line of a notebook's cell.

    Raises:
        TypeError: for something that is no state.

    Example:
        >>> from ebm.show.explorers import EllipseExplorer
        >>> view = explore(EllipseExplorer())
        >>> view.state.drag("y", 0.0, 0.0)
    """
    if not isinstance(state, State):
        raise TypeError(f"explore shows a State, such as EllipseExplorer(); got {state!r}.")
    return Explorer(state)
