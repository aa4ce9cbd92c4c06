"""Builds the site into build/site: `python -m tutorials.site`, as `make docs` does. Needs no network.

Chapters are run once, with their exercises blank; their outputs are kept in build/site-cache and shown until
their code changes (`make clean` forgets them). Every warning is an error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sphinx.cmd.build import main

from tutorials.site.links import ROOT
from tutorials.site.pages import HERE, write

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-run", action="store_true", help="show chapters without outputs")
    parser.add_argument("--out", default=str(ROOT / "build" / "site"), metavar="FOLDER", help="where to")
    words = parser.parse_args()
    sources = f"{words.out}-sources"
    write(Path(sources))
    mode = ["-D", "nb_execution_mode=off", "-j", "auto"] if words.no_run else []
    options = ["-q", "-W", "--keep-going", "-c", str(HERE), "-d", f"{words.out}-doctrees", *mode]
    status = main([*options, sources, words.out])
    if status == 0:
        print(f"The site: {words.out}/index.html")
    sys.exit(status)
