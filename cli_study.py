"""The command `loop study`: the protocol of the proof as a program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_groups import Home, Json, print_json


def study(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Small sizes, the same tables, marked as quick: minutes, not hours."),
    ] = False,
    parts: Annotated[
        str,
        typer.Option("--parts", help="Comma-separated: gate,rows,arms,twins,null,headline; default: all."),
    ] = "",
    minutes: Annotated[
        float, typer.Option("--minutes", min=0, help="Begin nothing that would end later; 0 does everything.")
    ] = 0.0,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="Markdown to write; default: study/<size>/study.md of the home."),
    ] = None,
    runs: Annotated[
        str,
        typer.Option("--runs", help="Comma-separated homes of finished runs for the headline, no new ones."),
    ] = "",
    home: Home = Path(),
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file; default: loop.yaml of this folder, if any.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Rollout workers; default 4.")] = None,
    as_json: Json = False,
) -> None:
    """Do takeovers teach? Baselines, controls, the gate's error rates and whole runs, as one page. Resumable.

    A home without a finished run gets one first. Killed? The same command goes on.

    Examples:
      loop study --quick
      loop study --home /data/loop --parts rows,arms --page docs/study.md
    """
    from .config import load_config
    from .evaluate.study_budget import FULL, QUICK
    from .loop import Loop, RunConfig
    from .progress import RichProgress
    from .study import Study

    with RichProgress() as progress:
        loop = Loop(home, load_config(RunConfig, config, {"sim.workers": workers}), progress)
        work = Study(loop, QUICK if quick else FULL, page=page, runs=[Path(p) for p in runs.split(",") if p])
        found = work.run([name.strip() for name in parts.split(",") if name.strip()], minutes)
    if as_json:
        print_json(found)
    else:
        typer.echo(Path(found["page"]).read_text(encoding="utf-8"))
