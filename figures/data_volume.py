"""What a four-year-old has seen, beside what a language model has read.

    seen = hours awake · 3600 s · 2 eyes · 10⁷ bit/s / 8          read = tokens · characters a token · 1 byte

Everything is computed from the numbers below, published ones and rules of thumb, each with its source; the
figure claims no more than their order of magnitude. Words that are heard are counted as they would be
written. Right, how long the same text takes a person who reads eight hours a day.

Reference: LeCun (2024), talks on objective-driven AI, for the comparison (16,000 hours awake, 2 million
fibers of the optic nerves at about a byte a second: 10¹⁴ bytes).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ebm.show import style
from ebm.show.style import BLUE, GREEN, ORANGE

ALT = (
    "Bytes on a logarithmic scale: a four-year-old has seen about 150 terabytes, a language model has read "
    "about 60, which would take a person 280,000 years; the words that the child heard make 0.1 gigabytes."
)
SOURCES: dict[str, tuple[float, str]] = {
    "hours of sleep a day, age 0 to 3 months": (15.5, "Hirshkowitz et al. (2015): 14 to 17 recommended"),
    "hours of sleep a day, age 4 to 11 months": (13.5, "Hirshkowitz et al. (2015): 12 to 15 recommended"),
    "hours of sleep a day, age 1 and 2": (12.5, "Hirshkowitz et al. (2015): 11 to 14 recommended"),
    "hours of sleep a day, age 3": (11.5, "Hirshkowitz et al. (2015): 10 to 13 recommended"),
    "bits a second of an eye": (1e7, "Koch et al. (2006), 'How much the eye tells the brain'"),
    "words heard a day": (12_300, "Gilkerson et al. (2017): about so many adult words in 12 hours"),
    "tokens": (15.6e12, "Llama Team (2024), 'The Llama 3 herd of models', 405B: 15.6 T tokens"),
    "characters a token": (3.94, "Llama Team (2024), sect. 3.2: English, 128k vocabulary"),
    "tokens a word": (4 / 3, "the usual rule of thumb: a token is three quarters of an English word"),
    "words read a minute": (238, "Brysbaert (2019), 'How many words do we read per minute?'"),
}
PREFIXES = ("", "k", "M", "G", "T", "P")
HOURS_A_DAY, DAYS_A_YEAR = 8, 365.25


def volumes() -> dict[str, float]:
    """Hours, bytes and years, by name."""
    known = {name: value for name, (value, _) in SOURCES.items()}
    spans = (0.25, 0.75, 2.0, 1.0)  # years, in the order of the hours of sleep
    sleep = [value for name, value in known.items() if name.startswith("hours of sleep")]
    awake = sum(DAYS_A_YEAR * span * (24 - asleep) for span, asleep in zip(spans, sleep, strict=True))
    word = known["tokens a word"] * known["characters a token"]  # bytes
    words = known["tokens"] / known["tokens a word"]
    return {
        "hours awake": awake,
        "seen, bytes": awake * 3600 * 2 * known["bits a second of an eye"] / 8,
        "heard, bytes": 4 * DAYS_A_YEAR * known["words heard a day"] * word,
        "read, bytes": known["tokens"] * known["characters a token"],
        "years to read": words / known["words read a minute"] / 60 / HOURS_A_DAY / DAYS_A_YEAR,
    }


def readable(size: float) -> str:
    """Bytes with a prefix, to two digits."""
    power = int(math.log10(size)) // 3
    return f"{float(f'{size:.2g}') / 1000**power:g} {PREFIXES[power]}B"


def draw() -> Figure:
    """The figure."""
    found = volumes()
    bars = {
        "seen by a four-year-old": (found["seen, bytes"], BLUE),
        "read by a language model": (found["read, bytes"], ORANGE),
        "heard by the child, in words": (found["heard, bytes"], GREEN),
    }
    with style():
        figure = Figure(figsize=(10.5, 3.4))
        ax, beside = figure.subplots(1, 2, width_ratios=(1.7, 1.0))
        drawn = ax.barh(list(bars), [size for size, _ in bars.values()], color=[c for _, c in bars.values()])
        ax.bar_label(drawn, [readable(size) for size, _ in bars.values()], padding=4)
        ax.set(xscale="log", xlim=(1e7, 5e16), xlabel="bytes", title="How much there was to learn from")
        ax.invert_yaxis()
        years = {
            "four-year-old, so far": (4.0, BLUE),
            "reading the same, 8 h a day": (found["years to read"], ORANGE),
        }
        drawn = beside.barh(list(years), [span for span, _ in years.values()], color=[BLUE, ORANGE])
        beside.bar_label(drawn, [f"{span:,.0f}" for span, _ in years.values()], padding=4)
        beside.set(xscale="log", xlim=(1, 1e10), xlabel="years", title="How long it takes")
        beside.invert_yaxis()
    return figure


def numbers() -> dict[str, Any]:
    """What was computed, and from what."""
    taken = {name: {"value": value, "source": source} for name, (value, source) in SOURCES.items()}
    return {"computed": volumes(), "from": taken, "hours of reading a day": HOURS_A_DAY}


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers(), indent=1) + "\n", encoding="utf-8")
