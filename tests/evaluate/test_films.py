"""Film strips: which frames, and that plan, path and pointer are really drawn."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from takeover.evaluate.films import (
    DRIVER,
    HAZARD,
    PLAN,
    WIDTH_PX,
    Still,
    closest_tick,
    last_stills,
    stills,
    takeover_stills,
)
from takeover.store.episodes import EpisodeReader

from ..store.drives import record


def pixels(still: Still) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(still.webp))) as image:
        assert image.format == "WEBP"
        return np.asarray(image.convert("RGB")).astype(int)


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels whose hue is that of a colour laid over the test's grey frames."""
    grey = picture.mean(axis=2, keepdims=True)
    wanted = np.array(colour) - np.mean(colour)
    away = picture - grey
    return int(((away @ wanted) > 0.6 * (wanted @ wanted)).sum())


def reader(tmp_path: Path) -> EpisodeReader:
    return EpisodeReader(record(tmp_path / "episodes"))


def test_a_takeover_from_before_to_after(tmp_path: Path) -> None:
    found = takeover_stills(reader(tmp_path), 30)  # onset after 1.5 s, hand-back at 45, 60 ticks in all
    assert [one.caption for one in found] == [
        "−1.5 s · 29 km/h · policy",
        "−0.5 s · 29 km/h · policy",
        "+0.0 s · 29 km/h · driver",
        "+0.5 s · 29 km/h · driver",
        "+1.0 s · 29 km/h · policy",
    ]
    assert "driver drives" in found[2].alt
    picture = pixels(found[0])
    assert picture.shape == (WIDTH_PX // 2, WIDTH_PX, 3)
    assert near(picture, PLAN) > 100
    assert near(pixels(found[2]), DRIVER) > 100
    assert near(pixels(found[2]), PLAN) < near(pixels(found[1]), PLAN)  # an outline: nobody follows it


def test_the_end_of_a_drive_and_frames_once(tmp_path: Path) -> None:
    drive = reader(tmp_path)
    assert [one.caption[:5] for one in last_stills(drive)] == [
        "0.0 s",
        "0.5 s",
        "1.0 s",
        "1.5 s",
        "2.0 s",
        "2.5 s",
    ]
    assert [one.caption[:5] for one in last_stills(drive, 25)] == ["0.0 s", "0.5 s", "1.0 s"]
    assert len(stills(drive, [12, 13, 19])) == 1
    assert stills(drive, [-5, 900]) == ()


def test_the_pointer_and_the_moment(tmp_path: Path) -> None:
    drive = reader(tmp_path)  # actor 9 waits at 40 m, the car comes 0.4 m a tick nearer
    assert near(pixels(stills(drive, [40])[0]), HAZARD) > 10
    # The walker crosses at 0.1 m a tick: least distance where the last recorded tick is (24 m of 40).
    assert closest_tick(drive) == 59
