"""README's tables of measurements, written from the recorded results.

python -m benchmarks.table            writes them between README's markers
python -m benchmarks.table --check    fails if README holds others
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.runner import RESULTS, ROOT

TWO_ROOMS = RESULTS / "two_rooms_cpu.json"
RECIPES = ROOT / "benchmarks" / "recipes" / "results"
REPRESENTATIONS = RECIPES / "representations_fashion-mnist.json"
MASKED = RECIPES / "masked_prediction_fashion-mnist.json"
AUTOENCODERS = RECIPES / "digits_autoencoders.json"
IMAGE_ENERGIES = RECIPES / "image_energies.json"


def rows(document: dict[str, Any]) -> list[str]:
    """The table's rows for one result file."""
    out = []
    for case in document["cases"]:
        if "ratio" not in case:
            continue
        ours, theirs, ratio = (case[key]["median"] for key in ("ours", "theirs", "ratio"))
        relation = (
            f"{ratio:.2f}x the cost"
            if case["ratio_is"].startswith("ours")
            else f"{ratio:.1f}x faster"
            if ratio >= 1
            else f"{ratio:.2f}x as fast"
        )
        if case["unit"] == "MiB" and not case["ratio_is"].startswith("ours"):
            relation = f"{ratio:.1f}x less"
        out.append(
            f"| {case['name']} | {_amount(ours, case['unit'])} | {_amount(theirs, case['unit'])} | "
            f"{relation} |"
        )
    return out


def _amount(value: float, unit: str) -> str:
    if unit == "MiB":
        return f"{value:.0f} MiB"
    amount = f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.2f} s"
    return f"{amount} of CPU" if unit == "cpu s" else amount


def table(results: Path = RESULTS) -> str:
    """All results as one table, with the machines they were taken on below it."""
    lines = ["| work, and with what it is compared | `ebm` | the other | ratio |", "|---|---|---|---|"]
    machines: dict[str, None] = {}
    for path in sorted(results.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if "cases" not in document:  # a table of its own
            continue
        lines += rows(document)
        where = "; ".join(document["machine"]["gpus"]) or document["machine"]["cpu"]
        machines[f"{where}, torch {document['versions']['torch']}"] = None
    return "\n".join([*lines, "", f"Taken on: {'; '.join(machines)}.", ""]) if machines else ""


def representations(path: Path = REPRESENTATIONS) -> str:
    """What probes read off the codes of each method, and how RankMe and LiDAR rank them."""
    record = json.loads(path.read_text(encoding="utf-8"))
    settings, (learned, tested) = record["arguments"], record["images"]
    lines = ["| codes | linear probe | kNN | RankMe | LiDAR | seconds |", "|---|---|---|---|---|---|"]
    for name, row in record["rows"].items():
        accuracy = f"{row['accuracy']:.1%} ± {row['standard error']:.1%}"
        seconds = f"{row['seconds']:.0f}" if row["seconds"] else ""
        lines.append(
            f"| {name} | {accuracy} | {row['kNN accuracy']:.1%} | {row['RankMe']:.1f} | {row['LiDAR']:.1f} | "
            f"{seconds} |"
        )
    ranks = ", ".join(f"{name} {value:+.2f}" for name, value in record["ranking"].items())
    told = (
        f"Fashion-MNIST, {learned:,} images to learn from and {tested:,} to test on (± is their standard "
        f"error), one network of three convolutions, {settings['steps']:,} steps of {settings['batch']} "
        f"images for each, seed {settings['seed']}, {settings['threads']} cores. Rank correlation with the "
        f"linear probe over the methods without labels: {ranks}."
    )
    return "\n".join([*lines, "", told, ""])


def two_rooms(path: Path = TWO_ROOMS) -> str:
    """Who arrives in Two Rooms: floors, planners on one model, and models learned without a term."""
    record = json.loads(path.read_text(encoding="utf-8"))
    settings, rows, total = record["arguments"], record["rows"], record["success"]
    lines = ["| who | at the goal at the last step | ever | median steps | CPU-ms an action |"]
    lines.append("|---|---|---|---|---|")
    for name, row in rows["floors"].items():
        steps = "" if row["median steps"] is None else f"{row['median steps']:.0f}"
        lines.append(f"| {name} | {row['last']:.1%} of {row['episodes']} | {row['ever']:.1%} | {steps} | |")
    for name, row in rows.items():
        if "95 %" in row:
            low, high = row["95 %"]
            steps = "" if row["median steps"] is None else f"{row['median steps']:.0f}"
            lines.append(
                f"| {name.removeprefix('planner: ')} | {row['last']:.1%} ({low:.0%} to {high:.0%}) of "
                f"{row['episodes']} | {row['ever']:.1%} | {steps} | {row['CPU ms an action']:.1f} |"
            )
    low, high = total["95 %"]
    trained = [row["seconds of training"] for name, row in rows.items() if name.startswith("seed")]
    known = [row for name, row in rows.items() if name.startswith("seed")]
    missed, plan = [row["probe error"] for row in known], rows["cost of a plan"]
    told = (
        f"{total['reached']} of {total['episodes']} episodes at the goal at the last of 200 steps, "
        f"{total['share']:.1%} (95 %: {low:.1%} to {high:.1%}): {len(trained)} trainings of "
        f"{settings['steps']:,} steps of {settings['batch']} windows, of which {settings['near_door']:.0%} "
        f"begin around the door (published walks begin anywhere), {min(trained):.0f} to "
        f"{max(trained):.0f} s each. What the models know: pushes let through the wall "
        f"{_span(known, 'leak')}, through the door {_span(known, 'pass')}; a linear probe misses the "
        f"position by {min(missed):.1f} to {max(missed):.1f} px. One plan of {plan['predictions']:,} "
        f"predictions takes {plan['CPU s']:.2f} CPU-s, where {plan['published CPU s']:g} were published."
    )
    return "\n".join([*lines, "", told, ""])


def masked(path: Path = MASKED) -> str:
    """What probes read off codes that were learned by predicting what is hidden."""
    record = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "| learned by | linear probe | kNN | steps | CPU-s | examples a CPU-s |",
        "|---|---|---|---|---|---|",
    ]
    for kind, read in (("images", ("class",)), ("clips", ("digit", "direction"))):
        for name, row in record["rows"][kind].items():
            linear = ", ".join(
                f"{what} {row[what]['accuracy']:.1%} ± {row[what]['standard error']:.1%}" for what in read
            )
            near = ", ".join(f"{row[what]['kNN accuracy']:.1%}" for what in read)
            took = (
                f"{row['steps']:,} | {row['cpu seconds']:.0f} | {row['images a second']:.0f}"
                if "steps" in row
                else " | | "
            )
            lines.append(f"| {kind}: {name} | {linear} | {near} | {took} |")
    images, clips = (record["arguments"][kind] for kind in ("images", "clips"))
    net = f"a transformer of {images['depth']} layers of {images['width']}"
    told = (
        f"Fashion-MNIST, {images['train_images']:,} images, and {clips['train_clips']:,} clips of flying "
        f"digits, 8 frames each; {net}, seed {images['seed']}, one core. MAE has as many steps as take the "
        f"operations of the JEPA above it; *spread* is variance and covariance of the codes of a place. "
        f"Probes of the mean of all codes, ± their standard error."
    )
    return "\n".join([*lines, "", told, ""])


