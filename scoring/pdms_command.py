"""`python -m takeover.scoring.pdms FILE [--json]`: the score of every proposal of a file of scenes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError
from .epdms import EpdmsInputs, score_extended
from .pdms import score_tracks, track_plans
from .scene_file import SceneFile, read

COLUMNS = ("NC", "DAC", "EP", "TTC", "C", "PDMS")
EXTENDED = ("DDC", "TLC", "LK", "HC", "EC", "EPDMS")
Row = dict[str, int | str | float | None]


def rows_of(one: SceneFile, extended: bool = False) -> Iterator[Row]:
    """One row per proposal: scene, proposal, `COLUMNS`, with `extended` also `EXTENDED` (None: the scene lacks it)."""
    tracks = track_plans(one.scene, one.plans_m)
    scores = score_tracks(one.scene, tracks)
    values = (scores.nc, scores.dac, scores.ep, scores.ttc, scores.comfort, scores.pdms)
    more = score_extended(one.scene, tracks, EpdmsInputs(on_route_lanes=one.on_route_lanes or None))
    for i, name in enumerate(one.names):
        row: Row = {"scene": one.ident, "proposal": name}
        row |= {key: float(column[i]) for key, column in zip(COLUMNS, values, strict=True)}
        if extended:
            terms = (more.ddc, more.tlc, more.lk, more.hc, more.ec, more.epdms)
            row |= {k: None if t is None else float(t[i]) for k, t in zip(EXTENDED, terms, strict=True)}
        yield row


def table(rows: list[Row]) -> str:
    """Readable lines for one scene; `-` for a term that the scene lacks."""
    columns = [key for key in rows[0] if key not in ("scene", "proposal")]
    wide = max(len("proposal"), *(len(str(row["proposal"])) for row in rows))
    lines = [f"scene {rows[0]['scene']}", f"  {'proposal':<{wide}}" + "".join(f"{key:>7}" for key in columns)]
    for row in rows:
        cells = ("-" if (value := row[key]) is None else f"{value:.3f}" for key in columns)
        lines.append(f"  {row['proposal']!s:<{wide}}" + "".join(f"{cell:>7}" for cell in cells))
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Score a file; the exit code is 0, or 2 for input that cannot be scored."""
    parser = argparse.ArgumentParser(
        prog="python -m takeover.scoring.pdms", description="PDM scores (NAVSIM v1.1) of proposals."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="scenes with proposals, .json or .json.gz")
    parser.add_argument("--json", action="store_true", help="one JSON line per proposal")
    parser.add_argument(
        "--extended", action="store_true", help="NAVSIM v2's further terms too, where they exist"
    )
    wanted = parser.parse_args(arguments)
    try:
        for one in read(wanted.file):
            rows = list(rows_of(one, wanted.extended))
            if wanted.json:
                sys.stdout.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
            else:
                sys.stdout.write(table(rows))
        sys.stdout.flush()
    except UsageError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}; fix: {error.fix}\n")
        return error.exit_code
    except BrokenPipeError:  # the reader, `head` for one, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
