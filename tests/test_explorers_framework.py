"""What all explorers stand on: scenes, controls, states, the picture, the frame that travels, the widget."""

from __future__ import annotations

import base64
import itertools
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ebm.show import explorers
from ebm.show.explorers import (
    Bars,
    Button,
    Choice,
    Dots,
    EllipseExplorer,
    Gray,
    Handle,
    Heat,
    Landscape,
    Line,
    Panel,
    Scene,
    Slider,
    State,
    Toggle,
    array,
    explore,
    picture,
    widget,
)
from ebm.show.explorers.widget import Still, act
from ebm.show.explorers.wire import wire

BLUE = "#0072B2"
UNIT = (0.0, 1.0, 0.0, 1.0)


class Everything(State):
    """A state with one of each: what a reader does is written down."""

    title, handles = "Everything", ("corner",)

    def __init__(self) -> None:
        self.x, self.word, self.on, self.done = 0.5, "a", False, []
        self.corner = (0.25, 0.75)

    def controls(self):
        return (
            Slider("x", "ex", 0.0, 1.0, self.x),
            Choice("word", "Word", ("a", "b"), self.word),
            Toggle("on", "On", self.on),
            Button("go", "Go"),
        )

    def _press(self, name):
        self.done.append(name)

    def _drag(self, name, x, y):
        self.corner = (x, y)

    def _click(self, panel, x, y):
        self.done.append((panel, x, y))

    def tick(self):
        self.done.append("tick")
        return len(self.done) < 3

    def scene(self):
        field = np.array([[0.0, 1.0, 2.0], [3.0, np.nan, 9.0]])
        first = Panel(
            "Field",
            "x",
            "y",
            UNIT,
            (
                Heat(field, 0.0, 4.0, "energy"),
                Line(np.array([[0.0, 0.0], [np.nan, 0.0], [1.0, 1.0]]), BLUE, "line", dashed=True),
                Dots(np.array([[0.5, 0.5]]), BLUE, 6, "dots"),
                Handle("corner", *self.corner, "corner", BLUE),
            ),
            clickable=True,
        )
        second = Panel(
            "Bars", "", "height", (-0.5, 1.5, 0.0, 2.0), (Bars(np.ones(2), BLUE, ("p", "q")),), equal=False
        )
        third = Panel("Image", "", "", UNIT, (Gray(np.array([[0.0, 1.0], [0.5, 2.0]])),))
        return Scene((first, second, third), "One of each.")

    def probe(self):
        return {"x": self.x, "inf": math.inf, "done": float(len(self.done))}


# --- scenes -------------------------------------------------------------------------------------------------


def test_layers_refuse_arrays_of_another_shape() -> None:
    with pytest.raises(
        ValueError, match=r"Line needs points as a numpy array \(N, 2\); got ndarray of shape \(3,\)"
    ):
        Line(np.zeros(3), BLUE)
    with pytest.raises(ValueError, match=r"Dots needs points .* got Tensor of shape .*array\(tensor\)"):
        Dots(torch.zeros(2, 2), BLUE)
    with pytest.raises(ValueError, match=r"Heat needs values as a numpy array \(N, N\)"):
        Heat(np.zeros((0, 3)), 0.0, 1.0, "energy")
    with pytest.raises(ValueError, match=r"finite low < high; got low=1\.0, high=1\.0"):
        Heat(np.zeros((2, 2)), 1.0, 1.0, "energy")
    with pytest.raises(ValueError, match="2 bars have as many labels"):
        Bars(np.zeros(2), BLUE, ("a",))
    assert Dots(np.zeros((0, 2)), BLUE).points.shape == (0, 2)  # none are fine


def test_panels_and_scenes_are_told_apart_by_name() -> None:
    panel = Panel("A", "x", "y", UNIT, (Handle("h", 0, 0, "h", BLUE),))
    other = Panel("B", "x", "y", UNIT, (Handle("h", 0, 0, "h", BLUE),))
    with pytest.raises(ValueError, match=r"panels need titles that are all different; got \['A', 'A'\]"):
        Scene((panel, panel), "")
    with pytest.raises(ValueError, match=r"handles need names that are all different; got \['h', 'h'\]"):
        Scene((panel, other), "")
    with pytest.raises(ValueError, match="one panel at least"):
        Scene((), "")
    with pytest.raises(ValueError, match=r"x0 < x1 and y0 < y1"):
        Panel("A", "x", "y", (1.0, 0.0, 0.0, 1.0), ())


