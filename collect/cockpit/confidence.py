"""What recorded drives tell of a generation's confidence, in the summary of a sitting."""

from __future__ import annotations

from typing import Any

from ..help_requests import Calibration


def confidence_row(generation: str, found: Calibration) -> dict[str, Any]:
    """What a calibration says, for the summary."""
    return {
        "generation": generation,
        "informative": found.informative,
        "asks_above_m": found.threshold_m if found.informative else None,
        "false_per_hour": found.false_per_hour,
        "foreseen": found.foreseen,
        "needs": found.needs,
        "hours": found.hours,
    }


def confidence_words(row: dict[str, Any]) -> str:
    """`confidence_row` for people."""
    on = f"on {row['hours'] * 60.0:.0f} recorded minutes"
    if not row["informative"]:
        return (
            f"generation {row['generation']} does not ask when its plans disagree: {on} that foresaw need no "
            "better than chance"
        )
    return (
        f"generation {row['generation']} asks for help when its plans disagree by {row['asks_above_m']:.2f} m: {on} "
        f"{row['foreseen']} of {row['needs']} needs foreseen, {row['false_per_hour']:.0f} false requests an hour"
    )
