"""Ego progress: arc length on a centre line, looking only where the nearest point can be."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


def line_of(centerline_m: Array) -> Array:
    """(M, 5) x, y, arc length and direction onwards of a line (K, 2) without points that stand on their predecessor."""
    points = np.array(centerline_m, np.float64).reshape(-1, 2)
    if len(points) < 2:
        return np.zeros((0, 5))
    gaps = np.hypot(*np.diff(points, axis=0).T)
    points = points[np.concatenate(([True], gaps > 0.0))]
    along = np.concatenate(([0.0], np.cumsum(gaps[gaps > 0.0])))
    onwards = np.zeros_like(points)
    onwards[:-1] = np.diff(points, axis=0) / np.diff(along)[:, None]
    return np.column_stack((points, along, onwards))


@njit("UniTuple(float64, 2)(float64, float64, float64[:, ::1], int64)", cache=True)
def _on_segment(x: float, y: float, line: Array, i: int) -> tuple[float, float]:
    """Squared distance to a segment, and the arc length of its nearest point."""
    dx, dy = x - line[i, 0], y - line[i, 1]
    part = min(max(dx * line[i, 3] + dy * line[i, 4], 0.0), line[i + 1, 2] - line[i, 2])
    dx, dy = dx - part * line[i, 3], dy - part * line[i, 4]
    return dx * dx + dy * dy, line[i, 2] + part


@njit("Tuple((float64, int64))(float64, float64, float64[:, ::1], float64, int64)", cache=True)
def nearest(x: float, y: float, line: Array, longest: float, near: int) -> tuple[float, int]:
    """Arc length of the point of a line nearest to x, y, and its segment; of several such segments the first.

    `longest` is the length of the longest segment, `near` a guess of the nearest, which costs time alone.

    No point within d - b of a corner d away is nearer than b: the further away the line is, the more of it is skipped.
    """
    last = line.shape[0] - 2
    found = min(max(near, 0), last)
    best, at = _on_segment(x, y, line, found)
    # A few steps downhill first: the nearer the best one known, the longer the leaps.
    for step in (1, -1):
        while 0 <= found + step <= last:
            away, along = _on_segment(x, y, line, found + step)
            if not away < best:
                break
            best, at, found = away, along, found + step
    bound = math.sqrt(best)
    i = 0
    while i <= last:
        dx, dy = x - line[i, 0], y - line[i, 1]
        slack = math.sqrt(dx * dx + dy * dy) - bound
        if slack > 0.0 and line[i + 1, 2] - line[i, 2] < slack:
            i += max(int(slack / longest), 1)
            continue
        away, along = _on_segment(x, y, line, i)
        if away < best or (away == best and i < found):
            best, at, found = away, along, i
            bound = math.sqrt(best)
        i += 1
    return at, found
