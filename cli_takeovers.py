"""The commands `loop takeovers` and `loop whatif`: takeovers as cases that any generation can be put to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_groups import Home, Json, print_json

takeovers_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Takeovers as cases for any generation. Example: loop takeovers certify --limit 10",
)
Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file; default: loop.yaml of this folder, if any.")
]
COLUMNS = (
    "takeover_id",
    "case_id",
    "generation",
    "lead_s",
    "failed",
    "expert_passed",
    "tries",
    "admitted",
    "reason",
)


@takeovers_app.command("certify")
def certify(
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many now; the next call goes on.")
    ] = None,
    home: Home = Path(),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Try every accepted takeover: does the generation fail there again, and can the expert pass?

    Ten drives each, on the embedded server. Admitted are those where the same state was reached, the generation fails in at
    least 3 of 5 tries and the expert passes at least 4 of 5.

    Example:
      loop takeovers certify --limit 10
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress

    with RichProgress() as progress:
        rows = Loop(home, load_config(RunConfig, config), progress).takeover_cases.certify(limit)
    if as_json:
        return print_json(rows)
    _table(rows)
    return typer.echo(f"{sum(row['admitted'] for row in rows)} of {len(rows)} admitted")


@takeovers_app.command("list")
def listed(home: Home = Path(), as_json: Json = False) -> None:
    """List what was tried, admitted or not, and which generations pass.

    Example:
      loop takeovers list --json
    """
    from .store import queries
    from .store.database import Store

    rows = queries.takeover_cases(Store(home))
    print_json(rows) if as_json else _table(rows, "passed_by")


@takeovers_app.command("drive")
def drive(
    generation: Annotated[str, typer.Option("--generation", help="Number, or champion.")] = "champion",
    home: Home = Path(),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Drive a generation on the certified takeovers; what is known is not driven again.

    Example:
      loop takeovers drive --generation 4
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress
    from .store.provenance import generation_named

    with RichProgress() as progress:
        loop = Loop(home, load_config(RunConfig, config), progress)
        number = int(generation_named(loop.store, generation)["generation"])
        found = loop.takeover_cases.drive(number)
    if as_json:
        return print_json({"generation": number, "passes": found})
    return typer.echo(f"generation {number} passes {sum(found.values())} of {len(found)} certified takeovers")


def whatif(
    takeover: Annotated[str, typer.Argument(help="Id, or enough of its beginning.")],
    generation: Annotated[str, typer.Option("--generation", help="Number, or champion.")] = "champion",
    picture: Annotated[
        Path | None, typer.Option("--out", help="The PNG; default: in the home's folder whatif.")
    ] = None,
    home: Home = Path(),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Drive a takeover's scene again with another generation; draw old plan, new plan and the driver's path side by side.

    Examples:
      loop whatif 3f2a --generation 4
      loop whatif 3f2a/1 --out then_and_now.png
    """
    from .config import load_config
    from .evaluate.whatif import what_if
    from .loop import Loop, RunConfig
    from .progress import RichProgress
    from .store.provenance import generation_named, takeover_named

    with RichProgress() as progress:
        loop = Loop(home, load_config(RunConfig, config), progress)
        row = takeover_named(loop.store, takeover)
        number = int(generation_named(loop.store, generation)["generation"])
        found = what_if(loop.store, loop.takeover_cases, row, number, picture)
    print_json(asdict(found)) if as_json else typer.echo(found.text())


def _table(rows: list[dict[str, Any]], *more: str) -> None:
    from .progress import rows_table

    rows_table([{name: row[name] for name in (*COLUMNS, *more)} for row in rows])
