"""The command `loop`: every command is a few lines over a library call; heavy imports stay inside the commands."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__
from .cli_groups import Home, Json, driver_app, episodes_app, print_json, wheel_app
from .cli_provenance import trace, why
from .cli_report import report
from .cli_study import study
from .cli_takeovers import takeovers_app, whatif
from .errors import TakeoverError, UsageError

app = typer.Typer(
    name="loop",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    help="Turn a driver's takeovers into a better driving policy: collect, refine, evaluate, promote.",
)
app.add_typer(episodes_app, name="episodes")
app.add_typer(wheel_app, name="wheel")
app.add_typer(driver_app, name="driver")
app.add_typer(takeovers_app, name="takeovers")
app.command()(why)
app.command()(trace)
app.command()(report)
app.command()(whatif)
app.command()(study)

Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file; default: loop.yaml of this folder, if any.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of data, training and drivers.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Rollout workers, each with its own server.")]
Carla = Annotated[
    str | None, typer.Option("--carla", help="host:port of CARLA 0.9.16 server(s); default: embedded.")
]
Model = Annotated[str, typer.Option("--model", help="Generation number, alias, or models:/driver@alias.")]


def main() -> None:
    """Run `loop`; one line for an error, its fix, and its exit code; never a traceback for a foreseen failure."""
    # Before any numeric library loads: on a small machine two OpenMP pools slow each other down many times over.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name, value in (
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("PYGAME_HIDE_SUPPORT_PROMPT", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ):
        os.environ.setdefault(name, value)
    try:
        app()
    except TakeoverError as error:
        sys.stderr.write(f"loop: {error}\n")
        if error.fix:
            sys.stderr.write(f"  fix: {error.fix}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("loop: interrupted; run the same command again to continue\n")
        sys.exit(130)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"takeover-loop {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="Rounds that the run has when it ends; default 5.")
    ] = None,
    driver: Annotated[
        str | None, typer.Option("--driver", help="Who watches and takes over: scripted | human.")
    ] = None,
    home: Home = Path(),
    config: Config = None,
    seed: Seed = None,
    workers: Workers = None,
    carla: Carla = None,
    as_json: Json = False,
) -> None:
    """Collect, refine, evaluate, register and promote, round after round. Killed? The same command continues.

    Examples:
      loop run --rounds 5
      loop run --rounds 2 --seed 7 --home /data/loop --json
      loop run --rounds 1 --driver human
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress, final_table

    flags = {"rounds": rounds, "seed": seed, "sim.workers": workers, "sim.carla": carla}
    flags["collect.driver"] = driver
    settings = load_config(RunConfig, config, flags)
    with RichProgress() as progress:
        loop = Loop(home, settings, progress)
        summary = loop.run()
    if as_json:
        print_json(summary.as_dict())
    else:
        final_table(summary)


