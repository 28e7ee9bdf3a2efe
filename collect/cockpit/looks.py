"""What each state of the handover looks like: a colour, a pattern of the frame, and a word; never colour alone.

The colours are Okabe and Ito's, moved apart until every two of them differ by more than 30 in CIELAB for people with normal
sight and with each of the three dichromacies (theirs come as near as 17: blue and green in tritanopia). The patterns tell
the states apart in black and white as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...vocabulary import HandoverState
from .text import DARK, WHITE, Colour

BLUE: Colour = (0, 75, 187)
SKY: Colour = (86, 180, 233)
PALE: Colour = (150, 172, 186)  # SKY, washed out
VERMILION: Colour = (212, 71, 0)
GREEN: Colour = (22, 205, 130)
YELLOW: Colour = (245, 225, 71)
PURPLE: Colour = (219, 116, 187)
BLACK: Colour = (10, 10, 12)
MINT: Colour = (94, 226, 186)


class Pattern(StrEnum):
    """How the frame around the picture is drawn."""

    THIN = "thin"
    WIDE = "wide"
    FLASH = "flash"  # wide, and blinking
    DASHES = "dashes"
    DOTS = "dots"
    HAZARD = "hazard"  # diagonal stripes in black and white


@dataclass(frozen=True, slots=True)
class Look:
    """Appearance of one state.

    Attributes:
        word: In the banner.
        line: Below it.
        colour: Of frame and banner.
        ink: Of the words on it.
        pattern: Of the frame.
    """

    word: str
    line: str
    colour: Colour
    ink: Colour
    pattern: Pattern


LOOKS: dict[HandoverState, Look] = {
    HandoverState.AUTONOMOUS: Look("POLICY DRIVES", "watch the road", BLUE, WHITE, Pattern.THIN),
    HandoverState.REQUESTED: Look(
        "TAKE OVER", "steer, brake or press the button", VERMILION, WHITE, Pattern.FLASH
    ),
    HandoverState.DRIVER: Look("YOU DRIVE", "the policy only watches", GREEN, DARK, Pattern.WIDE),
    HandoverState.HANDBACK: Look("HANDING BACK", "let go gently", YELLOW, DARK, Pattern.DASHES),
    HandoverState.PROBATION: Look("POLICY ON PROBATION", "stay ready", PURPLE, DARK, Pattern.DOTS),
    HandoverState.SAFE_STOP: Look(
        "SAFE STOP", "the car is stopping: take over", BLACK, WHITE, Pattern.HAZARD
    ),
}
