"""What recorded drives tell of a generation's confidence, for the HUD, the summary of a sitting and `loop doctor`."""

from __future__ import annotations

import math
from typing import Any

from ...config import DriveConfig
from ..handover import HelpReason
from ..help_requests import Asked, Calibration, Exposure


def exposure_of(config: DriveConfig) -> Exposure:
    """The least evidence that a home asks for."""
    return Exposure(config.help_min_hours, config.help_min_needs)


def confidence_row(generation: str, found: Calibration, least: Exposure) -> dict[str, Any]:
    """What a calibration says, for the summary."""
    asks_above_m = found.unsure_m(least)
    return {
        "generation": generation,
        "asks_above_m": asks_above_m if asks_above_m < math.inf else None,
        "off_because": found.off_because(least),
        "false_per_hour": found.false_per_hour,
        "foreseen": found.foreseen,
        "needs": found.needs,
        "hours": found.hours,
    }


def confidence_words(row: dict[str, Any], name: str = "") -> str:
    """`confidence_row` for people.

    Args:
        row: Of one generation.
        name: What to call it; "" by its number.
    """
    name = name or f"generation {row['generation']}"
    if row["off_because"]:
        return f"{name} does not ask for help when its plans disagree: {row['off_because']}"
    return (
        f"{name} asks for help when its plans disagree by {row['asks_above_m']:.2f} m: on {row['hours']:.1f} recorded "
        f"hours {row['foreseen']} of {row['needs']} needs foreseen, {row['false_per_hour']:.0f} false requests an hour"
    )


_REASONS = {
    HelpReason.STALE_PLAN: "late",
    HelpReason.LOW_CONFIDENCE: "unsure",
    HelpReason.OUT_OF_DOMAIN: "off its road or route",
}


def asked_row(asked: Asked) -> dict[str, Any]:
    """What a policy asked for in a sitting, for the summary."""
    return {
        "requests": sum(asked.reasons.values()),
        "reasons": asked.reasons,
        "false": asked.false,
        "hours": asked.hours,
        "false_per_hour": asked.false_per_hour,
    }


def asked_words(row: dict[str, Any]) -> str:
    """`asked_row` for people."""
    if not row["requests"]:
        return "the policy never asked for help"
    why = ", ".join(f"{count} {_REASONS[HelpReason(name)]}" for name, count in sorted(row["reasons"].items()))
    return (
        f"the policy asked for help: {why}; {row['false']} times no need followed, {row['false_per_hour']:.0f} false "
        f"requests an hour in {60.0 * row['hours']:.1f} minutes of its driving"
    )