@app.command()
def drive(
    driver: Annotated[
        str | None, typer.Option("--driver", help="Your name; only a pseudonym goes into the drives.")
    ] = None,
    model: Model = "models:/driver@champion",
    scenarios: Annotated[
        str, typer.Option("--scenarios", help="Comma-separated types; default: where the champion fails.")
    ] = "",
    free: Annotated[bool, typer.Option("--free", help="Everyday driving only.")] = False,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="No drive begins after so many; 0 to 240.")
    ] = None,
    wheel: Annotated[
        str | None, typer.Option("--wheel", help="Profile of `loop wheel list`, or keyboard.")
    ] = None,
    blind: Annotated[bool, typer.Option("--blind", help="Hide which generation drives.")] = False,
    headless_demo: Annotated[
        bool, typer.Option("--headless-demo", help="No screen, no person: a demo presses the keys.")
    ] = False,
    home: Home = Path(),
    config: Config = None,
    seed: Seed = None,
    carla: Carla = None,
    as_json: Json = False,
) -> None:
    """Sit down and drive: the champion drives, you take over when it fails, and every takeover becomes training data.

    The first start asks for consent; the first five minutes at the wheel are practice and never train. In the window H
    shows the keys, T takes over, Y hands back, Enter pauses, Esc leaves; then a page tells what became of each takeover.

    Examples:
      loop drive --driver anna --minutes 10
      loop drive --scenarios DynamicObjectCrossing,StaticCutIn --blind
      loop drive --headless-demo --minutes 1
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress

    flags: dict[str, Any] = {"seed": seed, "sim.carla": carla, "drive.driver": driver, "drive.wheel": wheel}
    flags |= {"drive.minutes": minutes, "drive.blind": blind or None, "drive.free": free or None}
    flags["drive.scenarios"] = [name.strip() for name in scenarios.split(",")] if scenarios else None
    with RichProgress() as progress:
        found = Loop(home, load_config(RunConfig, config, flags), progress).sit(model, demo=headless_demo)
    if found is None:
        typer.echo("nothing was recorded", err=True)
    elif as_json:
        print_json(found.as_dict())
    else:
        typer.echo(found.text())


@app.command()
def init(
    model: Annotated[str, typer.Option("--model", help="Checkpoint folder or hub id of a Qwen-VL model.")],
    qa: Annotated[
        Path | None, typer.Option("--qa", help="Driving QA in ShareGPT form with images (JSON or JSONL).")
    ] = None,
    home: Home = Path(),
    config: Config = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="SFT steps on the QA.")] = 100,
) -> None:
    """Make generation 0 from your own checkpoint and driving QA (CoReVLA's format).

    Example:
      loop init --model Qwen/Qwen2.5-VL-3B-Instruct --qa driving_qa.jsonl
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress

    with RichProgress() as progress:
        made = Loop(home, load_config(RunConfig, config), progress).init_from(model, qa, steps)
    typer.echo(f"generation {made['generation']} registered as version {made['version']}; it is the champion")


@app.command()
def collect(
    episodes: Annotated[int | None, typer.Option("--episodes", min=1, help="Drives to collect.")] = None,
    home: Home = Path(),
    config: Config = None,
    seed: Seed = None,
    workers: Workers = None,
    carla: Carla = None,
    as_json: Json = False,
) -> None:
    """Drive the champion with the driver watching, record, cut into segments and pairs: the first half of a round.

    Example:
      loop collect --episodes 32
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress

    flags = {"collect.episodes": episodes, "seed": seed, "sim.workers": workers, "sim.carla": carla}
    with RichProgress() as progress:
        result = Loop(home, load_config(RunConfig, config, flags), progress).collect_only()
    print_json(result) if as_json else typer.echo(
        "  ".join(f"{key} {value}" for key, value in result.items())
    )


@app.command()
def pair(
    episodes: Annotated[
        str, typer.Option("--episodes", help="Comma-separated ids or their beginnings, or all.")
    ] = "all",
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant", help="safealign (the paper's re-plans) | ours (more of them, safest first)."
        ),
    ] = None,
    home: Home = Path(),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Label every state of recorded drives as safe or unsafe; pair what was driven from the unsafe ones with a better plan.

    Works on every drive, with or without a takeover; held-out drives never train. The same command again changes nothing.

    Examples:
      loop pair
      loop pair --episodes 3f2a,77c0 --variant safealign --json
    """
    from .collect.pairing import pair_episodes
    from .config import load_config
    from .loop import RunConfig
    from .progress import RichProgress, rows_table
    from .store.database import Store

    rules = load_config(RunConfig, config, {"pairs.variant": variant})
    store = Store(home)
    store.recover()
    wanted = [name.strip() for name in episodes.split(",")]
    with RichProgress() as progress:
        report = pair_episodes(
            store,
            wanted,
            rules.segmenter,
            rules.pairs,
            lambda total: progress.stage("labels and pairs", total),
            progress.advance,
        )
    if as_json:
        return print_json(asdict(report))
    rows_table(report.rows())
    return typer.echo(report.text())


@app.command()
def refine(
    stages: Annotated[
        str, typer.Option("--stages", help="Comma-separated subset of sft,dpo,kto,grpo,anchor.")
    ] = "sft,dpo,grpo,anchor",
    home: Home = Path(),
    config: Config = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Refine the champion on the stored pairs of all rounds and register the result as challenger. Killed? It goes on.

    Example:
      loop refine --stages sft,dpo
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress

    with RichProgress() as progress:
        result = Loop(home, load_config(RunConfig, config, {"seed": seed}), progress).refine_only(
            [name.strip() for name in stages.split(",")]
        )
    print_json(result) if as_json else typer.echo(
        f"challenger: generation {result['generation']} (version {result['version']})"
    )


@app.command()
def ablate(
    stages_list: Annotated[
        str,
        typer.Option(
            "--stages-list",
            help='Arms, for example "sft,dpo;sft,dpo,grpo,anchor", the reference first; default: the tables of SafeAlign.',
        ),
    ] = "",
    seeds: Annotated[str, typer.Option("--seeds", help="Training seeds, comma-separated.")] = "0,1,2",
    cases: Annotated[int, typer.Option("--cases", min=1, help="Long-tail cases an arm and seed.")] = 150,
    nominal_cases: Annotated[int, typer.Option("--nominal-cases", min=1, help="Nominal cases.")] = 24,
    suite: Annotated[str, typer.Option("--suite", help="longtail (gate seeds) | final")] = "longtail",
    start: Annotated[int, typer.Option("--from", help="Generation that every arm starts from.")] = 0,
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes", min=0, help="Begin no run that would end later; 0: all. It goes on next time."
        ),
    ] = 0.0,
    home: Home = Path(),
    config: Config = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """What each stage contributes in closed loop: arms with equal data, steps, seeds and cases, paired with intervals.

    Examples:
      loop ablate --minutes 20
      loop ablate --stages-list "sft,dpo;sft,dpo,grpo,anchor" --seeds 0,1,2 --cases 150 --json
    """
    from .ablate import Ablation
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress, ablation_tables
    from .refine.arms import parse_arms

    numbers = [part.strip() for part in seeds.split(",")]
    if not all(part.isdigit() for part in numbers):
        raise UsageError(f"--seeds {seeds!r} is no list of numbers", fix="write for example --seeds 0,1,2")
    with RichProgress() as progress:
        loop = Loop(home, load_config(RunConfig, config, {"sim.workers": workers}), progress)
        rows, report = Ablation(
            loop,
            parse_arms(stages_list),
            [int(part) for part in numbers],
            cases=cases,
            nominal_cases=nominal_cases,
            name=suite,
            generation=start,
        ).run(minutes)
    print_json(report) if as_json else ablation_tables(rows, report)


@app.command()
def evaluate(
    suite: Annotated[str, typer.Option("--suite", help="nominal | longtail | final | unseen")] = "longtail",
    seeds: Annotated[
        str, typer.Option("--seeds", help="A-B, inclusive; default: the suite's first seeds.")
    ] = "",
    cases: Annotated[
        int, typer.Option("--cases", min=1, help="Number of cases when no seeds are given.")
    ] = 100,
    model: Model = "champion",
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", help="always_brake | never_brake | auto_brake | black | other: drive that instead."
        ),
    ] = "",
    home: Home = Path(),
    config: Config = None,
    workers: Workers = None,
    carla: Carla = None,
    as_json: Json = False,
) -> None:
    """Drive held-out cases closed loop; same cases and seeds for every model.

    Examples:
      loop evaluate --suite final --model champion --json
      loop evaluate --suite longtail --seeds 10000-10063 --model 0
    """
    from .config import load_config
    from .loop import Loop, RunConfig
    from .progress import RichProgress, suite_table

    flags = {"sim.workers": workers, "sim.carla": carla}
    with RichProgress() as progress:
        loop = Loop(home, load_config(RunConfig, config, flags), progress)
        report = loop.evaluate_only(
            suite, model=model, seeds=_seed_range(seeds), cases=cases, baseline=baseline
        )
    print_json(report) if as_json else suite_table(report)


