"""Do the tests of the code that decides who drives notice when it is wrong? Mutation testing of it.

    python -P benchmarks/mutation.py [--module handover] [--jobs 2]

Each mutant differs in one place: a comparison, an `and`, a `not`, a sign, a number, min for max, a condition negated or
fixed, a statement or a table entry left out, a return emptied. It is killed when a test fails. The kept libraries do not
fit a package whose root is the repository: mutmut derives module names from paths, cosmic-ray rewrites files in place.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

import takeover.vocabulary

ROOT = Path(__file__).parents[1]
TESTS = {
    "handover": ("test_handover.py", "test_arbiter.py", "test_alerts.py"),
    "arbiter": ("test_arbiter.py",),
}
TIMEOUT_S = 60
PRELOADED = (hypothesis, np, takeover.vocabulary)  # imported once, not in every child

_SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip
Edit = Callable[[Any], None]


def edits(node: ast.AST) -> Iterator[tuple[str, Edit]]:
    """Ways to break one node, each as words and a function that does it in place."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        yield "comparison", lambda n: n.ops.__setitem__(0, _SWAPS[type(n.ops[0])]())
    if isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in _SWAPS:
        yield "operator", lambda n: setattr(n, "op", _SWAPS[type(n.op)]())
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "truth", lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "number", lambda n: setattr(n, "value", n.value + 1)
    if isinstance(node, ast.Name) and node.id in ("min", "max"):
        yield "min for max", lambda n: setattr(n, "id", "max" if n.id == "min" else "min")
    if isinstance(node, ast.If | ast.IfExp):
        yield "condition negated", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        yield "condition true", lambda n: setattr(n, "test", ast.Constant(True))
        yield "condition false", lambda n: setattr(n, "test", ast.Constant(False))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield (
            "sign",
            lambda n: (
                setattr(n, "op", ast.UAdd() if isinstance(n.op, ast.USub) else ast.Not())
                or (
                    setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
                    if isinstance(n.op, ast.Not)
                    else None
                )
            ),
        )
    if isinstance(node, ast.Return) and not (node.value is None or _is_none(node.value)):
        yield "return emptied", lambda n: setattr(n, "value", ast.Constant(None))
    if isinstance(node, ast.Dict):
        for i in range(len(node.keys)):
            yield f"entry {i} left out", lambda n, i=i: (n.keys.pop(i), n.values.pop(i))  # type: ignore[misc]
    for name in ("body", "orelse"):
        block = getattr(node, name, None)
        if isinstance(node, ast.FunctionDef | ast.If | ast.For) and isinstance(block, list):
            for i, statement in enumerate(block):
                if isinstance(statement, ast.Assign | ast.Expr) and not _is_text(statement):
                    yield (
                        "statement left out",
                        lambda n, name=name, i=i: getattr(n, name).__setitem__(i, ast.Pass()),
                    )  # type: ignore[misc]


def mutants(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """Every mutant with the words that tell it."""
    places = [node for node in ast.walk(tree) if _counts(node)]
    skipped = {id(part) for node in places for part in _annotations(node)}
    for number, node in enumerate(places):
        if id(node) in skipped:
            continue
        for words, edit in edits(node):
            changed = copy.deepcopy(tree)
            twin = [other for other in ast.walk(changed) if _counts(other)][number]
            edit(twin)
            yield f"line {getattr(node, 'lineno', 0)}: {words}: {ast.unparse(node).splitlines()[0]}", changed


def fates(module: str, trees: Sequence[ast.Module], tests: tuple[str, ...], jobs: int) -> list[bool]:
    """Which mutants the tests kill, `jobs` at a time."""
    dead = [False] * len(trees)
    running: dict[int, int] = {}
    for number, tree in enumerate(trees):
        if len(running) == jobs:
            _reap(running, dead)
        running[_start(module, tree, tests)] = number
    while running:
        _reap(running, dead)
    return dead


def _reap(running: dict[int, int], dead: list[bool]) -> None:
    child, status = os.wait()
    dead[running.pop(child)] = status != 0


def _start(module: str, tree: ast.Module, tests: tuple[str, ...]) -> int:
    """Run the tests against a mutant in a child of its own, whose id is returned."""
    child = os.fork()
    if child == 0:
        signal.alarm(TIMEOUT_S)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.meta_path.insert(0, _Mutant(f"takeover.collect.{module}", ast.fix_missing_locations(tree)))
        paths = [str(ROOT / "tests" / "collect" / name) for name in tests]
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
        hypothesis.settings.register_profile("quick", max_examples=30, deadline=None, database=None)
        hypothesis.settings.load_profile("quick")
        os._exit(int(pytest.main([*options, *paths])))
    return child


class _Mutant(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, name: str, tree: ast.Module) -> None:
        self._name, self._tree = name, tree

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: Any) -> None:
        exec(compile(self._tree, self._name, "exec"), module.__dict__)


def _counts(node: ast.AST) -> bool:
    return not isinstance(node, ast.expr_context)


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    for name in ("annotation", "returns"):
        found = getattr(node, name, None)
        if isinstance(found, ast.AST):
            yield from ast.walk(found)
    yield from getattr(node, "decorator_list", [])
    for decorator in getattr(node, "decorator_list", []):
        yield from ast.walk(decorator)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def main() -> None:
    """Mutate, test, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", choices=sorted(TESTS), action="append")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="only every n-th mutant, for a quick look")
    options = parser.parse_args()
    for module in options.module or sorted(TESTS):
        tree = ast.parse((ROOT / "collect" / f"{module}.py").read_text(encoding="utf-8"))
        tests = TESTS[module]
        if fates(module, [tree], tests, 1) != [False]:
            sys.exit(f"the tests of {module} fail without any mutation")
        found = list(mutants(tree))[:: options.every]
        start_s = time.monotonic()
        dead = fates(module, [changed for _, changed in found], tests, options.jobs)
        for (words, _), died in zip(found, dead, strict=True):
            if not died:
                print(f"  survived  {module} {words}")
        share = sum(dead) / len(dead)
        print(
            f"{module}: {sum(dead)} of {len(dead)} mutants killed, {share:.1%}, {time.monotonic() - start_s:.0f} s"
        )


if __name__ == "__main__":
    main()
