# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every error text of the collection, and its place in docs/errors.md.

    python tools/errors.py            which messages docs/errors.md lacks, and which it has that nobody says any more
    python tools/errors.py --write    renew the lists in docs/errors.md; causes and mends are written by hand

A section of docs/errors.md lists the messages of the sources that its comment names, one a line: a path below
``plugins``, ``roles`` or ``playbooks``, and after it, optionally, a regular expression that the message contains.
An expression wins over a path alone.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/errors.md"
GAP = "…"
#: Exceptions that end as a failed task; subclasses of MtlsError are found by themselves.
FAILURES = {"MtlsError", "AnsibleFilterError", "AnsibleActionFail", "AnsibleError"}
#: Functions and methods whose argument becomes the text of such an exception, and lists whose items do.
REFUSALS = {"refusal", "fail_json", "warn"}
PROBLEMS = {"problems", "warnings"}
#: A keyword argument with a mapping of what is refused to the reason.
REFUSED = "refused"
#: Modules whose functions return or yield reasons, which stand in the messages of others.
REASONS = (
    "module_utils/_pki/authority.py",
    "module_utils/_x509/certificate_policies.py",
    "module_utils/_x509/constraints.py",
    "module_utils/_x509/crl.py",
    "module_utils/_x509/rules.py",
    "module_utils/_x509/webpki.py",
)
SENTENCE = re.compile(r"[A-Za-z]{2,}[ ,:]+[^A-Za-z]*[A-Za-z]{2,}")
BLOCK = re.compile(r"<!-- messages\n(?P<sources>.*?)-->\n(?P<list>.*?)<!-- end -->", re.DOTALL)
PARTS = ("tasks", "block", "rescue", "always", "pre_tasks", "post_tasks", "handlers")


@dataclass(frozen=True, order=True)
class Message:
    """What a user may read: its source, relative to the collection, and its text with gaps for what differs."""

    source: str
    text: str


def flat(text: str) -> str:
    """The text on one line; what differs from case to case is a gap."""
    one_line = re.sub(r"\s+", " ", text).strip()
    return re.sub(rf"{GAP}(\s?{GAP})+", GAP, one_line)


