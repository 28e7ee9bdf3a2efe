from __future__ import annotations

import numpy as np
import pytest

from takeover.scoring.progress import line_of, nearest


def brute(x: float, y: float, line: np.ndarray) -> float:
    """Arc length of the nearest point, by looking at every segment."""
    start, step = line[:-1, :2], np.diff(line[:, :2], axis=0)
    share = ((np.array([x, y]) - start) * step).sum(1) / (step**2).sum(1)
    share = share.clip(0.0, 1.0)
    away = np.hypot(*(start + share[:, None] * step - (x, y)).T)
    i = int(away.argmin())
    return float(line[i, 2] + share[i] * np.hypot(*step[i]))


def test_a_line_by_hand() -> None:
    line = line_of(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [3.0, 6.0]]))
    # 3-4-5 to the corner, whose double is left out, then 2 m to the left.
    assert line.tolist() == [[0, 0, 0, 0.6, 0.8], [3, 4, 5, 0, 1], [3, 6, 7, 0, 0]]
    # From (5, 5) the foot lies 1 m behind the corner; (1, -1) lies 0.2 m before the start; (9, 99) is past the end.
    assert [nearest(x, y, line, 5.0, 0) for x, y in ((5.0, 5.0), (1.0, -1.0), (9.0, 99.0))] == [
        (6.0, 1),
        (0.0, 0),
        (7.0, 1),
    ]
    assert line_of(np.zeros((1, 2))).shape == (0, 5)


@pytest.mark.parametrize("seed", range(4))
def test_the_guess_costs_time_alone(seed: int) -> None:
    """A winding line that comes near itself, uneven segments, points far and near."""
    rng = np.random.default_rng(seed)
    turn = np.cumsum(rng.normal(0.0, 0.35, 120))
    steps = rng.uniform(0.2, 3.0, 120)[:, None] * np.stack((np.cos(turn), np.sin(turn)), 1)
    line = line_of(np.cumsum(steps, axis=0))
    longest = float(np.diff(line[:, 2]).max())
    low, high = line[:, :2].min(0) - 20.0, line[:, :2].max(0) + 20.0
    for x, y in rng.uniform(low, high, (40, 2)):
        found = {nearest(x, y, line, longest, guess) for guess in (*range(len(line) - 1), -3, 10_000)}
        assert len(found) == 1
        assert next(iter(found))[0] == pytest.approx(brute(x, y, line), abs=1e-9)


def test_of_two_nearest_segments_the_first_is_taken() -> None:
    """On both legs of a hairpin, 1 m from each."""
    line = line_of(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 2.0], [0.0, 2.0]]))
    assert {nearest(4.0, 1.0, line, 10.0, guess) for guess in range(3)} == {(4.0, 0)}
