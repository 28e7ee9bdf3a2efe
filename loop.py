"""The loop: collect -> segment -> refine -> register -> evaluate -> gate -> promote, round after round.

A resumable state machine: each step has a name and leaves its result in the store when it is done; a run that was killed
anywhere continues at the first step without a result. Steps are idempotent (episodes by uuid, weights by hash).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .collect.fleet import Fleet
from .collect.jobs import EpisodeJob, EpisodeResult
from .collect.labels import label_episode, put_labels
from .collect.pairs import PairConfig
from .collect.plans import bootstrap_jobs, round_jobs
from .collect.segmenter import SegmenterConfig
from .collect.training_data import Lessons, Remembered, lessons, replay_samples
from .config import LoopConfig
from .errors import TakeoverError, UsageError
from .evaluate.beside import measured_beside
from .evaluate.champion import Champions
from .evaluate.closed_loop import BASELINES, CaseResult
from .evaluate.evaluator import Evaluator, Progress
from .evaluate.gate import decide, futile
from .evaluate.run_report import RunSummary, write_summary
from .evaluate.summary import suite_report
from .evaluate.takeover_cases import TakeoverCases
from .first_generation import refuse_stock, taught_policy
from .refine.config import RefineConfig
from .refine.report import flat_metrics
from .scoring.statistics import spent_alpha
from .sim_bridge.scenarios.cases import suite
from .store import history, learnt, queries
from .store.database import Store
from .store.episodes import EpisodeReader, complete
from .store.rows import GenerationRow, RoundRow

if TYPE_CHECKING:
    from .collect.cockpit.sitting import SittingSummary
    from .models.pictures import SeenPictures
    from .models.registry import Registry, Version
    from .vocabulary import Case, DrivingSample

COMPLETE = "complete.json"  # written last into a folder of weights


class RunConfig(LoopConfig):
    """Everything that `loop run` can be told."""

    segmenter: SegmenterConfig = SegmenterConfig()
    pairs: PairConfig = PairConfig()
    refine: RefineConfig = RefineConfig()


class Loop:
    """One home directory and one configuration.

    Args:
        home: Folder of store, registry and reports; made if missing.
        config: What to do.
        progress: Where to say how far it is.
    """

    def __init__(self, home: Path, config: RunConfig, progress: Progress) -> None:
        self.home = home.resolve()
        self.config = config
        self.progress = progress
        self.store = Store(self.home)
        self.run_id = _key(config.model_dump(mode="json", exclude={"rounds", "sim", "drive"}))
        self._fleet: Fleet | None = None
        self._registry: Registry | None = None
        self._registry_lock = threading.Lock()
        self._seen: SeenPictures | None = None
        self._known = Remembered()
        self.champions = Champions(self.store, lambda: self.registry, config.policy)
        driver, setting = self.champions.policy, config.policy.setting
        self.evaluator = Evaluator(self.store, self.rollouts, driver, progress, setting)
        self.takeover_cases = TakeoverCases(
            self.store, self.rollouts, driver, progress, setting, in_gate=config.gate.takeover_cases
        )

    @property
    def registry(self) -> Registry:
        """The MLflow registry; made at the first use (seconds)."""
        with self._registry_lock:
            if self._registry is None:
                from .models.registry import Registry

                self.home.mkdir(parents=True, exist_ok=True)
                self._registry = Registry(self.home)
            return self._registry

    def run(self) -> RunSummary:
        """Drive the configured number of rounds, continuing where an earlier sitting stopped."""
        started_s = time.monotonic()
        warm_up = threading.Thread(target=self._warm_up, name="warm-up", daemon=True)
        warm_up.start()
        saved, _, report = self.store.recover()
        if saved or report.added:
            self.progress.say(f"recovered {len(saved)} interrupted drives, indexed {len(report.added)}")
        with self.rollouts():
            # Nothing below may import the training stack meanwhile: lazy modules of trl and transformers lose races.
            self._first_drives()
            warm_up.join()
            self._first_generation()
            for number in range(1, self.config.rounds + 1):
                self._round(number)
        self._tell_mlflow_the_end()
        summary = write_summary(self.store, self.run_id, self.home, self.config, time.monotonic() - started_s)
        if self.config.rounds:
            parent = self._parent_run()
            self.registry.log_file(parent, summary.picture)
            self.registry.log_file(parent, summary.page)
        return summary

    def _first_drives(self) -> None:
        if history.champion(self.store) is None:
            refuse_stock(self.config.policy.preset)
            jobs = self._first_jobs()
            self._step(0, "collect", lambda: self._drive(jobs, None, "generation 0: expert drives"))

    def _first_jobs(self) -> list[EpisodeJob]:
        return bootstrap_jobs(self.run_id, self.config.bootstrap, self.config.seed, self.store.episodes)

    def _first_generation(self) -> None:
        if history.champion(self.store) is not None:
            return  # made by an earlier run, or by `loop init`
        self._step(0, "refine", self._bootstrap)
        self._step(0, "register", lambda: self._register(0, None, {}))
        self._step(0, "promote", lambda: self._deploy(0, None, {"reason": "the first generation"}, 0))

    def _round(self, number: int) -> None:
        title = f"round {number}"
        champion = self._step(
            number, "begin", lambda: {"champion": self.champions.current(self.progress.say)}
        )["champion"]
        jobs = round_jobs(
            self.run_id, number, str(champion), self.config.collect, self.config.seed, self.store.episodes
        )
        by_hand = partial(self._drive_by_hand, number)
        drive = by_hand if self.config.collect.driver == "human" else self._drive
        collected = self._step(number, "collect", lambda: drive(jobs, champion, f"{title}: collect"))
        ids = collected.get("ids", [job.episode_id for job in jobs])
        self._step(number, "segment", lambda: self._label(ids, number, f"{title}: segments and pairs"))
        if self.config.gate.takeover_cases:
            self._step(number, "certify", lambda: {"tried": len(self.takeover_cases.certify())})
        made = self._step(number, "refine", lambda: self._refine_beside(number, champion, title))
        challenger = self._step(
            number, "register", lambda: self._register(number, champion, made["metrics"])
        )["generation"]
        self._step(number, "evaluate", lambda: self._compare(number, champion, challenger, title))
        self._step(number, "gate", lambda: self._gate(number, champion, challenger))

    def _step(self, number: int, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Result of a step; its work is done only if no sitting of this run has finished it."""
        done = self.store.step_done(self.run_id, number, name)
        if done is not None:
            return done
        started_s = time.monotonic()
        payload = work()
        payload["seconds"] = time.monotonic() - started_s
        self.store.mark_step(self.run_id, number, name, payload=payload)
        return payload

    def _drive(self, jobs: Sequence[EpisodeJob], champion: int | None, title: str) -> dict[str, Any]:
        """Drive and index the jobs whose episode is not sealed yet."""
        there = {path.name for path in complete(self.store.episodes)}
        left = [job for job in jobs if job.episode_id not in there]
        self.progress.stage(title, len(jobs))
        self.progress.advance(len(jobs) - len(left))
        takeovers = 0

        def told(result: EpisodeResult) -> None:
            nonlocal takeovers
            takeovers += result.outcome.takeovers
            self.progress.advance(note="" if champion is None else f"{takeovers} takeovers")

        with self.rollouts() as fleet:
            results = fleet.run(
                left, None if champion is None else self.champions.policy(champion), on_result=told
            )
        self.store.recover()
        faults = sum(bool(result.fault) for result in results)
        if faults:
            self.progress.say(f"{faults} drives ended by a simulator fault; they never train")
        return {"episodes": len(jobs), "faults": faults}

    def _drive_by_hand(
        self, number: int, jobs: Sequence[EpisodeJob], champion: int, title: str
    ) -> dict[str, Any]:
        """The same with a human watching, in the cockpit; what became of the takeovers is told before it closes."""
        from .collect.cockpit.collect_stage import drive_round

        self.progress.stage(title, len(jobs))
        car = partial(self.champions.car, str(champion), self.progress.say)
        label = partial(self._label, number=number, title=f"round {number}: segments and pairs")
        return drive_round(self.store, self.config, car, jobs, label, self.progress.advance)

    def _label(self, ids: Sequence[str], number: int, title: str) -> dict[str, Any]:
        """Cut the drives into segments, and build pairs from them."""
        self.progress.stage(title, len(ids))
        labels = []
        there = {path.name: path for path in complete(self.store.episodes)}
        rules, later = (self.config.segmenter, self.config.pairs), queries.said_later(self.store, ids)
        for episode_id in ids:
            if episode_id in there:  # a drive that the simulator lost in every try has left none
                labels.append(label_episode(there[episode_id], number, *rules, later.get(episode_id, ())))
            self.progress.advance()
        return {**put_labels(self.store, ids, labels)}

    def _bootstrap(self) -> dict[str, Any]:
        """Train generation 0 on expert drives, or take it from this home's cache."""
        from .models.threads import training_threads

        cached = self.home / "cache" / self._bootstrap_key()
        learnt.keep_drives(self.store, self.run_id, self._expert_drives())
        if not (cached / COMPLETE).is_file():
            drives = [EpisodeReader(self.home / row["path"]) for row in self._expert_drives()]
            scratch = self.home / "stages" / "bootstrap"
            with training_threads(self.config.refine.threads):
                policy, reports = taught_policy(
                    drives, self._replay(self._expert_drives()), self.config, scratch, self.progress
                )
            self._seen = policy.share_pictures(None)
            shutil.rmtree(cached, ignore_errors=True)
            policy.save(cached)
            (cached / COMPLETE).write_text(json.dumps(reports), encoding="utf-8")
        reports = json.loads((cached / COMPLETE).read_text(encoding="utf-8"))
        folder = self._weights(0)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(cached, folder, ignore=shutil.ignore_patterns(COMPLETE))
        return {"stages": reports, "metrics": flat_metrics(reports)}

    def _refine_beside(self, number: int, champion: int, title: str) -> dict[str, Any]:
        """Train the challenger; what the gate does not know of the champion is driven meanwhile."""
        from .models.threads import training_threads

        self.champions.policy(champion)  # loaded here: the registry is this thread's
        with (
            measured_beside(self.evaluator.silent(), champion, self._gate_suites(), self.progress.say),
            training_threads(self.config.refine.threads),
        ):
            return self._refine(number, champion, f"{title}: refine")

    def _gate_suites(self) -> list[tuple[str, list[Case]]]:
        gate = self.config.gate
        return [
            ("longtail", suite("longtail", gate.longtail_cases)),
            ("nominal", suite("nominal", gate.nominal_cases)),
        ]

    def _refine(self, number: int, champion: int, title: str) -> dict[str, Any]:
        """Train from the champion on the pairs of all rounds."""
        from .refine.stages import run_stages

        refine = self.config.refine
        data = self.training_data(number, failed=refine.kto.enabled)
        self.progress.stage(f"{title} on {len(data.pairs)} pairs", 0)
        policy = self.champions.policy(champion, fresh=True)
        self._seen = policy.share_pictures(self._seen)
        folder = self.home / "stages" / f"{self.run_id}-{number}"

        def told(stage: str, step: int, steps: int, loss: float) -> None:
            if step == 1:
                self.progress.stage(f"{title}: {stage} ({len(data.pairs)} pairs)", steps)
            self.progress.advance(note=f"loss {loss:.3f}")

        seed = self.config.seed * 1009 + number
        learnt.keep_round(self.store, self.run_id, number, data.found, data.pairs, data.failed)
        made = run_stages(
            policy, data.samples, data.pairs, data.replay, refine, seed, folder, told, failed=data.failed
        )
        reports = [report.to_json() for report in made]
        weights = self._weights(number)
        shutil.rmtree(weights, ignore_errors=True)
        policy.save(weights)
        shutil.rmtree(folder, ignore_errors=True)
        return {
            "stages": reports,
            "metrics": flat_metrics(reports),
            "samples": len(data.samples),
            "pairs": len(data.pairs),
            "replay": len(data.replay),
            "data": [pair.pair_id for pair in data.pairs],
            "episodes": data.found.watched,
        }

    def training_data(self, number: int, *, failed: bool) -> Lessons:
        """What a round trains on: pairs up to it, and failed plans if they are wanted."""
        found = learnt.sources(self.store, number, hold_out=self.config.gate.takeover_cases)
        return lessons(self.store, found, self._replay(found.experts), failed=failed, known=self._known)

    def _replay(self, drives: list[dict[str, Any]]) -> list[DrivingSample]:
        """Samples of the expert's drives; read once a process."""
        from .refine.datasets import emphasised

        def read() -> list[DrivingSample]:
            self.progress.stage("reading the expert's drives", len(drives))
            samples = replay_samples(self.store, drives, self.progress.advance)
            return emphasised(samples, self.config.bootstrap.hazard_share)

        return self._known.get(("expert", len(drives)), read)

    def _expert_drives(self) -> list[dict[str, Any]]:
        return queries.episodes(self.store, driver_kind="expert", role="train", whole=True, limit=1_000_000)

    def _register(self, number: int, champion: int | None, metrics: dict[str, float]) -> dict[str, Any]:
        """Make a generation of the weights: registry version, then our own row; after a kill it makes no second one."""
        round_run = self.registry.start_run(
            f"round {number}",
            {"round": number, "champion": champion},
            self._parent_run(),
            key=f"{self.run_id}/{number}",
        )
        row = history.registered(self.store, self.run_id, number)
        if row is None:
            row = asdict(self._new_generation(number, champion, metrics, round_run))
        if champion is None:  # no gate will end it
            self.registry.end_run(round_run)
        return {"generation": row["generation"], "version": row["version"], "mlflow_run": round_run}

    def _new_generation(
        self, number: int, champion: int | None, metrics: dict[str, float], round_run: str
    ) -> GenerationRow:
        from .models.manifest import Provenance, code_sha256

        folder = self._weights(number)
        generation = history.next_generation(self.store)
        parent = None if champion is None else self.champions.version_of(champion)
        data = learnt.kept(self.store, self.run_id, number)
        provenance = Provenance(
            generation=generation,
            round=number,
            base=learnt.given_model(self.store, self.run_id) or self.config.policy.preset,
            parent_version=parent,
            data_sha256=learnt.digest(data),
            config_sha256=_key(self.config.model_dump(mode="json", exclude={"sim", "drive"})),
            code_sha256=code_sha256(),
            stages=tuple(metrics),
            seed=self.config.seed,
        )
        self.registry.log_dataset(
            round_run,
            f"round-{number}",
            learnt.dataset(data),
            source=str(self.store.database),
            context="training",
        )
        version: Version = self.registry.register(folder, provenance, round_run, metrics)
        self.registry.log_metrics(round_run, metrics, step=number)
        if champion is not None:
            self.registry.challenge(version.version)
        row = GenerationRow(
            generation=generation,
            version=str(version.version),
            parent=champion,
            run_id=self.run_id,
            round=number,
            path=str(folder.relative_to(self.home)),
            sha256=str(version.tags["sha256"]),
            metrics=metrics,
            gate="" if champion is not None else "start",
        )
        self.store.put([row])
        return row

    def _compare(self, number: int, champion: int, challenger: int, title: str) -> dict[str, Any]:
        """Drive both on the gate's cases; the challenger stops early when the primary test cannot succeed any more."""
        gate = self.config.gate
        alpha = spent_alpha(gate.alpha, number, self.config.rounds)
        (_, longtail), (_, nominal) = self._gate_suites()
        results = self.evaluator.results
        before = results(champion, "longtail", longtail, f"{title}: champion, long tail")
        results(champion, "nominal", nominal, f"{title}: champion, nominal")
        so_far: list[CaseResult] = []
        after = results(
            challenger,
            "longtail",
            longtail,
            f"{title}: challenger, long tail",
            so_far=so_far,
            stop=lambda: futile(before, so_far, len(longtail), alpha),
        )
        if len(after) == len(longtail):
            results(challenger, "nominal", nominal, f"{title}: challenger, nominal")
        return {"cases": len(after), "futile": len(after) < len(longtail)}

    def _gate(self, number: int, champion: int, challenger: int) -> dict[str, Any]:
        """Decide, and move the alias if the challenger is proved better."""
        gate, stored = self.config.gate, self.evaluator.stored
        decision = decide(
            stored(champion, "longtail", gate.longtail_cases),
            stored(challenger, "longtail", gate.longtail_cases),
            stored(champion, "nominal", gate.nominal_cases),
            stored(challenger, "nominal", gate.nominal_cases),
            gate,
            round_number=number,
            rounds=self.config.rounds,
            seed=self.config.seed,
        )
        decision = self.takeover_cases.judged(decision, challenger, champion)
        evidence = {**asdict(decision), "setting": self.config.policy.setting}
        if decision.outcome == "promote":
            self._deploy(challenger, champion, evidence, number)
        else:
            self.registry.drop_challenger()
            self.champions.log(champion, challenger, decision.outcome, evidence, self.run_id, number)
        registered = self.store.step_done(self.run_id, number, "register") or {}
        self.registry.log_metrics(
            registered["mlflow_run"],
            {
                "gate/sr_champion": decision.sr_champion,
                "gate/sr_challenger": decision.sr_challenger,
                "gate/p_value": decision.p_value,
                "gate/ds_difference": decision.ds_difference,
                "gate/promoted": float(decision.outcome == "promote"),
            },
            step=number,
        )
        self.registry.end_run(registered["mlflow_run"])
        row = history.generation(self.store, challenger)
        self.store.put(
            [
                GenerationRow(**{**row, "gate": decision.outcome}),
                RoundRow(
                    self.run_id,
                    number,
                    str(champion),
                    str(challenger),
                    decision.outcome,
                    sum(history.step_seconds(self.store, self.run_id, number).values()),
                    evidence,
                ),
            ]
        )
        self.progress.say(f"round {number}: generation {challenger} {decision.outcome}: {decision.reason}")
        return evidence

    def _deploy(
        self, generation: int, old: int | None, evidence: dict[str, Any], number: int
    ) -> dict[str, Any]:
        self.champions.promote(generation, old, evidence, self.run_id, number)
        return {"champion": generation}

    def collect_only(self) -> dict[str, Any]:
        """`loop collect`: drive the champion with the driver watching; label what was recorded."""
        champion = self.champions.current(self.progress.say)
        session = uuid.uuid4().hex[:12]
        jobs = round_jobs(
            session, 1, str(champion), self.config.collect, self.config.seed, self.store.episodes
        )
        driven = self._drive(jobs, champion, "collect")
        return {**driven, **self._label([job.episode_id for job in jobs], 0, "segments and pairs")}

    def sit(self, model: str, *, demo: bool = False) -> SittingSummary | None:
        """`loop drive`: a sitting of a human; label what was recorded. None when the driver did not consent."""
        from .collect.cockpit.collect_stage import sit

        self.store.recover()
        car = partial(self.champions.car, model, self.progress.say)
        label = partial(self._label, number=0, title="segments and pairs")
        return sit(self.store, self.config, car, label, demo=demo)

    def refine_only(self, stages: Sequence[str]) -> dict[str, Any]:
        """`loop refine`: refine the champion on all stored pairs, with the given stages only."""
        known = ("sft", "dpo", "kto", "grpo", "anchor")
        unknown = [name for name in stages if name not in known]
        if unknown:
            raise UsageError(f"unknown stage `{unknown[0]}`", fix=f"use some of {', '.join(known)}")
        parts = {
            name: getattr(self.config.refine, name).model_copy(update={"enabled": name in stages})
            for name in known
        }
        self.config = self.config.model_copy(update={"refine": self.config.refine.model_copy(update=parts)})
        number = history.next_generation(self.store) + 1_000_000  # a name for its folders that no round bears
        from .models.threads import training_threads

        champion = self.champions.current(self.progress.say)
        with training_threads(self.config.refine.threads):
            made = self._refine(number, champion, "refine")
        registered = self._register(number, champion, made["metrics"])
        self.registry.end_run(registered["mlflow_run"])
        self._tell_mlflow_the_end()
        return registered

    def evaluate_only(
        self, name: str, *, model: str, seeds: tuple[int, int] | None, cases: int, baseline: str
    ) -> dict[str, Any]:
        """`loop evaluate`: a generation, or a baseline, on held-out cases."""
        if baseline and baseline not in BASELINES:
            raise UsageError(f"unknown baseline `{baseline}`", fix=f"use one of {', '.join(BASELINES)}")
        wanted = suite(name, cases) if seeds is None else suite(name, seeds[1] - seeds[0] + 1, seeds[0])
        generation, title = None, baseline
        if baseline not in ("always_brake", "never_brake"):
            generation = self.registry.resolve(model).generation
            if generation is None:
                raise UsageError(f"--model {model} is no registered generation", fix="see `loop status`")
            title = f"generation {generation}{' with ' + baseline if baseline else ''}"
        results = self.evaluator.results(generation, name, wanted, f"{title} on {name}", baseline=baseline)
        return suite_report(results, suite=name, model=title)

    def promote(self, model: str, *, force: bool) -> str:
        """`loop promote`: make a generation champion; needs its gate's word unless forced."""
        return f"generation {self.champions.promote_by_hand(model, force=force)} is the champion"

    def rollback(self) -> str:
        """`loop rollback`: the previous champion drives again; the present one is quarantined."""
        old, back = self.champions.rollback()
        return f"generation {back} is the champion again; generation {old} is quarantined"

    def init_from(self, model: str, qa: Path | None, steps: int) -> dict[str, Any]:
        """`loop init`: generation 0 from the user's own checkpoint and driving QA."""
        if history.champion(self.store) is not None:
            raise UsageError(f"{self.home} has generations already", fix="give an empty --home")
        self.run_id = _key([self.run_id, model, str(qa)])
        from .models.policy import Policy
        from .refine.qa import load_qa, run_qa

        driver = self.config.policy
        policy = Policy.load(model, driver.decoder, context=driver.context, flow=driver.flow)
        if qa is not None:
            items = load_qa(qa)
            self.progress.stage(f"SFT on {len(items)} answers", steps)
            run_qa(policy, items, steps, self.config.seed, self._tick, self.home / "stages" / "qa")
        learnt.keep_given(self.store, self.run_id, model, qa)
        policy.save(self._weights(0))
        registered = self._register(0, None, {})
        self._deploy(registered["generation"], None, {"reason": f"made from {model}"}, 0)
        self._tell_mlflow_the_end()
        return registered

    # Parts

    @contextmanager
    def rollouts(self) -> Iterator[Fleet]:
        """The workers: started once, closed on every way out."""
        if self._fleet is not None:
            yield self._fleet
            return
        sim = self.config.sim
        logs = self.home / "logs"
        with Fleet(sim.workers, carla=sim.carla, timeout_s=sim.timeout_s, logs=logs) as fleet:
            self._fleet = fleet
            try:
                yield fleet
            finally:
                self._fleet = None

    def _warm_up(self) -> None:
        """Import the training stack (seconds) and make the registry while the first drives run."""
        from .refine import stages  # noqa: F401

        with suppress(TakeoverError):  # met again, and told, where the registry is first needed
            _ = self.registry

    def _parent_run(self) -> str:
        done = self._step(
            0,
            "mlflow",
            lambda: {
                "parent": self.registry.start_run(
                    f"loop run, seed {self.config.seed}",
                    self.config.model_dump(mode="json", exclude={"sim", "drive"}),
                    key=self.run_id,
                )
            },
        )
        return str(done["parent"])

    def _tell_mlflow_the_end(self) -> None:
        done = self.store.step_done(self.run_id, 0, "mlflow")
        if done is not None:
            self.registry.end_run(done["parent"])

    def _weights(self, number: int) -> Path:
        return self.home / "generations" / f"{self.run_id}-{number}"

    def _bootstrap_key(self) -> str:
        from .models.manifest import code_sha256

        dump = self.config.model_dump(mode="json")
        return _key([dump["policy"], dump["bootstrap"], dump["seed"], code_sha256()])

    def _tick(self, step: int, steps: int, loss: float) -> None:
        self.progress.advance(note=f"loss {loss:.3f}")


def _key(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
