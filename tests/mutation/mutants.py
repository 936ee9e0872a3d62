# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mutants: in every function that returns an outcome, each comparison inverted and each result forced to passed."""

from __future__ import annotations

import ast
import copy
import types
import typing as t
from dataclasses import dataclass
from pathlib import Path

import ansible_collections.kyma.mtls.plugins.module_utils._verify as package

FOLDER = Path(package.__path__[0])
# What a function returns that judges, or decides what is tried and counted. (Every check is a Job.)
_ANNOTATIONS = ("Accepted", "Case", "Job", "CheckResult", "Outcome", "Refusal")
# They decide, too, but not in these types; and so does every function of the checks that answers yes or no.
_ALSO = {
    *(("result", name) for name in ("_verdict", "_reasons", "_check")),
    *(("identity_headers", name) for name in ("mismatches", "survivors")),
    *(("forwarded", name) for name in ("mismatches", "_differences")),
    *(("verify", f"_VerifyRun.{name}") for name in ("_matrix", "_try_twin", "join")),
    *(("control", name) for name in ("try_good_client", "_attempt", "_attempt_verified")),
    ("expectations", "unmet"),
    ("headers", "identity_problems"),
    ("identity_log", "_read"),
    ("inspection", "Inspection._recognised"),
    *(("observation", f"Observation.{name}") for name in ("is_unrouted", "is_of_upstream")),
    ("plain_http", "_sign_of_the_workload"),
    ("refusals", "_why_revoked_is_refused"),
    ("replicas", "make_plan"),
    ("server_ca", "_shared_ca"),
    ("summary", "is_failure"),
    *(("without_url", name) for name in ("with_place", "_with_listed", "with_status")),
}
_PASSED = ast.parse("Outcome.PASSED", mode="eval").body
_FORCED = ast.parse("(Outcome.PASSED, 'forced')", mode="eval").body
_WORDS = {"failed": "passed", "outage": "passed"}
_TEXT = 70

Replacement: t.TypeAlias = tuple[ast.AST, str, ast.AST]


@dataclass(frozen=True)
class Mutant:
    """One change of one function, in the statement of ``lines``. ``name`` stays the same when lines move."""

    path: Path
    source: str
    module: str
    function: str
    name: str
    position: int
    lines: range

    def code(self) -> types.CodeType:
        """Return the changed function's code."""
        tree = ast.parse(self.source)
        function = dict(_functions(tree.body, ""))[self.function]
        node, _what, by = list(_replacements(function))[self.position]
        _Replace(node, by).visit(function)
        return _code_of(compile(ast.fix_missing_locations(tree), str(self.path), "exec"), self.function)


def all_mutants(only: str = "") -> list[Mutant]:
    """Return the mutants of the verifier's judging functions, those with ``only`` in their name."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.py"))}
    functions = {path: dict(_functions(ast.parse(source).body, "")) for path, source in sources.items()}
    there = {(path.stem, name) for path, found in functions.items() for name in found}
    if gone := _ALSO - there:
        raise LookupError(f"mutants.py names functions that are gone: {sorted(gone)}")
    return [
        mutant
        for path, found in functions.items()
        for name, function in found.items()
        for mutant in _of_function(path, sources[path], name, function)
        if only in mutant.name
    ]


def _of_function(path: Path, source: str, function_name: str, function: ast.FunctionDef) -> t.Iterator[Mutant]:
    module = ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    if not _is_judging(module, function_name, function):
        return
    seen: dict[str, int] = {}
    for position, (changed, what, _by) in enumerate(_replacements(function)):
        seen[what] = seen.get(what, 0) + 1
        number = f" #{seen[what]}" if seen[what] > 1 else ""
        name = f"{path.stem}.{function_name}: {what}{number}"
        yield Mutant(path, source, module, function_name, name, position, _lines_of(function, changed))


def _lines_of(function: ast.FunctionDef, changed: ast.AST) -> range:
    """Return the lines of the innermost statement around ``changed``, without the statements within it."""
    around = [node for node in ast.walk(function) if isinstance(node, ast.stmt) and changed in ast.walk(node)]
    statement = around[-1]  # outer ones come first
    within = [node.lineno for node in ast.walk(statement) if isinstance(node, ast.stmt) and node is not statement]
    return range(statement.lineno, min(within, default=(statement.end_lineno or statement.lineno) + 1))


def _code_of(code: types.CodeType, qualified_name: str) -> types.CodeType:
    """Return the code of a function within its module's."""
    for part in qualified_name.split("."):
        code = next(one for one in code.co_consts if isinstance(one, types.CodeType) and one.co_name == part)
    return code


