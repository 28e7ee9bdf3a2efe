"""What became of a takeover, in the words of its driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any


def story(found: dict[str, Any]) -> list[str]:
    """Sentences for the driver, the most important first.

    Args:
        found: Of `provenance.became_of`.
    """
    takeover = found["takeover"]
    said = [_what(found), f"It {_gave(found)}, {_shaped(found)}."]
    if takeover["verdict"]:
        said.append(f"You called it: {takeover['verdict']}.")
    said.append(_now(found))
    return said if found["tried"] is None else [*said, _again(found["tried"])]


def clock(takeover: dict[str, Any]) -> datetime:
    """About when the driver took over, in this machine's zone: the drive's beginning and the simulated time since then.

    Pauses are not counted, and an unattended drive runs faster than the clock.
    """
    begun = datetime.fromisoformat(takeover["drive_utc"]).astimezone()
    return begun + timedelta(seconds=float(takeover["onset_s"]))


def spans(numbers: Sequence[int]) -> str:
    """Numbers as people write them: 1-4, 6.

    Args:
        numbers: In order, without repetition.
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _what(found: dict[str, Any]) -> str:
    takeover = found["takeover"]
    who = (
        f"generation {takeover['generation']}" if takeover["generation"].isdigit() else takeover["generation"]
    )
    return (
        f"Your takeover of {clock(takeover):%H:%M} ({takeover['reason']}): {who} failed in {takeover['case_id']} after "
        f"{takeover['onset_s']:.1f} s, and you drove for {takeover['driven_s']:.1f} s."
    )


def _gave(found: dict[str, Any]) -> str:
    admitted = [row for row in found["pairs"] if row["admitted"]]
    left = Counter(row["reject_reason"] for row in found["pairs"] if not row["admitted"])
    recoveries = sum(row["phase"] == "recovery" and row["train_mask"] for row in found["segments"])
    parts = [_count(len(admitted), "pair")] if admitted else []
    parts += [_count(recoveries, "recovery", "recoveries")] if recoveries else []
    failed = max((row["failed_plans"] or 0 for row in found["generations"]), default=0)
    parts += [_count(failed, "plan to keep away from", "plans to keep away from")] if failed else []
    why = ", ".join(f"{reason} {number}" for reason, number in left.most_common())
    also = f" ({_count(left.total(), 'candidate')} left out: {why})" if left else ""
    return f"went into {' and '.join(parts)}{also}" if parts else f"teaches nothing{also}"


def _shaped(found: dict[str, Any]) -> str:
    numbers = [row["generation"] for row in found["generations"]]
    if not numbers:
        return "and no generation has learnt from it yet"
    promoted = [row["generation"] for row in found["generations"] if row["gate"] == "promote"]
    said = f"and shaped generation{'s' if len(numbers) > 1 else ''} {spans(numbers)}"
    if promoted:
        said += f"; promoted: {spans(promoted)}"
    if found["later"]:
        said += f"; refined from those: {spans(found['later'])}"
    return said


def _now(found: dict[str, Any]) -> str:
    takeover, champion = found["takeover"], found["champion"]
    title = f"{takeover['scenario']}{' decoys' if takeover['decoy'] else ''}"
    scene = {row["generation"]: row for row in found["scene"]}
    if champion not in scene:
        return f"How the champion does on {title} has not been measured."
    failed = int(takeover["generation"]) if takeover["generation"].isdigit() else None
    both = found["compared"]
    if both is not None:
        return (
            f"On the {_count(both['cases'], f'{title} case')} of the gate's suites that both have driven the champion, "
            f"generation {champion}, passes {both['champion']}; generation {failed}, which failed here, passed "
            f"{both['failed']}."
        )
    now = scene[champion]
    said = (
        f"On the {title} cases of the gate's suites that it has driven the champion, generation {champion}, passes "
        f"{now['passed']} of {now['cases']}"
    )
    return f"{said}; it is the one that failed here." if failed == champion else f"{said}."


def _again(tried: dict[str, Any]) -> str:
    """What came of driving its scene again."""
    said = (
        f"Driven again {tried['tries']} times, generation {tried['generation']} failed {tried['failed']} and the expert "
        f"passed {tried['expert_passed']}"
    )
    if not tried["admitted"]:
        return f"{said}: no case ({tried['reason'].replace('_', ' ')})."
    passing = (
        f"generations that pass it: {spans(tried['passed_by'])}"
        if tried["passed_by"]
        else "nobody passes it yet"
    )
    return f"{said}: a certified case; {passing}."


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
