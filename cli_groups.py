"""The groups of the command `loop`: `loop episodes`, `loop wheel`, `loop driver`; and what all commands share."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import UsageError

episodes_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at recorded episodes.")
wheel_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Steering wheels and gamepads. Example: loop wheel list"
)
driver_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="People who drive. Example: loop driver list"
)

Home = Annotated[
    Path,
    typer.Option("--home", envvar="LOOP_HOME", help="Folder of the store, the registry and the reports."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    from .store.sealing import plain

    typer.echo(json.dumps(plain(value), indent=2, default=str))  # str: dates and other types of a user's SQL


@episodes_app.command("list")
def episodes_list(
    home: Home = Path(),
    scenario: Annotated[str, typer.Option("--scenario", help="Only this scenario type.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List recorded episodes.

    Example:
      loop episodes list --scenario DynamicObjectCrossing --json
    """
    from .progress import rows_table
    from .store import queries
    from .store.database import Store

    rows = queries.episodes(Store(home), scenario=scenario or None, limit=limit, newest_first=True)
    print_json(rows) if as_json else rows_table(rows)


@episodes_app.command("show")
def episodes_show(episode_id: str, home: Home = Path(), as_json: Json = False) -> None:
    """Show one episode: outcome, takeovers, segments, pairs. A prefix of the id is enough.

    Example:
      loop episodes show 3f2a
    """
    from .progress import episode_view
    from .store import queries
    from .store.database import Store

    found = queries.episode(Store(home), episode_id)
    print_json(found) if as_json else episode_view(found)


@episodes_app.command("export")
def episodes_export(
    episode_id: str,
    video: Annotated[Path, typer.Option("--video", help="The mp4 to write; needs the extra [viz].")],
    view: Annotated[str, typer.Option("--view", help="chase, hood, or a camera of the policy.")] = "chase",
    home: Home = Path(),
) -> None:
    """Write an episode as an mp4. A prefix of the id is enough.

    Example:
      loop episodes export 3f2a --video drive.mp4
    """
    from .collect.cockpit.recorded import Recorded, find_episode
    from .collect.cockpit.replay import Theatre
    from .collect.cockpit.video import export_video

    pictures = export_video(Theatre(Recorded(find_episode(home, episode_id))), video, view=view)
    typer.echo(f"{video}: {pictures} pictures, {pictures / 20:.1f} s")


@episodes_app.command("note")
def episodes_note(
    episode_id: Annotated[str, typer.Argument(help="A prefix of the id is enough.")],
    text: Annotated[str, typer.Argument(help="What you want to say of it; quote it.")] = "",
    takeover: Annotated[
        int | None, typer.Option("--takeover", help="Onset tick of one takeover; default: the whole episode.")
    ] = None,
    verdict: Annotated[str, typer.Option("--verdict", help="good | mistake | discard")] = "",
    reason: Annotated[str, typer.Option("--reason", help="collision_risk, rule, too_slow, ...")] = "",
    home: Home = Path(),
) -> None:
    """Say something of a recorded episode: a note, or a verdict or reason, which change what it teaches.

    Examples:
      loop episodes note 3f2a "the van hid the walker"
      loop episodes note 3f2a --takeover 212 --verdict mistake
    """
    from .collect.labels import annotate
    from .config import load_config
    from .loop import RunConfig
    from .store.database import Store

    if not (text or verdict or reason):
        raise UsageError("nothing is said", fix='write for example loop episodes note 3f2a "too late"')
    rules = load_config(RunConfig)
    whole = annotate(
        Store(home),
        episode_id,
        onset_tick=takeover,
        verdict=verdict,
        reason=reason,
        note=text,
        segmenter=rules.segmenter,
        pairs=rules.pairs,
    )
    typer.echo(f"kept with episode {whole}")


@wheel_app.command("list")
def wheel_list(home: Home = Path(), as_json: Json = False) -> None:
    """List plugged wheels and gamepads with the profile of each, and the profiles that there are.

    Example:
      loop wheel list --json
    """
    from .collect.devices import console

    rows = console.listed(home)
    if as_json:
        return print_json(rows)
    for row in rows:
        typer.echo(
            f"{row['device']}  {row['usb']}  profile: {row['profile'] or 'none: `loop wheel calibrate`'}"
        )
    if not rows:
        typer.echo("no wheel or gamepad is plugged in")
    return typer.echo(f"profiles for --wheel:\n{console.shipped(home)}")


@wheel_app.command("calibrate")
def wheel_calibrate(
    home: Home = Path(),
    name: Annotated[str, typer.Option("--name", help="Of the profile; default: made of the device's.")] = "",
) -> None:
    """Make a profile of the plugged wheel or gamepad: follow the questions.

    Example:
      loop wheel calibrate --name my_wheel
    """
    from .collect.devices import console

    path = console.calibrate(home, name, typer.echo, lambda text: typer.prompt(text, "", show_default=False))
    typer.echo(f"wrote {path}; try it: loop wheel test --wheel {path.stem}")


@wheel_app.command("test")
def wheel_test(
    home: Home = Path(),
    wheel: Annotated[
        str | None, typer.Option("--wheel", help="Profile; default: by what is plugged.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long.")] = 30.0,
) -> None:
    """Show steering, pedals and presses as the cockpit reads them.

    Example:
      loop wheel test --wheel g29 --seconds 10
    """
    from .collect.devices import console

    console.watch(home, wheel, seconds, typer.echo)


@driver_app.command("list")
def driver_list(home: Home = Path(), as_json: Json = False) -> None:
    """List the drivers of this home: name, pseudonym, consent, time at the wheel.

    Example:
      loop driver list --json
    """
    from .collect.cockpit.drivers import DriverBook
    from .progress import rows_table

    rows = [asdict(driver) for driver in DriverBook(home).all()]
    print_json(rows) if as_json else rows_table(rows)


@driver_app.command("forget")
def driver_forget(
    name: Annotated[str, typer.Argument(help="The driver's name, or the pseudonym.")],
    home: Home = Path(),
    as_json: Json = False,
) -> None:
    """Remove a driver's drives from disk, index and future training; name the generations that learnt from them.

    Example:
      loop driver forget anna
    """
    from .collect.cockpit.forgetting import forget_driver

    found = forget_driver(home, name)
    print_json(asdict(found)) if as_json else typer.echo(found.text())