def _functions(body: t.Sequence[ast.stmt], prefix: str) -> t.Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")


def _is_judging(module: str, name: str, function: ast.FunctionDef) -> bool:
    returned = ast.unparse(function.returns) if function.returns else ""
    if module.startswith("checks.") and returned == "bool":
        return True
    return (module.rpartition(".")[2], name) in _ALSO or any(word in returned for word in _ANNOTATIONS)


def _replacements(function: ast.FunctionDef) -> t.Iterator[Replacement]:
    """Yield each node to replace, what is done in words, and the node that takes its place."""
    judges = "CheckResult" in ast.unparse(function.returns or ast.Constant(None)) or "tuple[Outcome" in ast.unparse(
        function.returns or ast.Constant(None)
    )
    compared = {id(part) for node in ast.walk(function) if isinstance(node, ast.Compare) for part in ast.walk(node)}
    for node in ast.walk(function):
        text = ast.unparse(node).replace("\n", " ")[:_TEXT] if isinstance(node, (ast.expr, ast.stmt)) else ""
        if isinstance(node, ast.Compare):
            yield node, f"not ({text})", ast.UnaryOp(ast.Not(), copy.deepcopy(node))
        elif id(node) in compared:
            continue
        elif _is_outcome(node) and node.attr != "PASSED":  # type: ignore[attr-defined]
            yield node, f"passed for {text}", _PASSED
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"Case", "case"}:
            yield from _forced_case(node)
        elif isinstance(node, ast.Return) and node.value is not None:
            yield from _forced_return(
                node, text, judges=judges, answers=ast.unparse(function.returns or node) == "bool"
            )
        elif isinstance(node, ast.Assign):
            yield from _forced_assignment(node)


def _is_outcome(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Outcome"


def _forced_case(call: ast.Call) -> t.Iterator[Replacement]:
    for argument in call.args:
        if isinstance(argument, ast.Starred):
            yield argument, f"passed for {ast.unparse(argument)[:_TEXT]}", ast.Starred(_FORCED, ast.Load())
        elif isinstance(argument, ast.Name) and argument.id == "outcome":
            yield argument, f"passed for {argument.id} in {ast.unparse(call)[:_TEXT]}", _PASSED


def _forced_assignment(node: ast.Assign) -> t.Iterator[Replacement]:
    value = node.value
    if isinstance(value, ast.Call) and ast.unparse(node.targets[0]) in {"(outcome, text)", "outcome, text"}:
        forced = ast.Tuple([_PASSED, ast.Subscript(value, ast.Constant(1), ast.Load())], ast.Load())
        yield value, f"passed for {ast.unparse(value)[:_TEXT]}", forced


def _forced_return(node: ast.Return, text: str, *, judges: bool, answers: bool) -> t.Iterator[Replacement]:
    value = t.cast("ast.expr", node.value)
    if answers:
        forced = (answer for answer in (True, False) if text != f"return {answer}")
        yield from ((value, f"{answer} for {text}", ast.Constant(answer)) for answer in forced)
    elif isinstance(value, ast.Constant) and value.value in _WORDS:
        yield value, f"passed for {text}", ast.Constant("passed")
    elif judges and isinstance(value, ast.Call):
        yield value, f"passed for {ast.unparse(value)[:_TEXT]}", _FORCED
    elif judges and isinstance(value, ast.Tuple) and isinstance(value.elts[0], ast.Name):
        yield value.elts[0], f"passed for {ast.unparse(value)[:_TEXT]}", _PASSED


class _Replace(ast.NodeTransformer):
    def __init__(self, node: ast.AST, by: ast.AST) -> None:
        self._node, self._by = node, by

    def visit(self, node: ast.AST) -> t.Any:
        return self._by if node is self._node else super().visit(node)