def test_array_takes_tensors_with_a_graph() -> None:
    found = array(torch.ones(2, 2, requires_grad=True) * 2)
    assert found.dtype == np.float64 and found.tolist() == [[2.0, 2.0], [2.0, 2.0]]


# --- controls and states ------------------------------------------------------------------------------------


def test_sliders_snap_to_their_steps_and_know_their_ends() -> None:
    slider = Slider("n", "steps", 1, 10, 3, step=2)
    assert [slider.check(v) for v in (1, 1.9, 2.1, 9)] == [1.0, 1.0, 3.0, 9.0]
    assert Slider("x", "x", 0.1, 0.7, 0.1).check(0.7 + 1e-12) == 0.7  # a browser's rounding
    for wrong in (0.999, 10.2, math.nan):
        with pytest.raises(ValueError, match=r'steps \("n"\) goes from 1 to 10; got'):
            slider.check(wrong)
    with pytest.raises(TypeError, match="is a number; got 'a'"):
        slider.check("a")
    with pytest.raises(ValueError, match="logarithmic, so low > 0"):
        Slider("x", "x", 0.0, 1.0, 0.5, log=True)
    with pytest.raises(ValueError, match="goes from 0 to 1; got 2"):
        Slider("x", "x", 0, 1, 2)


def test_choices_and_toggles_refuse_other_values() -> None:
    with pytest.raises(ValueError, match="is one of 'a', 'b'; got 'c'"):
        Choice("word", "Word", ("a", "b"), "c")
    with pytest.raises(ValueError, match="options that are all different"):
        Choice("word", "Word", ("a", "a"), "a")
    with pytest.raises(TypeError, match="is True or False; got 1"):
        Toggle("on", "On", True).check(1)


