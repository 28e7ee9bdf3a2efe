"""The PDM score's verdicts in plain numpy and loops: no kernel, no shortcut, nothing shared with `scoring`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from takeover.scoring.scene import STATIC, Polygons, Scene

Array = NDArray[np.float64]


def box(x: float, y: float, yaw: float, length: float, width: float) -> Array:
    """Corners, counter-clockwise."""
    forward, left = np.array([math.cos(yaw), math.sin(yaw)]), np.array([-math.sin(yaw), math.cos(yaw)])
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    return np.array([[x, y] + a * 0.5 * length * forward + b * 0.5 * width * left for a, b in signs])


def meet(one: Array, two: Array) -> bool:
    """Separating axes of two convex polygons; a line of two points is one."""
    for polygon in (one, two):
        for edge in np.roll(polygon, -1, axis=0) - polygon:
            if not edge.any():
                continue
            for axis in (edge, np.array([-edge[1], edge[0]])):
                a, b = one @ axis, two @ axis
                if a.max() < b.min() or b.max() < a.min():
                    return False
    return True


def holds(polygon: Array, point: Array) -> bool:
    """Winding number."""
    rays = np.vstack((polygon, polygon[:1])) - point
    angle = np.arctan2(rays[:, 1], rays[:, 0])
    turn = np.diff(angle)
    return abs(float(np.arctan2(np.sin(turn), np.cos(turn)).sum())) > math.pi


def in_any(polygons: Polygons, point: Array) -> bool:
    return any(holds(polygon, point) for polygon in polygons)


def agent_at(scene: Scene, agent: int, time: float) -> Array | None:
    """x, y, yaw, vx, vy; None where the agent is absent."""
    times, states = scene.agents_t_s, scene.agents[agent]
    if not times[0] - 1e-9 <= time <= times[-1] + 1e-9:
        return None
    exact = np.flatnonzero(np.abs(times - time) < 1e-7)
    if len(exact):
        found: Array = states[exact[0]].copy()
    else:
        high = int(np.searchsorted(times, time))
        share = (time - times[high - 1]) / (times[high] - times[high - 1])
        low, top = states[high - 1], states[high].copy()
        top[2] = low[2] + math.remainder(top[2] - low[2], math.tau)
        found = low + share * (top - low)
    return None if np.isnan(found).any() else found


def verdicts(scene: Scene, track: Array) -> tuple[float, float, float, float]:
    """NC, DAC, TTC and C of one tracked motion (41, 7)."""
    car = scene.vehicle
    drivable = (*scene.roadblock_polygons, *scene.intersection_polygons)
    off, several, crossing = [], [], []
    for x, y, yaw, *_ in track:
        centre = np.array([x, y]) + car.rear_to_centre_m * np.array([math.cos(yaw), math.sin(yaw)])
        points = box(*centre, yaw, car.length_m, car.width_m)
        off.append(not all(in_any(drivable, p) for p in points))
        inside = [sum(holds(lane, p) for p in points) for lane in scene.lane_polygons]
        several.append(sum(n > 0 for n in inside) > 1 and 4 not in inside)
        crossing.append(in_any(scene.intersection_polygons, np.array([x, y])))
    nc, ttc = 1.0, 1.0
    for agent, (length, width) in enumerate(scene.agent_size_m):
        known = [agent_at(scene, agent, 0.1 * k) for k in range(51)]
        first = next((state for state in known if state is not None), None)
        if first is None:
            continue
        static = scene.agent_kind[agent] == STATIC
        ignored, ttc_ignored = False, False
        for step, (x, y, yaw, speed, *_) in enumerate(track):
            for ahead in (0, 3, 6, 9):
                state = known[step + ahead]
                if state is None:
                    continue
                other = box(*state[:3], length, width)
                reach = car.rear_to_centre_m + abs(speed) * 0.1 * ahead
                cx, cy = x + reach * math.cos(yaw), y + reach * math.sin(yaw)
                mine = box(cx, cy, yaw, car.length_m, car.width_m)
                if not meet(mine, other):
                    continue
                bearing = math.atan2(state[1] - y, state[0] - x) - yaw
                angle = abs(math.degrees(math.remainder(bearing, math.tau)))
                loose = off[step] or several[step]
                if not ttc_ignored and abs(speed) >= 0.005:
                    if angle < 30.0 or ((loose or crossing[step]) and not angle > 150.0):
                        ttc = 0.0
                    else:
                        ttc_ignored = True
                if ahead or ignored:
                    continue
                if abs(speed) <= 0.05:
                    fault = False
                elif static or math.hypot(first[3], first[4]) <= 0.05:
                    fault = True
                elif angle > 150.0:
                    fault = False
                else:
                    fault = meet(mine[[0, 3]], other) or loose
                if fault:
                    nc = min(nc, 0.5 if static else 0.0)
                else:
                    ignored = True
    return nc, 0.0 if any(off) else 1.0, ttc, comfort(track)


def comfort(track: Array) -> float:
    """The six bounds of v1; the lateral one holds at a rear axle."""
    accel, heading = track[:, 4], np.unwrap(track[:, 2])
    along = savgol_filter(accel, 41, 2)
    jerk = savgol_filter(savgol_filter(accel, 8, 2), 41, 2, deriv=1, delta=0.1)
    size_jerk = savgol_filter(savgol_filter(np.abs(accel), 8, 2), 41, 2, deriv=1, delta=0.1)
    rate = savgol_filter(heading, 5, 2, deriv=1, delta=0.1)
    turn = savgol_filter(heading, 5, 3, deriv=2, delta=0.1)
    good = (along > -4.05) & (along < 2.40) & (np.abs(jerk) < 4.13) & (np.abs(size_jerk) < 8.37)
    return float((good & (np.abs(rate) < 0.95) & (np.abs(turn) < 1.93)).all())