@app.command()
def reason(
    model: Model = "champion",
    scenes: Annotated[int, typer.Option("--scenes", min=1, help="Recorded states to ask about.")] = 64,
    home: Home = Path(),
    config: Config = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Ask a generation to reason about recorded states: can its words be read, and does it do what it says?

    Example:
      loop reason --model 2 --scenes 128 --json
    """
    from .config import load_config
    from .evaluate.reasoning import recorded_scenes
    from .loop import Loop, RunConfig
    from .models.agreement import reasoning_agreement
    from .progress import RichProgress, rows_table

    settings = load_config(RunConfig, config, {"seed": seed})
    with RichProgress() as progress:
        loop = Loop(home, settings, progress)
        found = loop.registry.resolve(model)
        if found.generation is None:
            raise UsageError(f"--model {model} is no registered generation", fix="see `loop status`")
        policy = loop.champions.policy(found.generation)
        inputs = recorded_scenes(loop.store, scenes, settings.seed, policy.config.frames)
        progress.stage(f"generation {found.generation} reasons", 1)
        report = asdict(reasoning_agreement(policy, inputs))
        progress.advance()
    print_json(report) if as_json else rows_table([report])


def _seed_range(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    first, dash, last = text.partition("-")
    if not (first.isdigit() and (last.isdigit() or not dash)):
        raise UsageError(f"--seeds {text!r} is not A-B", fix="write for example --seeds 20000-20099")
    bounds = int(first), int(last or first)
    if bounds[1] < bounds[0]:
        raise UsageError(f"--seeds {text!r} counts down", fix=f"write --seeds {bounds[1]}-{bounds[0]}")
    return bounds


@app.command()
def status(home: Home = Path(), as_json: Json = False) -> None:
    """Show rounds, generations and the champion, from the store; works beside a run.

    Example:
      loop status --json
    """
    from .progress import status_table
    from .store.history import status as history_status

    found = history_status(home)
    print_json(found) if as_json else status_table(found)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Generation number or registered version to make champion.")],
    home: Home = Path(),
    force: Annotated[
        bool, typer.Option("--force", help="Promote although no gate says so; recorded as such.")
    ] = False,
) -> None:
    """Make a generation the champion, if a gate has proved it better.

    Example:
      loop promote 3
    """
    from .config import load_config
    from .evaluate.evaluator import Silent
    from .loop import Loop, RunConfig

    typer.echo(Loop(home, load_config(RunConfig), Silent()).promote(version, force=force))


@app.command()
def rollback(home: Home = Path()) -> None:
    """Give the car back to the previous champion.

    Example:
      loop rollback
    """
    from .config import load_config
    from .evaluate.evaluator import Silent
    from .loop import Loop, RunConfig

    typer.echo(Loop(home, load_config(RunConfig), Silent()).rollback())


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SELECT over the index; see `loop sql 'SHOW TABLES'`.")],
    home: Home = Path(),
    as_json: Json = False,
) -> None:
    """Query the store, read-only. Start from the views negative_episodes and recovery_episodes.

    Examples:
      loop sql "SELECT reason, count(*) FROM negative_episodes GROUP BY 1"
      loop sql --json "SELECT * FROM recovery_episodes LIMIT 3"
    """
    from .progress import rows_table
    from .store.database import Store

    rows = Store(home).query(query)
    print_json(rows) if as_json else rows_table(rows)


@app.command()
def replay(episode_id: str, home: Home = Path()) -> None:
    """Watch a recorded drive: scrub, slow down, jump between takeovers, see plan and shadow plan. H shows the keys.

    Example:
      loop replay 3f2a
    """
    from .collect.cockpit.recorded import find_episode
    from .collect.cockpit.replay import replay as show

    show(find_episode(home, episode_id))


@app.command()
def view(
    episode_id: str,
    out: Annotated[Path | None, typer.Option("--out", help="Default: the id's beginning + .rrd.")] = None,
    home: Home = Path(),
) -> None:
    """Write an episode as a Rerun recording: cameras, plans, control, time to collision. Needs the extra [viz].

    Example:
      loop view 3f2a --out drive.rrd && rerun drive.rrd
    """
    from .collect.cockpit.recorded import find_episode
    from .collect.cockpit.rerun_view import write_recording

    path = find_episode(home, episode_id)
    target = out or Path(f"{path.name[:8]}.rrd")
    size = write_recording(path, target)
    typer.echo(f"{target}: {size / 1e6:.1f} MB; show it with `rerun {target}`")


@app.command()
def doctor(
    home: Home = Path(),
    carla: Annotated[str, typer.Option("--carla", help="host:port of a CARLA server to ask.")] = "",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Recreate the index from the sealed episodes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check Python, packages, CARLA, display, disk, store and MLflow; print a fix for each failure.

    Examples:
      loop doctor
      loop doctor --rebuild
    """
    from .doctor import run_checks, summary

    if rebuild:
        from .store.database import Store

        Store(home).rebuild()
    checks = run_checks(home, carla)
    if as_json:
        print_json({"ok": all(c.ok for c in checks), "checks": [asdict(c) for c in checks]})
        raise typer.Exit(0 if all(c.ok for c in checks) else 1)
    raise typer.Exit(summary(checks, typer.echo))


def _keep_examples(commands: typer.Typer) -> None:
    """Leave examples on lines of their own in `--help`: click joins the lines of a paragraph that no backspace begins."""
    for command in commands.registered_commands:
        function = command.callback
        if function is not None and function.__doc__:
            function.__doc__ = re.sub(r"(?m)^( *)(Examples?:)$", "\\1\b\n\\1\\2", function.__doc__)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _keep_examples(group.typer_instance)


_keep_examples(app)