def test_a_state_takes_what_it_has_and_refuses_the_rest() -> None:
    state = Everything()
    state.set("x", 1)
    state.set("word", "b")
    state.set("on", True)
    state.press("go")
    state.drag("corner", 0.5, 0.5)
    state.click("Field", 0.1, 0.2)
    assert (state.x, state.word, state.on, state.corner) == (1.0, "b", True, (0.5, 0.5))
    assert state.done == ["go", ("Field", 0.1, 0.2)]
    for call, message in (
        (lambda: state.set("y", 1), "Everything has no control 'y' to set; it has x, word, on"),
        (lambda: state.set("go", 1), "has no control 'go' to set"),
        (lambda: state.press("x"), "has no button 'x' to press; it has go"),
        (lambda: state.drag("edge", 0, 0), "has no handle 'edge' to drag; it has corner"),
        (lambda: state.drag("corner", math.nan, 0), "two finite numbers"),
        (lambda: state.click("Bars", 0, 0), "has no panel 'Bars' to click; it has Field"),
        (lambda: state.set("x", 2.0), "goes from 0.0 to 1.0; got 2.0"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


def test_only_states_with_a_tick_play() -> None:
    class Quiet(Everything):
        tick = State.tick

    assert Everything().plays and not Quiet().plays and Quiet().tick() is False


def test_a_hook_that_is_missing_is_named() -> None:
    class Half(Everything):
        _press, _drag = State._press, State._drag

    with pytest.raises(NotImplementedError, match=r"Half has buttons, so it needs _press\(name\)"):
        Half().press("go")


# --- the picture --------------------------------------------------------------------------------------------


def test_the_picture_holds_every_layer() -> None:
    figure = picture(Everything())
    field, _, bars, image = figure.axes  # the second is the color bar
    assert [ax.get_title("left") for ax in (field, bars, image)] == ["Field", "Bars", "Image"]
    drawn = np.asarray(field.images[0].get_array(), dtype=float)
    np.testing.assert_array_equal(np.nan_to_num(drawn, nan=-1), [[0, 1, 2], [3, -1, 9]])
    assert field.images[0].get_clim() == (0.0, 4.0) and field.images[0].origin == "lower"
    assert field.get_xlim() == field.get_ylim() == (0.0, 1.0)
    assert [text.get_text() for text in field.get_legend().get_texts()] == ["line", "dots"]
    handle = field.lines[-1]
    assert (handle.get_xdata()[0], handle.get_ydata()[0]) == (0.25, 0.75)
    assert to_rgba(handle.get_color()) == to_rgba(BLUE)
    assert [patch.get_height() for patch in bars.patches] == [1.0, 1.0]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["p", "q"]
    assert image.images[0].origin == "upper" and not image.get_xticks().size
    words = " ".join(text.get_text() for text in figure.texts)
    assert "One of each." in words and "ex = 0.5" in words and "Word: a" in words


@pytest.mark.parametrize("state", [Everything, EllipseExplorer, Landscape])
def test_nothing_in_a_picture_overlaps_or_leaves_it(state) -> None:
    figure = picture(state())
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [ax.get_tightbbox(renderer) for ax in figure.axes if ax.get_title("left")]
    legends = [ax.get_legend().get_window_extent(renderer) for ax in figure.axes if ax.get_legend()]
    (words,) = [text.get_window_extent(renderer) for text in figure.texts]
    for left, right in itertools.pairwise(boxes):
        assert left.x1 <= right.x0
    assert all(words.y1 <= box.y0 + 1 for box in [*boxes, *legends])
    whole = figure.bbox
    assert all(
        whole.x0 <= b.x0 and b.x1 <= whole.x1 and whole.y0 <= b.y0 and b.y1 <= whole.y1
        for b in [*boxes, words]
    )


def test_a_figure_can_be_given() -> None:
    figure = Figure(figsize=(10, 4))
    assert picture(Everything(), figure) is figure and len(figure.axes) == 4


# --- what travels -------------------------------------------------------------------------------------------


def test_the_frame_is_json_and_its_images_are_bytes() -> None:
    frame, images = wire(Everything())
    frame = json.loads(json.dumps(frame, allow_nan=False))  # no NaN, no infinity
    assert [control["kind"] for control in frame["controls"]] == ["slider", "choice", "toggle", "button"]
    heat, line, dots, handle = frame["panels"][0]["layers"]
    assert (heat["rows"], heat["columns"], heat["low"], heat["high"]) == (2, 3, 0.0, 4.0)
    assert list(images[heat["image"]]) == [190, 255, 254, 0, 64, 127]  # top row first; 255 is NaN; 9 is above
    assert line["points"] == [[0.0, 0.0], [None, 0.0], [1.0, 1.0]] and line["dashed"] is True
    assert dots["size"] == 6 and handle["x"] == 0.25 and handle["name"] == "corner"
    assert frame["panels"][1]["layers"][0]["labels"] == ["p", "q"]
    gray = frame["panels"][2]["layers"][0]
    assert list(images[gray["image"]]) == [0, 255, 128, 255] and gray["extent"] == [0.0, 1.0, 0.0, 1.0]
    assert frame["probe"] == {"x": 0.5, "inf": "inf", "done": 0.0} and frame["plays"] is True


def test_an_image_is_named_by_its_content() -> None:
    explorer = EllipseExplorer()
    first = wire(explorer)[1]
    explorer.drag("y", 0.1, 0.2)  # moves a handle and a line; both fields stay
    assert wire(explorer)[1].keys() == first.keys()
    explorer.set("beta", 0.5)
    assert not wire(explorer)[1].keys() & first.keys()


def test_events_are_done_in_order() -> None:
    state = Everything()
    assert act(state, [{"do": "press", "name": "go"}, {"do": "tick"}]) is True
    assert act(state, [{"do": "tick"}]) is False and act(state, []) is None
    act(state, [{"do": "set", "name": "x", "value": 0.2}, {"do": "set", "name": "x", "value": 0.3}])
    assert state.x == 0.3
    with pytest.raises(ValueError, match="set, press, drag, click or tick; got"):
        act(state, [{"do": "jump"}])


# --- the widget ---------------------------------------------------------------------------------------------


@pytest.fixture
def live():
    pytest.importorskip("anywidget")
    return explore(Everything())


def test_the_widget_answers_what_it_hears(live) -> None:
    assert live.frame["text"] == "One of each." and live.frame["answered"] == ""
    assert len(live.palette) == 768 and live.palette[:3] == bytes([0, 34, 77])  # cividis begins dark blue
    live._heard(
        live, {"kind": "explore", "id": "me-1", "events": [{"do": "set", "name": "x", "value": 0.9}]}, []
    )
    assert live.state.x == 0.9 and live.frame["probe"]["x"] == 0.9
    assert (live.frame["answered"], live.frame["problem"]) == ("me-1", "")
    live._heard(live, {"kind": "explore", "id": "me-2", "events": [{"do": "press", "name": "no"}]}, [])
    assert live.frame["answered"] == "me-2" and "has no button 'no'" in live.frame["problem"]
    live._heard(live, {"kind": "another"}, [])
    assert live.frame["answered"] == "me-2"
    live.state.x = 0.1
    live.refresh()
    assert live.frame["probe"]["x"] == 0.1


def test_images_are_sent_anew_only_when_they_change(live) -> None:
    sent: list[set[str]] = []
    live.send_state = lambda key=None: sent.append({key} if isinstance(key, str) else set(key or ()))
    live._heard(
        live, {"kind": "explore", "id": "1", "events": [{"do": "set", "name": "x", "value": 0.7}]}, []
    )
    assert sent == [{"frame"}]


def test_without_anywidget_there_is_a_still_picture_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widget, "Explorer", Still)
    view = explore(Everything())
    assert isinstance(view, Still) and view._repr_png_().startswith(b"\x89PNG")
    assert "pip install 'ebm-lab[tutorials]'" in widget.INSTALL
    with pytest.raises(TypeError, match=r"explore shows a State, such as EllipseExplorer\(\); got 3"):
        explore(3)


def test_beside_the_widget_there_is_the_picture_of_now(live) -> None:
    """For pages that keep outputs and show no widgets: the static view's own pixels, with a message."""
    before, _ = live._repr_mimebundle_()
    live.state.x = 0.9
    now, _ = live._repr_mimebundle_()
    assert now["application/vnd.jupyter.widget-view+json"]["model_id"] == live.model_id
    assert base64.b64decode(now["image/png"]) == widget.png(live.state, widget.RUN)
    assert now["image/png"] != before["image/png"] and "run this notebook" in widget.RUN


def test_a_mistake_in_a_state_is_told_to_the_page_and_raised(live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.state, "tick", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        live._heard(live, {"kind": "explore", "id": "me-1", "events": [{"do": "tick"}]}, [])
    assert (live.frame["answered"], live.frame["more"]) == ("me-1", False)
    assert live.frame["problem"] == "ZeroDivisionError: division by zero"


def test_every_kind_of_layer_and_control_has_its_part_in_the_script() -> None:
    script = widget.SCRIPT
    for kind in ("heat", "gray", "line", "dots", "bars", "handle"):
        assert re.search(rf"^  {kind}\(", script, re.MULTILINE), kind
    for kind in ("slider", "choice", "toggle", "button"):
        assert re.search(rf"^  {kind}\(c, talk\)", script, re.MULTILINE), kind
    assert "http" not in script and "import(" not in script and script.count("export default") == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, to parse the script")
def test_the_script_parses() -> None:
    done = subprocess.run(
        ["node", "--input-type=module", "--check"],
        input=widget.SCRIPT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_explorer_answers_within_its_means() -> None:
    """Whatever is exported as a state makes a scene, a probe of finite or infinite floats, and a frame."""
    for name in explorers.__all__:
        made = getattr(explorers, name)
        if isinstance(made, type) and issubclass(made, State) and made is not State:
            state = made()
            assert state.title and all(isinstance(v, float) for v in state.probe().values()), name
            json.dumps(wire(state)[0], allow_nan=False)
            shown = {h.name for panel in state.scene().panels for h in panel.of(Handle)}
            assert shown <= set(state.handles), name
