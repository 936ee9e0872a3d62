# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the project has is named where a reader looks for it."""

from __future__ import annotations

import yaml

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import CATALOGUE
from ansible_collections.kyma.mtls.tests.unit.docs import pages


def test_the_readme_links_every_role() -> None:
    for role in (pages.ROOT / "roles").iterdir():
        assert f"(roles/{role.name}/README.md)" in pages.read("README.md"), role.name


def test_the_architecture_names_every_package_of_module_utils() -> None:
    for package in (pages.ROOT / "plugins/module_utils").glob("_*/"):
        if package.is_dir() and package.name != "__pycache__":
            assert f"`plugins/module_utils/{package.name}/`" in pages.read("docs/architecture.md"), package.name


def test_the_navigation_has_every_guide() -> None:
    index = pages.read("docs/index.md")
    for guide in (pages.ROOT / "docs").glob("*.md"):
        if guide.stem != "index":
            assert f"\n{guide.stem}\n" in index, guide.name


def test_the_readme_of_verify_has_every_check_as_it_is() -> None:
    page = pages.read("roles/verify/README.md")
    for entry in CATALOGUE:
        assert f"| {entry.id} | {entry.title} | {entry.expected} | {entry.source} |" in page


def test_every_return_value_has_a_sample() -> None:
    for path in pages.plugins():
        returned = yaml.safe_load(pages.constant(path, "RETURN") or "{}") or {}
        for name, value in returned.items():
            assert "sample" in value or "contains" in value, f"{path.stem}: {name}"


def test_every_module_leads_on() -> None:
    for path in pages.plugins():
        if path.parent.name == "modules":
            assert yaml.safe_load(pages.constant(path, "DOCUMENTATION")).get("seealso"), path.stem
