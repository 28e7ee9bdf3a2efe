"""An episode as an mp4, made of the pictures that `loop replay` shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pygame

from ...errors import UsageError
from ...vocabulary import TICK_HZ
from .replay import Theatre
from .views import HEIGHT_PX, WIDTH_PX

QUALITY = {"preset": "veryfast", "crf": "21"}
HOLD_TICKS = TICK_HZ  # the last picture stays for a second


def export_video(
    theatre: Theatre, out: Path, *, view: str = "chase", progress: Callable[[float], None] | None = None
) -> int:
    """Write an mp4 (H.264, 20 pictures a second, real time).

    Args:
        theatre: The recording, ready to be shown.
        out: The file; appears whole or not at all.
        view: Name of the camera.
        progress: Told the share that is done.

    Returns:
        The number of pictures.

    Raises:
        UsageError: `av` is not installed, no such view, or the file cannot be written.
    """
    av = _av()
    names = [camera.name for camera in theatre.recorded.views]
    if view not in names:
        raise UsageError(f"no view {view!r}", fix=f"use one of {', '.join(names)}")
    theatre.view = names.index(view)
    first, last = theatre.player.first, theatre.player.last
    surface = pygame.Surface((WIDTH_PX, HEIGHT_PX), 0, 32)
    partial = out.with_name(f".{out.name}.part")
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=TICK_HZ)
            stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
            stream.options = QUALITY
            for tick in range(first, last + 1 + HOLD_TICKS):
                if tick <= last:
                    theatre.player.seek(tick)
                    theatre.draw(surface)
                    pixels = pygame.surfarray.array3d(surface).swapaxes(0, 1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                if progress is not None:
                    progress((tick - first + 1) / (last - first + 1 + HOLD_TICKS))
            container.mux(stream.encode())
        os.replace(partial, out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error}", fix="choose another file") from error
    finally:
        partial.unlink(missing_ok=True)
    return last - first + 1 + HOLD_TICKS


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise UsageError("an mp4 needs the package av", fix="pip install 'takeover-loop[viz]'") from error
    return av
