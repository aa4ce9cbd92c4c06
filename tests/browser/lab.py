"""JupyterLab for the browser tests and for the benchmark of the explorers: started, asked, stopped.

Everything that it would keep (settings, workspaces, sessions) lies in a folder of its own, and it looks up
nothing on a network. All notebooks share the kernel of the first, so that torch is imported once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]
TOKEN = "explorers"
START = 120.0  # seconds that it gets to come up on a busy machine


def chromium() -> str | None:
    """The path of Debian's Chromium, or of the browser that EBM_CHROMIUM names; None where there is none."""
    named = os.environ.get("EBM_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


class Lab:
    """A JupyterLab that serves one folder, as a context.

    Args:
        folder: an empty one, for its notebooks and for what it keeps.
    """

    def __init__(self, folder: Path):
        self.notebooks, self.kept = folder / "notebooks", folder / "kept"
        self.log = folder / "jupyter.log"

    def __enter__(self) -> Lab:
        self.notebooks.mkdir(parents=True)
        page = self.kept / "config" / "labconfig" / "page_config.json"
        page.parent.mkdir(parents=True)
        news = {"@jupyterlab/apputils-extension:announcements": True}
        page.write_text(json.dumps({"disabledExtensions": news}))
        tracker = (
            self.kept / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
        )
        tracker.parent.mkdir(parents=True)
        tracker.write_text(json.dumps({"windowingMode": "none"}))  # cells out of sight are on the page, too
        kept = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        environment = {**os.environ, **{name: str(self.kept / folder) for name, folder in kept.items()}}
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
        command += [
            "--ServerApp.port=0",
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={self.notebooks}",
        ]
        command += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=self.notebooks, env=environment, stdout=log, stderr=log
            )
        try:
            self.url = self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait(self) -> str:
        """The address, once it answers."""
        until = time.monotonic() + START
        while time.monotonic() < until and self.process.poll() is None:
            for path in (self.kept / "runtime").glob("jpserver-*.json"):
                try:
                    url = json.loads(path.read_text())["url"]
                    with urllib.request.urlopen(f"{url}api?token={TOKEN}", timeout=5):
                        return url
                except (OSError, ValueError, urllib.error.URLError):
                    pass  # half written, or not listening yet
            time.sleep(0.1)
        raise RuntimeError(
            f"JupyterLab did not come up within {START:.0f} s:\n{self.log.read_text()[-3000:]}"
        )

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells; returns the address that opens it alone in the lab."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
        nbformat.write(book, self.notebooks / f"{name}.ipynb")
        running = self._ask("GET", "api/kernels")
        kernel = {"id": running[0]["id"]} if running else {"name": "python3"}
        session = {"path": f"{name}.ipynb", "name": name, "type": "notebook", "kernel": kernel}
        self._ask("POST", "api/sessions", session)
        return f"{self.url}lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}&reset"

    def hand_out(self, chapter: str) -> str:
        """Give out a chapter of the course with its checks, as to a student; the address that opens it.

        It gets a kernel of its own, since it sets torch's default precision.
        """
        shutil.copy(ROOT / "tutorials" / f"{chapter}.ipynb", self.notebooks)
        shutil.copytree(ROOT / "tutorials" / "checks", self.notebooks / "checks", dirs_exist_ok=True)
        session = {
            "path": f"{chapter}.ipynb",
            "name": chapter,
            "type": "notebook",
            "kernel": {"name": "python3"},
        }
        self._ask("POST", "api/sessions", session)
        return f"{self.url}lab/workspaces/{chapter}/tree/{chapter}.ipynb?token={TOKEN}&reset"

    def _ask(self, method: str, path: str, content: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