def autoencoders(path: Path = AUTOENCODERS) -> str:
    """What the codes of a VAE and of a VQ-VAE keep of images."""
    record = json.loads(path.read_text(encoding="utf-8"))
    columns = {
        "reconstruction": ".2f",
        "bits": ".0f",
        "perplexity": ".1f",
        "samples": ".1f",
        "test images": ".1f",
        "seconds": ".0f",
    }
    lines = [f"| images | model | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for data, models in record["rows"].items():
        for name, row in models.items():
            cells = [format(row[key], how) if key in row else "" for key, how in columns.items()]
            lines.append(f"| {data} | {name} | {' | '.join(cells)} |")
    settings = record["arguments"]
    told = (
        f"Reconstruction: squared distance of a test image from what its code says: {settings['numbers']} "
        f"numbers of PCA and VAE, cells with one of {settings['codes']} codes for the VQ-VAE; bits: what a "
        f"code tells. Samples, test images: their squared distance to the nearest training image. "
        f"{settings['steps']:,} steps of {settings['batch']} images, seed {settings['seed']}, 2 cores."
    )
    return "\n".join([*lines, "", told, ""])


def image_energies(path: Path = IMAGE_ENERGIES) -> str:
    """How well energies of images know their own kind, complete them and are sampled."""
    record = json.loads(path.read_text(encoding="utf-8"))
    kinds = [*record["rows"], "shuffled pixels"]
    lines = [
        f"| images | learned by | {' | '.join(f'AUROC, {kind}' for kind in kinds)} | completion | nearest "
        f"| samples | test images | seconds |",
        "|---" * (7 + len(kinds)) + "|",
    ]
    for data, ways in record["rows"].items():
        for way, row in ways.items():
            cells = [f"{row[f'AUROC, {kind}']:.2f}" if kind != data else "" for kind in kinds]
            cells += [f"{row[key]:.2f}" for key in ("completion", "nearest")]
            cells += [f"{row[f'distance, {key}']:.1f}" for key in ("samples", "test images")]
            lines.append(f"| {data} | {way} | {' | '.join(cells)} | {row['seconds']:.0f} |")
    settings = record["arguments"]
    told = (
        f"AUROC: how often an image of another kind, resized, has a higher energy than a test image. "
        f"Completion: mean error of lower halves that minimize the energy, {settings['test_images']:,} "
        f"images; nearest: of those of the training images with the nearest upper halves. Samples, test "
        f"images: their squared distance to the nearest training image. Batches of {settings['batch']}, seed "
        f"{settings['seed']}, {settings['threads']} cores."
    )
    return "\n".join([*lines, "", told, ""])


def _span(rows: list[dict[str, Any]], key: str) -> str:
    values = [row[key] for row in rows]
    return f"{min(values):.1%} to {max(values):.1%}"


def filled(text: str, name: str, content: str) -> str:
    """A page with what lies between the markers of this name replaced."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}{end}{rest.split(end)[1]}"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the tables; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if README is out of date")
    check = parser.parse_args(arguments).check
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    new = filled(filled(text, "benchmarks", table()), "representations", representations())
    new = filled(filled(new, "two-rooms", two_rooms()), "masked", masked())
    new = filled(filled(new, "autoencoders", autoencoders()), "image-energies", image_energies())
    if check and new != text:
        print(
            "README's tables are not those of the recorded results: run `python -m benchmarks.table`",
            file=sys.stderr,
        )
        return 1
    if not check:
        readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
