# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation shows: examples of plugins, and fenced blocks of Markdown pages."""

from __future__ import annotations

import ast
import re
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml

import ansible_collections.kyma.mtls.plugins.module_utils as collection

ROOT = Path(next(iter(collection.__path__))).resolve().parents[1]
FENCE = re.compile(r"^```(?P<language>[\w{}]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
#: Private code, and plugins without documentation of their own (an action plugin is documented with its module).
WITHOUT_EXAMPLES = {"module_utils", "plugin_utils", "doc_fragments", "action"}


@dataclass(frozen=True)
class Block:
    """A fenced block: the page, which of the page's blocks of this language it is (from 1), and its text."""

    page: str
    number: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}#{self.number}"

    @property
    def data(self) -> t.Any:
        return yaml.safe_load(self.text)


def plugins() -> list[Path]:
    """Every plugin that has documentation."""
    return sorted(
        path
        for path in (ROOT / "plugins").glob("*/*.py")
        if path.parent.name not in WITHOUT_EXAMPLES and not path.name.startswith("_")
    )


def constant(path: Path, name: str) -> str:
    """The text that a plugin's file assigns to ``name``, or nothing."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    return ""


def pages() -> list[str]:
    """Every page that a user or a contributor reads, relative to the project."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(*languages: str) -> list[Block]:
    """The fenced blocks of these languages on all pages."""
    found = []
    for page in pages():
        texts = [match["text"] for match in FENCE.finditer(read(page)) if match["language"] in languages]
        found += [Block(page, number, text) for number, text in enumerate(texts, start=1)]
    return found
