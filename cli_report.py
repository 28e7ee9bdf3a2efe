"""The command `loop report`: the pages of a run and of its generations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_groups import Home, Json, print_json


def report(
    run: Annotated[str, typer.Option("--run", help="Beginning of the run's id; default: the newest.")] = "",
    generation: Annotated[
        int | None, typer.Option("--generation", min=0, help="Only the page of this generation.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="File to write; pages of generations go beside it. Default: loop_report.html."
        ),
    ] = None,
    triangle: Annotated[
        bool,
        typer.Option(
            "--triangle", help="Measure forgetting first: every generation in every round's takeovers."
        ),
    ] = False,
    cases: Annotated[
        int, typer.Option("--cases", min=1, max=1000, help="Takeovers of a round for --triangle.")
    ] = 12,
    films: Annotated[
        int,
        typer.Option(
            "--films",
            min=0,
            max=20,
            help="Best and worst cases of a generation to drive again; 0: drive none.",
        ),
    ] = 2,
    home: Home = Path(),
    config: Annotated[Path | None, typer.Option("--config", help="YAML file, as of `loop run`.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Rollout workers.")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page for a run and one for each generation, and log them to MLflow.

    Best and worst cases are driven again for their pictures. What was driven before is not driven again; a killed
    command goes on where it was.

    Examples:
      loop report
      loop report --triangle --cases 12
      loop report --generation 4 --output generation-4.html
      loop report --films 0 --json
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress
    from .reporting import Reporter

    with RichProgress() as progress:
        loop = Loop(home, load_config(RunConfig, config, {"sim.workers": workers}), progress)
        reporter = Reporter(loop, run)
        if triangle:
            reporter.triangle(cases)
        written = reporter.write(output, generation=generation, best=films)
    if as_json:
        return print_json(written.as_dict())
    for path in written.pages:
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    return None