def templates(node: ast.expr | None, constants: t.Mapping[str, ast.expr]) -> list[str]:
    """What an expression can say, as far as it, and the constants of its module, say it themselves."""
    found = [GAP]
    match node:
        case ast.Constant(value=str(text)):
            found = [text]
        case ast.Name(id=name) if name in constants:
            found = templates(constants[name], {})
        case ast.FormattedValue(value=value):
            found = templates(value, constants)
        case ast.JoinedStr(values=parts):
            found = joined(*(templates(part, constants) for part in parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            found = joined(templates(left, constants), templates(right, constants))
        case ast.IfExp(body=body, orelse=orelse):
            found = [*templates(body, constants), *templates(orelse, constants)]
        case ast.Dict(values=values):
            found = [text for value in values for text in templates(value, constants)]
        case ast.List(elts=values) | ast.Tuple(elts=values):
            found = [text for value in values for text in templates(value, constants)]
        case ast.ListComp(elt=value) | ast.GeneratorExp(elt=value):
            found = templates(value, constants)
        case ast.Call(args=[_keys, value]) if ast.unparse(node.func) == "dict.fromkeys":
            found = templates(value, constants)
    return found


def joined(*parts: list[str]) -> list[str]:
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def says_something(text: str) -> bool:
    return bool(SENTENCE.search(text))


class Reader(ast.NodeVisitor):
    """Collects the messages of one Python file."""

    def __init__(self, tree: ast.Module, failures: t.Collection[str], *, has_reasons: bool) -> None:
        self.failures = failures
        self.reasons = {"reasons"} if has_reasons else set()
        self.found: set[str] = set()
        self.functions = {
            node.name: node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        self.constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.within: list[ast.AST] = []
        self.visit(tree)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.within.append(node)
        self.generic_visit(node)
        self.within.pop()

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in self.failures or name in REFUSALS:
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            argument = keywords.get("msg") or (node.args[0] if node.args else None)
            self._say(argument, certain=name in self.failures or name == "fail_json")
        elif name in {"append", "extend"} and self._list_name(node.func) in (PROBLEMS | self.reasons):
            self._say(node.args[0], certain=False)
        for keyword in node.keywords:
            if keyword.arg == REFUSED:
                self._say(keyword.value, certain=False)
        self.generic_visit(node)

    def visit_Yield(self, node: ast.Yield) -> None:
        if self.reasons:
            self._say(node.value, certain=False)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if self.reasons:
            self._say(node.value, certain=False)
        self.generic_visit(node)

    def _say(self, argument: ast.expr | None, *, certain: bool) -> None:
        said = [text for text in templates(argument, self.constants) if says_something(text)]
        self.found.update(said)
        if not said and argument is not None:
            self.found.update(self._said_elsewhere(argument, around=certain))

    def _said_elsewhere(self, argument: ast.expr, *, around: bool) -> t.Iterator[str]:
        """The sentences of the function that makes the message: the one that is called, else the one around it."""
        called = [
            self.functions[name.id]
            for name in ast.walk(argument)
            if isinstance(name, ast.Name) and name.id in self.functions
        ]
        for function in called or (self.within[-1:] if around else []):
            documentation = ast.get_docstring(t.cast("ast.FunctionDef", function), clean=False)
            said = [text for node in outermost_texts(function) for text in templates(node, self.constants)]
            yield from (text for text in said if says_something(text) and text != documentation)

    @staticmethod
    def _list_name(function: ast.expr) -> str:
        owner = function.value if isinstance(function, ast.Attribute) else None
        return owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")


def outermost_texts(node: ast.AST) -> t.Iterator[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr) or (isinstance(child, ast.Constant) and isinstance(child.value, str)):
            yield child
        else:
            yield from outermost_texts(child)


def of_plugins(root: Path) -> t.Iterator[Message]:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((root / "plugins").rglob("*.py"))}
    failures = set(FAILURES)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") in FAILURES for base in node.bases):
                failures.add(node.name)
    for path, tree in trees.items():
        source = path.relative_to(root / "plugins").as_posix()
        for text in Reader(tree, failures, has_reasons=source in REASONS).found:
            yield Message(source, flat(text))


def of_tasks(root: Path) -> t.Iterator[Message]:
    for path in sorted([*(root / "roles").glob("*/tasks/*.yml"), *(root / "playbooks").rglob("*.yml")]):
        for task in every_task(yaml.safe_load(path.read_text(encoding="utf-8"))):
            for text in (
                (task.get("ansible.builtin.fail") or {}).get("msg"),
                (task.get("ansible.builtin.assert") or {}).get("fail_msg"),
            ):
                if text and says_something(known := flat(re.sub(r"{{.*?}}", GAP, text, flags=re.DOTALL))):
                    yield Message(path.relative_to(root).as_posix(), known)


def every_task(items: t.Any) -> t.Iterator[dict[str, t.Any]]:
    for item in items or ():
        if isinstance(item, dict):
            yield item
            for part in PARTS:
                yield from every_task(item.get(part))


def messages(root: Path = ROOT) -> list[Message]:
    """Every message of the collection."""
    return sorted({*of_plugins(root), *of_tasks(root)})


@dataclass(frozen=True)
class Claim:
    """What a section lists: a source, and perhaps only some of its messages."""

    section: int
    path: str
    expression: str

    def matches(self, message: Message) -> bool:
        return message.source == self.path and (not self.expression or bool(re.search(self.expression, message.text)))


def claims(page: str) -> list[Claim]:
    found = []
    for section, block in enumerate(BLOCK.finditer(page)):
        for line in block["sources"].splitlines():
            path, _space, expression = line.strip().partition(" ")
            if path:
                found.append(Claim(section, path, expression.strip()))
    return found


def placed(page: str, said: t.Iterable[Message]) -> tuple[dict[int, list[str]], list[Message]]:
    """Section -> its messages, and the messages that no section claims. Raises SystemExit when two claim one."""
    sections: dict[int, list[str]] = {section: [] for section in range(len(BLOCK.findall(page)))}
    homeless = []
    known = claims(page)
    for message in said:
        matching = [claim for claim in known if claim.matches(message)]
        best = [claim for claim in matching if claim.expression] or matching
        if len({claim.section for claim in best}) > 1:
            sys.exit(f"Two sections of {PAGE.name} claim this message of {message.source}: {message.text}")
        if best:
            sections[best[0].section].append(message.text)
        else:
            homeless.append(message)
    return sections, homeless


def outdated(page: str, said: t.Collection[Message]) -> list[Claim]:
    """What sections list of sources that say no such thing any more."""
    return [claim for claim in claims(page) if not any(claim.matches(message) for message in said)]


def renewed(page: str, sections: t.Mapping[int, t.Sequence[str]]) -> str:
    """The page with its lists as they should be."""
    numbers = iter(range(len(sections)))

    def block(match: re.Match[str]) -> str:
        lines = "".join(f"- {code(text)}\n" for text in sorted(set(sections[next(numbers)])))
        return f"<!-- messages\n{match['sources']}-->\n\n{lines}\n<!-- end -->"

    return BLOCK.sub(block, page)


def code(text: str) -> str:
    """The text as code in Markdown."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold docs/errors.md against the error texts of the collection.")
    parser.add_argument("--write", action="store_true", help="renew the lists of messages")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    said = messages()
    sections, homeless = placed(page, said)
    wanted = renewed(page, sections)
    if arguments.write:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != page:
        print("The lists in docs/errors.md are not those of the code: python tools/errors.py --write renews them.")
    for message in homeless:
        print(f"No section of docs/errors.md has {message.source}: {message.text}")
    for claim in (gone := outdated(page, said)):
        print(f"docs/errors.md claims messages that there are not: {claim.path} {claim.expression}".rstrip())
    return 1 if homeless or gone or (wanted != page and not arguments.write) else 0


if __name__ == "__main__":
    sys.exit(main())
