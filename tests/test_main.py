"""The command line: what it prints, what it exits with, and what it hands to the demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ebm
from ebm import __main__ as cli


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The calls of the demo, which writes its page at once and does nothing else."""
    made: list[dict[str, Any]] = []

    def run(**options: Any) -> Path:
        made.append(options)
        page = options["out"] / "index.html"
        page.write_text("<html>")
        return page

    monkeypatch.setattr(cli.demo, "run", run)
    return made


def test_the_demo_takes_its_options(tmp_path: Path, calls: list, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    words = ["demo", "--out", str(out), "--only", "samplers", "sparse-coding", "--seed", "7", "--quick"]
    assert cli.main(words) == 0
    # parts in the order of the page, not of the words
    assert calls == [{"out": out, "parts": ["sparse-coding", "samplers"], "seed": 7, "quick": True}]
    assert str(out / "index.html") in capsys.readouterr().out


def test_the_demo_shows_all_by_default(tmp_path: Path, calls: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 0
    assert calls == [{"out": Path("ebm-demo"), "parts": list(cli.PARTS), "seed": 0, "quick": False}]


@pytest.mark.parametrize("finished", [True, False])
def test_an_interrupted_demo_says_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], finished: bool
) -> None:
    (tmp_path / "old.png").write_text("from an earlier run")

    def run(out: Path, **_: Any) -> Path:
        if finished:
            (out / "filters.png").write_text("picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.demo, "run", run)
    assert cli.main(["demo", "--out", str(tmp_path)]) == 130
    said = capsys.readouterr().err
    assert "Interrupted after" in said and "old.png" not in said
    assert (f"Finished, in {tmp_path}: filters.png" in said) == finished
    assert ("Nothing was finished." in said) == (not finished)


def test_a_folder_that_cannot_be_written_is_an_error(
    tmp_path: Path, calls: list, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["demo", "--out", str(tmp_path / "file" / "below")]) == 1
    said = capsys.readouterr().err
    assert "cannot write to" in said and "--out FOLDER" in said and calls == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "--only", "faces"], "sparse-coding"),
        (["demo", "--seed", "-1"], "expected a whole number, 0 or more, got '-1'"),
        (["demo", "--seed", "x"], "expected a whole number, 0 or more, got 'x'"),
        (["--no-such-option"], "usage: ebm"),
    ],
)
def test_mistakes_in_the_words_exit_with_2(
    words: list[str], message: str, calls: list, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert calls == []


@pytest.mark.parametrize(
    ("word", "hint"),
    [("dmeo", "did you mean `ebm demo`?"), ("train", "the commands are demo, course and info.")],
)
def test_an_unknown_command_is_answered_with_the_right_ones(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([word]) == 2
    said = capsys.readouterr().err
    assert repr(word) in said and hint in said and "ebm --help" in said


def test_help_names_every_command_and_gives_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    bare = capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == bare
    assert all(word in bare for word in ("demo", "course", "info", "--version", "examples:", "An energy is"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"ebm {ebm.__version__}\n"


def test_info_tells_versions_devices_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EBM_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    for name in cli.NEEDED:
        assert any(line.startswith(name) and "MISSING" not in line for line in said.splitlines()), name
    assert f"looked in   {tmp_path / 'none'}  (does not exist)" in said
    assert "not found   fashion-mnist" in said and "download_fashion_mnist" in said
    for name in cli.fashion.CHECKSUMS:
        (tmp_path / "none" / "fashion-mnist").mkdir(parents=True, exist_ok=True)
        (tmp_path / "none" / "fashion-mnist" / f"{name}.gz").touch()
    assert cli.main(["info"]) == 0
    assert f"found       fashion-mnist  in {tmp_path / 'none' / 'fashion-mnist'}" in capsys.readouterr().out


def test_it_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "ebm", "nonsense"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no command 'nonsense'" in done.stderr
