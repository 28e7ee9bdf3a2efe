"""Camera pictures of the embedded world from a z-buffer rasteriser: colour, depth, ids and classes at once.

Everything here lives in CARLA's frame: left-handed, x forward, y right, z up, metres; angles in radians,
pitch positive nose up, yaw positive clockwise seen from above.
"""

from __future__ import annotations

from .batches import ActorBatch, LightBatch, Look, RenderedView, WeatherLook, look_of
from .map_model import MapModel
from .renderer import Renderer
from .warm import warm

__all__ = [
    "ActorBatch",
    "LightBatch",
    "Look",
    "MapModel",
    "RenderedView",
    "Renderer",
    "WeatherLook",
    "look_of",
    "warm",
]
