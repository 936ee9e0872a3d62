# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All checks: what takes seconds, then the longest, so that the last ones are short.

Of those with workers of their own (roles, units, repeated), one runs from the beginning on, and the others beside it.

A new check is one function here or in a neighbour, and one line in ``all_steps``.
"""

from __future__ import annotations

import functools

from checks import ansible, lint, playbooks, units
from checks.step import Step

_long = functools.partial(Step, timeout_seconds=2700)
_spread = functools.partial(_long, has_workers=True)


def all_steps() -> list[Step]:
    return [
        Step("ruff", "lint", "Python: rules and format", lint.ruff),
        Step("yamllint", "lint", "YAML: rules", lint.yamllint),
        Step("mypy", "lint", "Python: strict types of module_utils and tools", lint.mypy),
        Step("imports", "lint", "Python: which way imports may go, and the picture of them", lint.imports),
        Step("shell", "lint", "shell scripts: shellcheck", lint.shell),
        Step("pins", "lint", "requirements: both sets pin the same versions", lint.pins),
        Step("changelog", "lint", "changelog fragments: antsibull-changelog lint", lint.changelog),
        Step("licences", "lint", "every file has its licence: reuse lint", lint.licences),
        _spread("roles", "units", "roles and documentation by whole playbooks", units.playbooks),
        *[
            _long(f"molecule-{name}", "molecule", f"molecule scenario {name}", ansible.molecule(name))
            # The shortest one last.
            for name in sorted(ansible.molecule_scenarios(), key=lambda name: (name == "default", name))
        ],
        _long("playbooks", "playbooks", "whole playbooks, by the collection as installed", playbooks.installed),
        _spread("units", "units", "unit tests, branch coverage of module_utils", units.with_coverage),
        Step("sanity", "sanity", "ansible-test sanity, in a copy of the project", ansible.sanity, 1800),
        *[
            (_spread if units.CORES > 2 else _long)(
                f"units-{version}", "units", f"unit tests under Python {version}", units.under(version)
            )
            for version in units.OTHER_VERSIONS
        ],
        _spread("repeated", "units", "hostile servers, whole verifications, kills; no coverage", units.repeated),
        Step("docs", "lint", "documentation site builds without warnings", ansible.documentation_site),
        Step("artifact", "artifact", "collection builds, installs elsewhere, passes galaxy-importer", ansible.artifact),
        Step("docs-lint", "lint", "references and markup of the documentation", ansible.documentation_lint),
        Step("ansible-lint", "lint", "Ansible: profile production, no skips", ansible.lint),
        Step("ansible-doc", "lint", "documentation of every plugin and role can be read", ansible.documentation),
    ]
