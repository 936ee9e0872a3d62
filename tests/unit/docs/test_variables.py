# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles, their documentation and the guides agree on variables and defaults."""

from __future__ import annotations

import functools
import re
import typing as t

import pytest
import yaml

from ansible_collections.kyma.mtls.tests.unit.docs import pages

ROLES = sorted(path.name for path in (pages.ROOT / "roles").iterdir())
#: What a role tells the others; the role on which all depend has the defaults.
FACTS = {"server_pki_files", "client_pki_files", "gateway_endpoint"}
#: Names that begin like a role's variables: a fact's old name, a file of the code, and examples of names.
NO_VARIABLES = {"gateway_connect_to", "trust_bundle", "authority_key", "server_pki_acquired", "client_pki_acquired"}
#: A default that follows other variables is told in words, as Ansible would show its Jinja.
TOLD = "The default "


@functools.cache
def specs(role: str) -> dict[str, t.Any]:
    text = (pages.ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8")
    return t.cast("dict[str, t.Any]", yaml.safe_load(text)["argument_specs"])


def options(role: str) -> dict[str, t.Any]:
    """Variables of the role's main entry point, and those that other entry points add."""
    found: dict[str, t.Any] = {}
    for entry in specs(role).values():
        for name, option in (entry.get("options") or {}).items():
            found.setdefault(name, option)
    return found


def defaults(role: str) -> dict[str, t.Any]:
    path = pages.ROOT / "roles" / role / "defaults/main.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


@pytest.mark.parametrize("role", ROLES)
def test_documented_defaults_are_the_real_ones(role: str) -> None:
    real = defaults(role)
    for name, option in options(role).items():
        if "default" in option:
            assert option["default"] == real[name], name
        elif name in real:
            assert TOLD in str(option["description"]), f"{name} has a default, but its documentation names none"


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_documented(role: str) -> None:
    assert set(defaults(role)) <= set(options(role))


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_has_a_description_and_a_type(role: str) -> None:
    for entry in specs(role).values():
        assert entry["short_description"]
        assert entry["description"]
    for name, option in options(role).items():
        assert name.startswith(f"{role}_") or (role == "mtls" and name in FACTS), name
        assert option["description"], name
        assert option["type"], name


@functools.cache
def known() -> frozenset[str]:
    """Every variable that a user may set: of roles, of all roles together, and of playbooks."""
    found = {name for role in ROLES for name in options(role)}
    texts = [path.read_text(encoding="utf-8") for path in (pages.ROOT / "roles").glob("*/*/*.yml")]
    texts += [path.read_text(encoding="utf-8") for path in (pages.ROOT / "playbooks").glob("*.yml")]
    found |= {name for text in texts for name in re.findall(r"\bmtls_\w+\b", text)}
    return frozenset(found)


def test_what_a_role_tells_follows_the_real_defaults_of_its_variables() -> None:
    """The role that all depend on has to know the defaults of variables that others have."""
    text = (pages.ROOT / "roles/mtls/vars/main.yml").read_text(encoding="utf-8")
    found = re.findall(r"\b((?!mtls)[a-z]\w+) \| default\((?:'([^']*)'|(\d+)|(mtls_\w+)(?: ~ '([^']*)')?)\)", text)
    assert len(found) >= 7
    real = {name: value for role in ROLES for name, value in defaults(role).items()}
    for name, word, number, variable, rest in found:
        expected = (
            {f"{{{{ {variable} }}}}{rest}", f"{{{{ cluster_home }}}}{rest}"}
            if variable
            else {int(number) if number else word}
        )
        assert real[name] in expected, name


def test_no_role_reads_variables_of_another_one() -> None:
    owners = {name: role for role in ROLES for name in options(role)}
    for path in (pages.ROOT / "roles").glob("*/*/*.yml"):
        role = path.parent.parent.name
        if role == "mtls" or path.parent.name == "meta":
            continue
        text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        # What is set for a role that is included is no reading.
        text = re.sub(r"^\s+\w+:", "", text, flags=re.MULTILINE)
        named = re.findall(r"(?<![\w.'])[a-z]\w+", text)
        assert not {name for name in named if owners.get(name, role) not in {role, "mtls"}}, path


def test_a_common_variable_has_its_default_in_one_place() -> None:
    for path in [*(pages.ROOT / "roles").glob("*/*/*.yml"), *(pages.ROOT / "playbooks").rglob("*.yml")]:
        found = re.findall(r"mtls_(?!target)\w+ \| default\([^)]*\)", path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found}"


@pytest.mark.parametrize("page", pages.pages())
def test_variables_that_a_page_names_exist(page: str) -> None:
    beginnings = "|".join(ROLES)
    named = set(re.findall(rf"(?<![\w./-])(?:{beginnings})_\w+(?![\w(/.-])", pages.read(page)))
    modules = {path.stem for path in pages.plugins()}
    assert named - known() - modules - NO_VARIABLES == set()


def test_the_table_of_the_site_names_the_real_defaults() -> None:
    table = pages.read("README.md").partition("## Variables of the site")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line.startswith("| `")
    ]
    assert rows
    real = {name: value for role in ROLES for name, value in defaults(role).items()}
    for names, shown, _meaning in rows:
        for name in re.findall(r"`(\w+)`", names):
            values = re.findall(r"`([^`]*)`", shown)
            expected = real.get(name)
            if values and isinstance(expected, (str, int, bool)) and "{{" not in str(expected):
                assert values[0] == (str(expected).lower() if isinstance(expected, bool) else str(expected)), name
