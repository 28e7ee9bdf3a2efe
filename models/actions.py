"""Action tokens: one per 0.5 s, acceleration x curvature, integrated by the bicycle model. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..scoring.kinematics import rollout_actions, rollout_states
from ..vocabulary import PLAN_POINTS, PLAN_STEP_S, Float

ACCEL_MPS2 = (-7.0, -4.5, -2.8, -1.5, -0.6, 0.0, 0.6, 1.5, 2.8)
_BENDS = (0.004, 0.011, 0.025, 0.05, 0.095, 0.17)
CURVATURE_PM = (*(-k for k in reversed(_BENDS)), 0.0, *_BENDS)  # 1/m, positive left, denser near straight
BEAM = 12
_Array = NDArray[np.float64]


@njit(
    "Tuple((float64[::1], float64[:, ::1]))"
    "(float64[:, ::1], float64[:, :], float64[::1], float64[::1], float64[:], boolean)",
    cache=True,
)
def _grow(
    ends: _Array, moves: _Array, costs: _Array, price: _Array, target: _Array, counts: bool
) -> tuple[_Array, _Array]:
    """Costs (beams * actions,) and ends (beams * actions, 4) of every beam after every action."""
    n = len(price)
    grown, total = np.empty((len(ends) * n, 4)), np.empty(len(ends) * n)
    for beam in range(len(ends)):
        x, y, yaw = ends[beam, 0], ends[beam, 1], ends[beam, 2]
        cos, sin = math.cos(yaw), math.sin(yaw)
        for action in range(n):
            row = beam * n + action
            forward, left = moves[row, 0], moves[row, 1]
            grown[row, 0] = x + (forward * cos - left * sin)
            grown[row, 1] = y + (forward * sin + left * cos)
            grown[row, 2] = yaw + moves[row, 2]
            grown[row, 3] = moves[row, 3]
            total[row] = costs[beam] + price[action]
            if counts:
                total[row] += (grown[row, 0] - target[0]) ** 2 + (grown[row, 1] - target[1]) ** 2
    return total, grown


@dataclass(frozen=True, slots=True)
class Fit:
    """Action tokens for a trajectory, and how far their own trajectory is from it."""

    actions: tuple[int, ...]
    waypoints_m: Float  # (8, 2) what the tokens decode to
    ade_m: float
    max_error_m: float


class ActionCodec:
    """Waypoints <-> eight action tokens. Action `i` is (accel, curvature) = divmod(i, len(curvature))."""

    def __init__(
        self, accel_mps2: tuple[float, ...] = ACCEL_MPS2, curvature_pm: tuple[float, ...] = CURVATURE_PM
    ) -> None:
        self.accel_mps2 = accel_mps2
        self.curvature_pm = curvature_pm
        grid = np.array([(a, k) for a in accel_mps2 for k in curvature_pm], np.float64)
        self._accel, self._curvature = grid[:, 0], grid[:, 1]

    def __len__(self) -> int:
        return len(self._accel)

    @property
    def tokens(self) -> list[str]:
        """The vocabulary entries, `<a0>` first."""
        return [f"<a{i}>" for i in range(len(self))]

    def text(self, actions: ArrayLike) -> str:
        """The token text of a plan."""
        return "".join(f"<a{int(i)}>" for i in np.asarray(actions))

    def decode(self, actions: ArrayLike, speed_mps: float) -> Float:
        """Integrate actions from the present speed.

        Args:
            actions: (8,) indices.
            speed_mps: Ego speed.

        Returns:
            (8, 2) float32, metres, ego frame.
        """
        index = np.asarray(actions, np.int64)
        track = self._roll(np.array([speed_mps]), self._accel[index][None], self._curvature[index][None])
        return track[0].astype(np.float32)

    def encode(self, waypoints_m: ArrayLike, speed_mps: float, mask: ArrayLike | None = None) -> Fit:
        """Find the tokens whose trajectory is nearest, by beam search over the bicycle model.

        Args:
            waypoints_m: (8, 2) metres, ego frame.
            speed_mps: Ego speed.
            mask: (8,) false where a waypoint says nothing; its action is the gentlest that fits the rest.
        """
        target = np.asarray(waypoints_m, np.float64)[:, :2]
        counts = np.ones(PLAN_POINTS, bool) if mask is None else np.asarray(mask, bool)
        n = len(self)
        # A tiny price on action keeps plans calm where several fit alike, and decides where nothing is asked.
        price = 1e-3 * (np.abs(self._accel) + 20 * np.abs(self._curvature))
        beams = np.zeros((1, 0), np.int64)
        costs = np.zeros(1)
        ends = np.array(
            [[0.0, 0.0, 0.0, speed_mps]]
        )  # x_m, y_m, yaw_rad, speed_mps where each beam has come to
        for step in range(PLAN_POINTS):
            moves = rollout_states(
                np.repeat(ends[:, 3], n),
                np.tile(self._accel, len(beams))[:, None],
                np.tile(self._curvature, len(beams))[:, None],
                PLAN_STEP_S,
            )[:, 0]
            costs, grown = _grow(ends, moves, costs, price, target[step], bool(counts[step]))
            near = np.flatnonzero(
                costs <= np.partition(costs, BEAM - 1)[BEAM - 1]
            )  # sorting them all is dear
            keep = near[np.argsort(costs[near], kind="stable")[:BEAM]]
            parent, action = np.divmod(keep, n)
            beams = np.concatenate((beams[parent], action[:, None]), axis=1)
            costs, ends = costs[keep], grown[keep]
        best = tuple(int(i) for i in beams[0])
        track = self.decode(best, speed_mps)
        error = np.linalg.norm(track - target, axis=1)[counts]
        ade, worst = (float(error.mean()), float(error.max())) if error.size else (0.0, 0.0)
        return Fit(best, track, ade, worst)

    @staticmethod
    def _roll(
        speed_mps: NDArray[np.float64], accel: NDArray[np.float64], curvature: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.asarray(rollout_actions(speed_mps, accel, curvature, PLAN_STEP_S))[..., :2]
