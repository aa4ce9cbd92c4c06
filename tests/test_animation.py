"""Films: what is read back from a GIF is what was put into it; MP4 through whatever is called ffmpeg."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from ebm.show import save_animation, tiled
from ebm.testing.world_list import worlds


def read(path: Path) -> tuple[np.ndarray, list[int]]:
    """Frames and their times in ms."""
    with Image.open(path) as image:
        assert image.info.get("loop") == 0
        pairs = [(np.asarray(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(image)]
    return np.stack([frame for frame, _ in pairs]), [time for _, time in pairs]


def film(time: int, *shape: int, colors: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    palette = rng.integers(256, size=(colors, 3), dtype=np.uint8)
    return palette[rng.integers(colors, size=(time, *shape))]


def test_few_colors_come_back_pixel_for_pixel(tmp_path: Path) -> None:
    frames = film(7, 20, 31, colors=256)
    path = save_animation(frames, tmp_path / "film.gif", fps=20)
    back, times = read(path)
    np.testing.assert_array_equal(back, frames)
    assert times == [50] * 7
    assert (
        save_animation(torch.from_numpy(frames), tmp_path / "same.gif", fps=20).read_bytes()
        == path.read_bytes()
    )


@pytest.mark.parametrize("world", worlds().values(), ids=worlds())
def test_worlds_come_back_nearly(tmp_path: Path, world) -> None:
    g = torch.Generator().manual_seed(0)
    state, frames = world.reset(3, g), []
    for _ in range(6):
        frames.append(world.frames(state))
        state = world.step(state, torch.rand(3, world.action_size, generator=g) * 2 - 1, g)
    back, _ = read(save_animation(torch.stack(frames), tmp_path / "film.gif"))
    wrong = np.abs(back.astype(int) - tiled(torch.stack(frames)))
    assert wrong.max() <= 40 and wrong.mean() < 0.5


def test_many_colors_become_the_nearest_of_a_palette_that_stays(tmp_path: Path) -> None:
    ramp = np.stack(np.meshgrid(np.arange(64) * 4, np.arange(64) * 4, [128]), -1)[:, :, 0].astype(np.uint8)
    frames = np.stack([ramp, ramp, np.roll(ramp, 1, 0), ramp[::-1]])
    back, times = read(save_animation(frames, tmp_path / "film.gif"))
    assert np.abs(back.astype(int) - frames[[0, 2, 3]]).mean() < 5 and times == [200, 100, 100]
    np.testing.assert_array_equal(np.roll(back[0], 1, 0), back[1])  # the same colors, wherever they are
    assert len(np.unique(back.reshape(-1, 3), axis=0)) > 200


def test_a_pause_is_one_frame_that_stays_as_long(tmp_path: Path) -> None:
    frames = film(4, 8, 8)[[0, 1, 1, 1, 2]]
    back, times = read(save_animation(frames, tmp_path / "film.gif", fps=10))
    np.testing.assert_array_equal(back, frames[[0, 1, 4]])
    assert times == [100, 300, 100]


def test_tiles_and_scale(tmp_path: Path) -> None:
    frames = film(3, 5, 6, 8)  # five episodes: three columns, two rows
    grid = tiled(frames)
    assert grid.shape == (3, 6 * 2 + 2, 8 * 3 + 4, 3)
    for i in range(5):
        y, x = (i // 3) * 8, (i % 3) * 10
        np.testing.assert_array_equal(grid[:, y : y + 6, x : x + 8], frames[:, i])
    assert (grid[:, 8:, 20:] == 208).all() and (grid[:, 6:8] == 208).all() and (grid[:, :, 8:10] == 208).all()
    assert tiled(frames[:, 0]) is frames[:, 0] or np.array_equal(tiled(frames[:, 0]), frames[:, 0])
    back, _ = read(save_animation(frames, tmp_path / "film.gif", scale=3))
    np.testing.assert_array_equal(back, np.kron(grid, np.ones((1, 3, 3, 1), dtype=np.uint8)))


def test_the_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_animation(film(3, 8, 8), tmp_path / "film.gif")
    before = path.read_bytes()
    assert path.stat().st_mode & 0o044 == (0o666 & ~_umask()) & 0o044  # readable as any other file

    def breaks(self: Image.Image, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", breaks)
    with pytest.raises(KeyboardInterrupt):
        save_animation(film(4, 8, 8), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["film.gif"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    good, path = film(2, 4, 4), tmp_path / "film.gif"
    with pytest.raises(TypeError, match="frames are uint8, from 0 to 255; got float64"):
        save_animation(good / 255, path)
    for shape in ((4, 4, 3), (2, 4, 4, 1), (0, 4, 4, 3), (2, 1, 1, 4, 4, 3)):
        with pytest.raises(
            ValueError, match=r"frames are \(T, H, W, 3\) or \(T, B, H, W, 3\), one at least; got"
        ):
            save_animation(np.zeros(shape, dtype=np.uint8), path)
    for name in ("film.avi", "film", "film.GIFF"):
        with pytest.raises(ValueError, match=rf"a \.gif or a \.mp4; got '{name}'"):
            save_animation(good, tmp_path / name)
    for settings in ({"fps": 0.0}, {"fps": float("nan")}, {"fps": float("inf")}, {"scale": 0}):
        with pytest.raises(ValueError, match="fps is positive and scale at least 1; got"):
            save_animation(good, path, **settings)
    assert not list(tmp_path.iterdir())


FAKE = """#!{python}
import json, sys
given = sys.stdin.buffer.read()
if {code}:
    sys.exit("Unknown encoder")
json.dump({{"arguments": sys.argv[1:-1], "bytes": list(given)}}, open(sys.argv[-1], "w"))
"""


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A program of that name which writes down what it was given."""
    folder.mkdir()
    (folder / "ffmpeg").write_text(FAKE.format(python=sys.executable, code=code))
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_ffmpeg_gets_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ffmpeg(tmp_path / "bin", monkeypatch, 0)
    frames = film(2, 3, 5)
    got = json.loads(save_animation(frames, tmp_path / "film.mp4", fps=12.5).read_text())
    sent = np.array(got["bytes"], dtype=np.uint8).reshape(2, 4, 6, 3)  # even sides, as H.264 needs
    np.testing.assert_array_equal(sent[:, :3, :5], frames)
    np.testing.assert_array_equal(sent[:, 3, :5], frames[:, 2])
    arguments = " ".join(got["arguments"])
    assert "-f rawvideo -pix_fmt rgb24 -s 6x4 -r 12.5 -i -" in arguments and "yuv420p" in arguments


def test_without_ffmpeg_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"program ffmpeg, which is not on the PATH: install it.*save a \.gif"
    ):
        save_animation(film(2, 4, 4), tmp_path / "film.mp4")
    fake_ffmpeg(tmp_path / "bin", monkeypatch, 1)
    with pytest.raises(RuntimeError, match=r"ffmpeg failed \(1\): Unknown encoder"):
        save_animation(film(2, 4, 4), tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
def test_a_real_mp4_comes_back_nearly(tmp_path: Path) -> None:
    frames = np.zeros((5, 32, 48, 3), dtype=np.uint8)
    for t in range(5):
        frames[t, :, 8 * t : 8 * t + 16] = 200
    path = save_animation(frames, tmp_path / "film.mp4")
    command = ["ffmpeg", "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    back = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, dtype=np.uint8)
    assert np.abs(back.reshape(frames.shape).astype(int) - frames).mean() < 10
