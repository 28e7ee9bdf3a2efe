"""The cameras of the window. The world process mounts them, the overlay projects through them."""

from __future__ import annotations

import math
from dataclasses import replace

from ...vocabulary import CameraSpec

WIDTH_PX, HEIGHT_PX = 1280, 720

CHASE = CameraSpec(
    "chase", WIDTH_PX, HEIGHT_PX, fov_deg=74.0, x_m=-8.4, z_m=4.3, pitch_rad=math.radians(-12.0)
)
HOOD = CameraSpec("hood", WIDTH_PX, HEIGHT_PX, fov_deg=84.0, x_m=0.55, z_m=1.35, pitch_rad=math.radians(-3.0))
SEATS = (CHASE, HOOD)  # the cameras that the window adds to the policy's own


def policy_view(spec: CameraSpec) -> CameraSpec:
    """The policy's own camera, in the size of the window.

    The horizontal field of view stays, so a window that is taller than the policy's picture shows more above and
    below; `letterbox` says which rows the policy sees.
    """
    return replace(spec, width_px=WIDTH_PX, height_px=HEIGHT_PX)


def letterbox(spec: CameraSpec) -> tuple[int, int]:
    """First row, and the one after the last, of the window that the policy's picture covers in `policy_view`."""
    rows = min(round(WIDTH_PX * spec.height_px / spec.width_px), HEIGHT_PX)
    top = (HEIGHT_PX - rows) // 2
    return top, top + rows
