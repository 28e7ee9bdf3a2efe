"""`loop ablate`: what each stage of a round contributes in closed loop, SafeAlign's Tables 3 and 4 in our setting.

Every arm starts from the same generation with the same data and training seeds, and takes the same number of gradient
steps: what an arm has fewer of is added to its SFT, or, for the head alone, to its refit (proof.md 17). One run is driven
while the next one learns. Finished runs are kept in `<home>/ablation/<key>/`; the same command goes on where it was killed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .evaluate.ablation import ArmFigures, SeedResult, arm_figures
from .evaluate.ablation_page import as_json, write
from .refine.arms import FIRST, TRAINED, Arm, Steps, equalised, steps_of
from .refine.config import RefineConfig
from .sim_bridge.scenarios.cases import suite
from .store import history
from .store.learnt import ALL_ROUNDS

if TYPE_CHECKING:
    from .collect.training_data import Lessons
    from .evaluate.closed_loop import CaseResult
    from .loop import Loop
    from .models.pictures import SeenPictures
    from .models.policy import Policy

    Choice = Callable[
        [Lessons, int], Lessons
    ]  # what an arm gets of the home's lessons, with its training seed
    Both = tuple[list[CaseResult], list[CaseResult]]  # on the long tail, on everyday drives

SUITES = {"longtail": "nominal", "final": "final_nominal"}  # long tail, and where forgetting shows


CHOICES: dict[str, Choice] = {
    "all": lambda data, seed: data,
    "driven": lambda data, seed: replace(data, samples=[s for s in data.samples if s.negative_m is None]),
    "none": lambda data, seed: replace(data, samples=[], pairs=[]),
}


def _learns_from_failed(arm: Arm) -> bool:
    return "kto" in arm.stages and arm.takeovers == "all"


class Ablation:
    """One ablation in a home.

    Args:
        loop: The home, with its configuration.
        arms: Rows, the reference first.
        seeds: Training seeds.
        cases: Long-tail cases.
        nominal_cases: Nominal cases.
        name: longtail (gate seeds) or final.
        generation: From which every arm starts.
        first: First seed of the cases; None for the first of the role.
        choices: Lessons that arms name in `takeovers`, beside CHOICES.

    Attributes:
        start: Results of the generation that every arm starts from; None before `run`.
        results: By arm and training seed, as far as they are done; empty before `run`.
    """

    def __init__(
        self,
        loop: Loop,
        arms: Sequence[Arm],
        seeds: Sequence[int],
        *,
        cases: int,
        nominal_cases: int,
        name: str,
        generation: int,
        first: int | None = None,
        choices: Mapping[str, Choice] = MappingProxyType({}),
    ) -> None:
        if name not in SUITES:
            raise UsageError(f"cannot ablate on {name}", fix=f"use one of {', '.join(SUITES)}")
        if not seeds or len(set(seeds)) < len(seeds):
            raise UsageError(
                "an ablation needs distinct training seeds", fix="write for example --seeds 0,1,2"
            )
        self.loop, self.arms, self.seeds = loop, tuple(arms), tuple(seeds)
        calm = SUITES[name]
        self._suites = (name, suite(name, cases, first)), (calm, suite(calm, nominal_cases, first))
        self._choices = {**CHOICES, **choices}
        self._chosen: dict[tuple[str, int], Lessons] = {}
        self._digests: dict[tuple[str, int], str] = {}
        self._name, self._generation = name, generation
        sha256 = history.generation(loop.store, generation)["sha256"]
        config = loop.config
        start = [sha256, config.refine.model_dump(mode="json"), config.policy.model_dump(mode="json")]
        self._start = json.dumps(start, sort_keys=True)
        self._evaluator = loop.evaluator.silent()  # beside the training, which shows its own progress
        self._given_up = threading.Event()
        self.start: SeedResult | None = None
        self.results: dict[str, dict[int, SeedResult]] = {}
        self._seen: SeenPictures | None = None  # a frozen tower sees a picture once, in whatever arm

    def run(self, minutes: float = 0.0) -> tuple[list[ArmFigures], dict[str, Any]]:
        """Do what is not done yet.

        Args:
            minutes: No run begins that would probably not end by then; 0 does all.

        Returns:
            The table's rows, and what `loop ablate --json` prints: setting, arms and files.
        """
        started_s, say = time.monotonic(), self.loop.progress.say
        # Loaded here and now: the registry is this thread's, and lazy modules of trl and transformers lose races.
        importlib.import_module(".refine.stages", __package__)
        self.loop.champions.policy(self._generation)
        order = self._order()
        pending: list[Future[None]] = []
        with self.loop.rollouts(), self._driver() as driver:
            base = driver.submit(self._of_start)
            for number, (arm, seed) in enumerate(order, start=1):
                if self._read(arm, seed) is not None:
                    continue
                left_s = 60.0 * minutes - (time.monotonic() - started_s)
                expected_s = self._expected_s(order) * (1 + len(pending))
                if minutes and expected_s > left_s:
                    say(f"{left_s:.0f} s left, {expected_s:.0f} s needed; the same command goes on from here")
                    break
                title = f"run {number} of {len(order)}: {arm.name}, seed {seed}"
                made = self._train(arm, seed, title)
                for job in pending:  # one is driven while the next one learns; no queue of weights in memory
                    job.result()
                pending = [driver.submit(self._drive, arm, seed, made, self._load(arm, seed))]
                open_runs = sum(self._read(*run) is None for run in order)
                minutes_left = open_runs * self._expected_s(order) / 60
                say(f"{title}: trained in {made['train_s']:.0f} s; about {minutes_left:.0f} min to go")
            self.loop.progress.stage("driving what was trained last", len(pending) + 1)
            found = base.result()
            self.loop.progress.advance()
            for job in pending:
                job.result()
                self.loop.progress.advance()
        return self._report(found)

    @contextmanager
    def _driver(self) -> Iterator[ThreadPoolExecutor]:
        """A thread that drives beside the training; when the training fails, it begins no further case."""
        with ThreadPoolExecutor(1, thread_name_prefix="ablation") as driver:
            try:
                yield driver
            except BaseException:
                self._given_up.set()
                raise

    @cached_property
    def folder(self) -> Path:
        """Where this ablation keeps its runs and its page: another start, setting or data is another ablation."""
        key = hashlib.sha256(json.dumps([self._start, self._data.digest()]).encode())
        return self.loop.home / "ablation" / key.hexdigest()[:16]

    def _order(self) -> list[tuple[Arm, int]]:
        """The primary comparison's arms on every seed first, so that a budget that ends early has an answer to it."""
        first, rest = self.arms[:FIRST], self.arms[FIRST:]
        return [(arm, seed) for arms in (first, rest) for seed in self.seeds for arm in arms]

    @cached_property
    def _data(self) -> Lessons:
        data = self.loop.training_data(ALL_ROUNDS, failed=any(map(_learns_from_failed, self.arms)))
        if not data.pairs:
            raise UsageError("no pair to ablate with", fix="run `loop run` or `loop collect` first")
        return data

    @cached_property
    def _failed_digest(self) -> str:
        return self._data.failed_digest()

    def _lessons(self, name: str, seed: int) -> Lessons:
        """What an arm trains on that names them; how much of it there is does not depend on the training seed."""
        if (name, seed) not in self._chosen:
            self._chosen[name, seed] = self._choices[name](self._data, seed)
        return self._chosen[name, seed]

    def _digest(self, name: str, seed: int) -> str:
        """Of a choice's lessons; seconds for many drives, so once."""
        if (name, seed) not in self._digests:
            self._digests[name, seed] = self._lessons(name, seed).digest()
        return self._digests[name, seed]

    def _config(self, arm: Arm) -> RefineConfig:
        data, config = self._data, self.loop.config.refine
        scenes = len(data.samples) + min(len(data.replay), config.refit.max_samples)
        every = [steps_of(config, one.stages, len(data.pairs), scenes) for one in self.arms]
        goal = Steps(max(steps.text for steps in every), max(steps.head for steps in every))
        own = self._lessons(
            arm.takeovers, self.seeds[0]
        )  # with fewer pairs, an epoch of the anchor stage is shorter
        own_scenes = len(own.samples) + min(len(own.replay), config.refit.max_samples)
        return equalised(config, arm, goal, len(own.pairs), own_scenes)

    def _train(self, arm: Arm, seed: int, title: str) -> dict[str, Any]:
        """Train a run, or take what an earlier sitting has trained; its figures."""
        from .models.manifest import file_sha256
        from .refine.stages import run_stages

        data, path = self._lessons(arm.takeovers, seed), self._path(arm, seed)
        progress, started_s = self.loop.progress, time.monotonic()
        policy = self.loop.champions.policy(self._generation, fresh=True)
        self._seen = policy.share_pictures(self._seen)

        def told(stage: str, step: int, steps: int, loss: float) -> None:
            if step == 1:
                progress.stage(f"{title}: {stage}", steps)
            progress.advance(note=f"loss {loss:.3f}")

        weights = path.with_suffix("")
        shutil.rmtree(weights, ignore_errors=True)
        reports = run_stages(
            policy,
            data.samples,
            data.pairs,
            data.replay,
            self._config(arm),
            seed,
            path.with_suffix(".stages"),
            told,
            failed=data.failed if _learns_from_failed(arm) else [],
        )
        policy.save(weights)
        sha256 = hashlib.sha256()
        for file in sorted(weights.rglob("*.safetensors")):
            sha256.update(file_sha256(file).encode())
        return {
            "arm": arm.name,
            "seed": seed,
            "weights_sha256": sha256.hexdigest(),
            "seconds": sum(report.seconds for report in reports),
            "train_s": time.monotonic() - started_s,
            "stages": [report.to_json() for report in reports],
        }

    def _load(self, arm: Arm, seed: int) -> Policy:
        """A trained run's policy, as it drives: a copy of its own, for the next run learns meanwhile."""
        from .models.policy import Policy

        driver = self.loop.config.policy
        return Policy.load(
            self._path(arm, seed).with_suffix(""), driver.decoder, context=driver.context, flow=driver.flow
        )

    def _drive(self, arm: Arm, seed: int, made: dict[str, Any], policy: Policy) -> None:
        """Drive a trained run, and declare it done."""
        started_s, path = time.monotonic(), self._path(arm, seed)
        results = self._of_run(made, lambda: policy)
        if any(len(part) < len(cases) for part, (_, cases) in zip(results, self._suites, strict=True)):
            return  # given up: what was driven is kept, the rest comes next time
        made["drive_s"] = time.monotonic() - started_s
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(made, indent=1), encoding="utf-8")
        temporary.replace(path)
        shutil.rmtree(path.with_suffix(".stages"), ignore_errors=True)

    def _of_start(self) -> Both:
        """Results of the generation that every arm starts from; driven where the store has none."""
        results, stop = self._evaluator.results, self._given_up.is_set
        (name, cases), (calm, nominal) = self._suites
        return (
            results(self._generation, name, cases, "", stop=stop),
            results(self._generation, calm, nominal, "", stop=stop),
        )

    def _of_run(self, made: dict[str, Any], load: Callable[[], Policy]) -> Both:
        """The same of a trained run."""
        results, stop, key = self._evaluator.results_of, self._given_up.is_set, made["weights_sha256"]
        (name, cases), (calm, nominal) = self._suites
        return results(load, key, name, cases, "", stop=stop), results(
            load, key, calm, nominal, "", stop=stop
        )

    def _path(self, arm: Arm, seed: int) -> Path:
        what: list[Any] = [self._config(arm).model_dump(mode="json"), arm.takeovers, seed]
        if arm.takeovers not in CHOICES:
            what.append(self._digest(arm.takeovers, seed))
        what += (
            [self._failed_digest] if _learns_from_failed(arm) else []
        )  # the other arms' runs stay as they are
        name = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
        folder = self.folder / "runs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{arm.name.replace(' ', '-').replace('+', 'and')}-{seed}-{name}.json"

    def _read(self, arm: Arm, seed: int) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._path(arm, seed).read_text(encoding="utf-8"))
        except OSError:
            return None
        return found

    def _expected_s(self, order: Sequence[tuple[Arm, int]]) -> float:
        """How long a run takes: training and driving go side by side, so the longer of the two."""
        done = [max(m["train_s"], m["drive_s"]) for run in order if (m := self._read(*run)) is not None]
        return sum(done) / len(done) if done else 0.0

    def _report(self, base: Both) -> tuple[list[ArmFigures], dict[str, Any]]:
        self.start = start = SeedResult(*base)
        self.results = results = dict[str, dict[int, SeedResult]]()
        missing = []
        for arm in self.arms:
            for seed in self.seeds:
                made = self._read(arm, seed)
                if made is None:
                    missing.append(f"{arm.name} (seed {seed})")
                    continue
                ran = {one["stage"]: one["steps"] for one in made["stages"]}
                results.setdefault(arm.name, {})[seed] = SeedResult(
                    *self._of_run(made, partial(self._load, arm, seed)),
                    text_steps=sum(ran.get(name, 0) for name in TRAINED),
                    head_steps=ran.get("refit", 0) + ran.get("anchor", 0),
                    seconds=made["seconds"],
                )
        reference = results.get(self.arms[0].name)
        rows = [arm_figures(f"generation {self._generation}", "the start", {0: start}, start)]
        rows += [
            arm_figures(arm.name, arm.note, results[arm.name], start, reference)
            for arm in self.arms
            if arm.name in results
        ]
        setting = {
            "suite": self._name,
            "cases": len(self._suites[0][1]),
            "nominal_cases": len(self._suites[1][1]),
            "seeds": list(self.seeds),
            "generation": self._generation,
            "decoder": self.loop.config.policy.decoder,
            "reference": self.arms[0].name,
            "tuning_trials": 1,
            "missing": missing,
        }
        paths = write(rows, setting, self.folder)
        return rows, {**as_json(rows, setting), "files": {kind: str(path) for kind, path in paths.items()}}
