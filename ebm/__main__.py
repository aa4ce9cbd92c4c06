"""The command line: `ebm demo`, `ebm course check`, `ebm info`, `ebm --help` (or `python -m ebm ...`)."""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ebm import __version__, demo
from ebm.course.command import add_course, run_course
from ebm.data import data_folders, fashion, find_data

PARTS = demo.PARTS
NEEDED = ("torch", "numpy", "safetensors", "matplotlib", "tqdm", "scikit-learn")
OPTIONAL = {"numba": "compiled", "scipy": "bench", "jupyterlab": "tutorials", "ipywidgets": "tutorials"}

ABOUT = """\
ebm: energy-based models in PyTorch.

An energy is a function of named variables that is low where they fit together. Everything here is an energy,
a way to find the variables that make one small, or a way to give one the right shape.
"""
EXAMPLES = """\
examples:
  ebm demo                            all four parts, about 8 minutes; open the index.html it names
  ebm demo --quick --out /tmp/look    the same on less data
  ebm demo --only samplers            one part
  ebm course check 01_mine.ipynb      run the exercises of a chapter, print the score
  ebm info                            versions, devices, and which data sets are found

from Python:
  import ebm; help(ebm)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after the program's name; those of this process if None.

    Returns:
        The exit status: 0 done, 1 failed, 2 a mistake in the words, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parser()
    if not words:
        parser.print_help()
        return 0
    if not words[0].startswith("-") and words[0] not in commands:
        return _unknown(words[0], commands)
    args = parser.parse_args(words)
    if args.command == "course":
        return run_course(args)
    return _demo(args) if args.command == "demo" else _info()


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("ebm", description=ABOUT, epilog=EXAMPLES, formatter_class=plain)
    parser.add_argument("--version", action="version", version=f"ebm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)

    show = commands.add_parser(
        "demo",
        help="energies learned from real data, as pictures in a folder",
        description=(
            "Learn energies from photographs and handwritten digits that came with the installation, sample "
            "a landscape, and write pictures, a JSON file of every number, and an index.html to see them. "
            "Ctrl-C keeps what is finished."
        ),
    )
    show.add_argument(
        "--out", type=Path, default=Path("ebm-demo"), metavar="FOLDER", help="where to (default: ebm-demo)"
    )
    show.add_argument(
        "--only",
        nargs="+",
        action="extend",
        choices=PARTS,
        metavar="PART",
        help=f"leave the others out; one or more of: {', '.join(PARTS)}",
    )
    show.add_argument("--seed", type=_seed, default=0, help="of all randomness, 0 or more (default: 0)")
    show.add_argument("--quick", action="store_true", help="less data and fewer steps: seconds, not minutes")

    add_course(commands)
    commands.add_parser(
        "info",
        help="versions, devices, and which data sets are found where",
        description="What is installed, what it can compute on, and which data sets it finds.",
    )
    return parser, list(commands.choices)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got {text!r}")
    return int(text)


def _unknown(word: str, commands: Sequence[str]) -> int:
    near = difflib.get_close_matches(word, commands, n=1)
    guess = (
        f"did you mean `ebm {near[0]}`?"
        if near
        else f"the commands are {', '.join(commands[:-1])} and {commands[-1]}."
    )
    return _fail(f"ebm: there is no command {word!r}; {guess} `ebm --help` tells more.", 2)


def _fail(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def _demo(args: argparse.Namespace) -> int:
    out: Path = args.out
    parts = [part for part in PARTS if not args.only or part in args.only]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _fail(f"ebm demo: cannot write to {out}: {error.strerror}. Choose another --out FOLDER.", 1)
    before, started = _written(out), time.monotonic()
    try:
        index = demo.run(out=out, parts=parts, seed=args.seed, quick=args.quick)
    except KeyboardInterrupt:
        finished = sorted(path.name for path, time_of in _written(out).items() if before.get(path) != time_of)
        what = f"Finished, in {out.resolve()}: {', '.join(finished)}" if finished else "Nothing was finished."
        return _fail(f"\nInterrupted after {time.monotonic() - started:.0f} s. {what}", 130)
    print(f"Done in {time.monotonic() - started:.0f} s. Look at {index.resolve()}")
    return 0


def _written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _info() -> int:
    print(f"ebm           {__version__}  in {Path(__file__).parent}")
    print(f"python        {platform.python_version()}  on {platform.platform()}")
    for name in NEEDED:
        print(f"{name:<13} {_version(name) or 'MISSING: pip install ' + name}")
    for name, extra in OPTIONAL.items():
        print(f"{name:<13} {_version(name) or f'not installed; the extra [{extra}] brings it'}")
    print("\ndevices")
    print(f"  cpu         {os.cpu_count()} cores, {torch.get_num_threads()} threads used by torch")
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        print(f"  cuda:{index}      {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        print("  mps         Apple GPU")
    print("\ndata (set EBM_DATA to a folder of your own)")
    for folder in data_folders():
        print(f"  looked in   {folder}{'' if folder.is_dir() else '  (does not exist)'}")
    print("  found       digits, photos  (bundled with scikit-learn)")
    place = find_data(fashion.NAME, list(fashion.CHECKSUMS))
    missing = f"{fashion.NAME}  (`ebm.data.download_fashion_mnist(URL)` fetches it)"
    print(f"  found       {fashion.NAME}  in {place}" if place else f"  not found   {missing}")
    return 0


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
