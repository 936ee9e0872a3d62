# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of the house for roles, playbooks and Molecule's scenarios, as CONTRIBUTING.md has them."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("molecule/**/*.yml")])
VARIABLES = sorted({*FILES, *ROOT.glob("roles/*/*/*.yml"), *ROOT.glob("roles/*/*/*.j2")})
PLUGINS = sorted([*ROOT.glob("plugins/modules/*.py"), *ROOT.glob("plugins/filter/*.py")])
#: Packages that other callers than our roles have.
LIBRARIES = ["_envoy", "_handover", "_pki", "_signer", "_trust", "_verify", "_x509"]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md"), *ROOT.glob("*.md")])
#: A name begins with one of these. Add a verb when a task does something else.
VERBS = re.compile(
    r"(Acquire|Add|Apply|Ask|Assemble|Build|Call|Change|Check|Clear|Collect|Compare|Configure|Connect|Copy|Count|Create"
    r"|Delete|Disable|Download|Drop|Dump|Edit|Enable|Ensure|Fail|Fetch|Find|Forward|Gather|Generate|Hand"
    r"|Import|Install|Issue|Keep|Kill|List|Load|Look|Make|Move|Name|Open|Order|Place|Predict|Prepare|Print|Publish"
    r"|Query|Read|Reconcile|Record|Remove|Render|Repeat|Replace|Request|Reset|Restart|Restore|Retire|Revoke"
    r"|Rotate|Run|Save|Schedule|Search|Send|Serve|Set|Show|Sign|Skip|Start|Stop|Store|Switch|Test|Trust|Try"
    r"|Unpack|Update|Upgrade|Use|Validate|Verify|Wait|Warn|Write)\b"
)
#: A result is stated by one of these verbs, unless it is in a clause: "Fail if the home is not there".
RESULT = re.compile(r"\b(is|are|has|have|had|was|were|been|gets?|holds?)\b")
CLAUSE = re.compile(r"\b(if|that|which|who|what|when|where|while|until|unless|whether|why)\b")


def names(node: t.Any) -> t.Iterator[str]:
    """Yield the names of plays, blocks and tasks in ``node``."""
    if isinstance(node, list):
        for item in node:
            yield from names(item)
    elif isinstance(node, dict):
        if "name" in node and not {"kind", "requirements", "url", "common_name"} & set(node):
            yield str(node["name"])
        for part in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from names(node.get(part, []))


def complaint(name: str) -> str | None:
    """Say what is wrong with the name of a task, as a person would."""
    if " | " in name:
        return "has a prefix: Ansible prints the role, and the name says what it acts on"
    if not VERBS.match(name):
        return "does not begin with a verb in the imperative"
    stated = RESULT.search(name)
    clause = CLAUSE.search(name)
    if stated and not (clause and clause.start() < stated.start()):
        return f"states a result ({stated[0]})"
    return None


def every_name() -> list[t.Any]:
    return [
        pytest.param(name, id=f"{path.relative_to(ROOT)}: {name}")
        for path in FILES
        for name in names(yaml.safe_load(path.read_text(encoding="utf-8")))
    ]


def every_shown_name() -> list[t.Any]:
    """Tasks and plays of modules' and filters' examples, and of the documentation."""
    texts = {
        path: re.findall(r'EXAMPLES = r"""\n(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL) for path in PLUGINS
    } | {path: re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL) for path in PAGES}
    return [
        pytest.param(name, id=f"{path.relative_to(ROOT)}: {name}")
        for path, blocks in texts.items()
        for block in blocks
        for name in names([item for item in (yaml.safe_load(block) or []) if _is_task(item)])
    ]


def _is_task(item: t.Any) -> bool:
    return isinstance(item, dict) and any("." in key or key == "hosts" for key in item)


@pytest.mark.parametrize("name", [*every_name(), *every_shown_name()])
def test_a_name_is_an_imperative(name: str) -> None:
    assert complaint(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "Cluster runs",
        "Gateway listens",
        "The verdict is told",
        "Every role understands what is asked of it",
        "Tools are installed",
        "Check | Read the file",
        "Check the home has keys",
        "No container is left, and the keys are",
        "Removed everything",
    ],
)
def test_a_result_is_no_name(name: str) -> None:
    assert complaint(name)


@pytest.mark.parametrize("path", VARIABLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_jinja_expression_is_longer_than_a_line(path: Path) -> None:
    """Logic belongs into a filter or a module, an object into a template."""
    for found in re.finditer(r"\{\{.*?\}\}|\{%.*?%\}", path.read_text(encoding="utf-8"), re.DOTALL):
        assert "\n" not in found[0], found[0]
        assert len(found[0]) <= 120, found[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_overrules_a_result_has_its_reason_beside_it(path: Path) -> None:
    before = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(r"\s+(changed_when: false|failed_when: false|ignore_errors: )", line):
            assert "  # " in line or before.lstrip().startswith("#"), line
        before = line


def test_a_library_does_not_know_the_variables_of_its_callers() -> None:
    specs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    variables = {name for spec in specs for entry in spec["argument_specs"].values() for name in entry["options"]}
    named = re.compile(rf"\b({'|'.join(sorted(variables - {'cluster_name'}))})\b")  # cluster_name: Envoy's, too
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for package in LIBRARIES
        for path in (ROOT / "plugins/module_utils" / package).rglob("*.py")
        for match in named.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found


def test_every_task_has_a_name() -> None:
    keywords = {
        "block",
        "ansible.builtin.include_tasks",
        "ansible.builtin.import_tasks",
        "ansible.builtin.include_role",
    }
    for path in FILES:
        if path.parent.name != "tasks":
            continue
        for task in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
            assert "name" in task, f"{path}: {sorted(set(task) & keywords) or task}"
