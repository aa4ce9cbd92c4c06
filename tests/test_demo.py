"""The demo, each part run once: its page, its pictures, its numbers, and what they have to say."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ebm.demo import PARTS, run
from ebm.demo.part import Part, Picture
from ebm.demo.rooms import learn
from ebm.demo.run import MAKERS
from ebm.world import TwoRooms

VOID = {"meta", "link", "img", "br", "hr", "input"}  # elements of HTML that have no end tag


class Page(HTMLParser):
    """What a page refers to; an error where its tags are not balanced."""

    def __init__(self, path: Path):
        super().__init__()
        self.open, self.ids, self.links, self.images, self.words = ([] for _ in range(5))
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(given["src"])
            assert given["alt"].strip()  # said to those who cannot see it
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src") if name in given]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def finite(text: str) -> float:
    """A number, also where 1e999 would be one too large."""
    assert math.isfinite(float(text)), text
    return float(text)


def numbers_of(out: Path) -> dict[str, Any]:
    """numbers.json, which has to be JSON as others read it, too: no NaN, no Infinity."""
    text = (out / "numbers.json").read_text(encoding="utf-8")
    return json.loads(text, parse_constant=pytest.fail, parse_float=finite)


def check_folder(out: Path) -> Page:
    """Every file is on the page, everything on the page is a file, and no picture is blank."""
    page = Page(out / "index.html")
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        elif link != "data:,":  # the icon that there is not
            assert (out / link).is_file(), link
    pictures = sorted(path.name for path in out.iterdir() if path.suffix in (".png", ".gif"))
    assert sorted(page.images) == pictures
    there = sorted(path.name for path in out.iterdir() if path.name != ".training")  # to go on from
    assert there == sorted([*pictures, "index.html", "numbers.json"])
    for name in pictures:
        image = matplotlib.image.imread(out / name)
        image = image if image.dtype.kind == "f" else image / 255
        assert min(image.shape[:2]) > 200 and float(image[..., :3].std()) > 0.01, name
    return page


# --- the parts ----------------------------------------------------------------------------------------------

SLOW = {"digits"}  # a quick run takes 15 seconds
SAMPLERS = ("Langevin", "MALA", "HMC")
MARKED = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in PARTS]


@pytest.fixture(scope="module", params=MARKED)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A part's name and the folder that it was run into."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    assert run(out, [request.param], seed=0, quick=True) == out / "index.html"
    return request.param, out


def test_a_part_is_whole(made: tuple[str, Path]) -> None:
    name, out = made
    page = check_folder(out)
    assert page.ids[0] == name and len(page.images) >= 2
    assert all(image.startswith(f"{name}-") for image in page.images)
    assert "interrupted" not in "".join(page.words)
    numbers = numbers_of(out)
    assert list(numbers["parts"]) == [name] == list(numbers["seconds"])
    assert (numbers["parts"][name]["finished"], numbers["seed"], numbers["quick"]) == (True, 0, True)


def test_a_part_shows_what_its_words_claim(made: tuple[str, Path]) -> None:
    name, out = made
    checks = {"sparse-coding": sparse_coding, "digits": digits, "samplers": samplers, "rooms": rooms}
    check = checks[name]
    check(numbers_of(out)["parts"][name])


def sparse_coding(numbers: dict[str, Any]) -> None:
    """Learning pays, codes are sparse minima, and few atoms tell more than as many principal components."""
    assert numbers["held-out energy"] < 0.95 * numbers["held-out energy before learning"]
    assert numbers["largest duality gap"] < 1e-3 * numbers["held-out energy"]
    curves = numbers["unexplained share against active coefficients"]
    counts, shares = zip(*curves.pop("sparse coding")[:3], strict=True)
    assert counts[-1] < 10
    for name, points in curves.items():
        assert all(np.array(shares) < np.interp(counts, *zip(*points, strict=True))), name
    for cut in numbers["cut-outs"]:
        assert cut["rms error, sparse coding"] < cut["rms error, leading components"]


def digits(numbers: dict[str, Any]) -> None:
    """Pushing down only collapses, the other two do not; only these complete digits; labels are found."""
    ways = ("pushing down only", "contrastive", "regularized")
    verdicts = [numbers[way]["collapse"]["verdict"] for way in ways]
    assert verdicts == ["flat energy", "alive", "alive"]
    assert numbers["bits in the noisy code, at most"] == pytest.approx(32 * math.log2(1 + 1 / 4))
    completed = numbers["completions of the lower half"]
    for way in ways[1:]:
        assert completed[way]["converged"] > 0.9
        assert completed[way]["error"] < completed[ways[0]]["error"] < completed["the start: noise"]["error"]
    assert completed["the truth"]["error"] == 0
    classes = numbers["classes by minimization"]  # a tenth would be chance
    assert classes["of whole digits"] > 0.85 and classes["of upper halves"] > 0.7


def samplers(numbers: dict[str, Any]) -> None:
    """MALA and HMC are exact, Langevin with its large steps is not."""
    assert numbers["a ring"]["mean energy, exact"] == pytest.approx(0.5, abs=1e-6)  # one direction has energy
    for walks in (numbers["a ring"], numbers["eight modes"]):
        off = {name: walks[name]["mean energy off by, in standard errors"] for name in SAMPLERS}
        assert abs(off["MALA"]) < 4 and abs(off["HMC"]) < 4 and off["Langevin"] > 10
    for name in SAMPLERS:
        shares = numbers["eight modes"][name]["share of draws by mode"]
        assert len(shares) == 8 and sum(shares) == pytest.approx(1, abs=1e-5) and min(shares) > 0.05


def rooms(numbers: dict[str, Any]) -> None:
    """The codes are alive after the few steps of a quick run, which plans are not yet asked of."""
    assert numbers["training"]["steps"] == 120
    assert numbers["codes"]["codes spread"] > 0.3 and numbers["codes"]["codes directions"] > 1.2
    assert numbers["search"]["places"] >= 1
    assert set(numbers["episodes"]) >= {"planning", "straight ahead", "at random"}


def test_the_rooms_go_on_where_they_were_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebm.demo.rooms.STEPS", 4)
    monkeypatch.setattr("ebm.demo.rooms.WINDOWS", 100)
    world, part = TwoRooms(wall=32, door=16), Part("rooms", tmp_path, seed=0, quick=False)
    first = learn(part, world, 4)
    again = learn(part, world, 4)  # nothing is left to do
    assert len(again.history) == 4
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


# --- the page without the work ------------------------------------------------------------------------------


def sketch(part: Part) -> None:
    """A part that takes no time, and says things that HTML has to escape."""

    def line(figure: Figure) -> None:
        figure.subplots().plot([0, 1])

    part.introduce("Less < & more", "<i>E</i>", 'A "story" & <more>.')
    part.add(line, (4, 3), Picture(f"{part.name}.png", "a <title>", "a & b", 'an "alt"'))
    part.add_table("Table <1>", "a & b", ("", "x"), [("row <", "1 & 2")])
    part.numbers["many"] = [1.0, 2.0, part.generator().initial_seed()]


@pytest.mark.parametrize("shown", [True, False])
def test_an_interrupt_leaves_what_is_finished(
    shown: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(part: Part) -> None:
        if shown:
            sketch(part)
        raise KeyboardInterrupt

    monkeypatch.setitem(MAKERS, "sparse-coding", sketch)
    monkeypatch.setitem(MAKERS, "digits", interrupted)  # and samplers never begins
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, seed=3)
    page, parts = check_folder(tmp_path), numbers_of(tmp_path)["parts"]
    finished = {"sparse-coding": True} | ({"digits": False} if shown else {})
    assert {name: part["finished"] for name, part in parts.items()} == finished
    assert all(part["many"] == [1.0, 2.0, 3] for part in parts.values())
    assert page.images == [f"{name}.png" for name in finished]
    words = "".join(page.words)
    assert words.count("This part was interrupted") == len(finished) - 1
    for said in ('A "story" & <more>.', "a <title>", "row <"):
        assert words.count(said) == len(finished)


def test_parts_run_in_the_order_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PARTS:
        monkeypatch.setitem(MAKERS, name, sketch)
    run(tmp_path, ["samplers", "digits"])
    assert list(numbers_of(tmp_path)["parts"]) == ["samplers", "digits"]
    run(tmp_path)
    assert tuple(numbers_of(tmp_path)["parts"]) == PARTS == tuple(MAKERS)


def test_an_unknown_part_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="parts sparse-coding, digits, samplers, rooms; there is no 'faces'"):
        run(tmp_path / "out", ["samplers", "faces"])
    assert not (tmp_path / "out").exists()
