# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects from templates are what Ansible's own lookup and filter make of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kyma.mtls.tests.unit.docs import pages

ROOT = Path(__file__).resolve().parents[4]
TEMPLATES = {
    # That of the example.
    "objects.yaml.j2": "greeting: {{ greeting }}\n",
    "several.yaml.j2": """\
---
# {{ ansible_host | default('no host') }}
name: {{ name | default('nobody') }}
list: {{ numbers | to_json }}
text: "{% raw %}{{ not a template }}{% endraw %}"
number: {{ numbers[0] }}
date: 2026-01-31
{% if name is defined %}
---
- {{ nested }}
{% endif %}
""",
    "none.yaml.j2": "{% if false %}a{% endif %}",
    "broken.yaml.j2": "a: [\n",
}
VARIABLES = {"numbers": [1, 2], "inner": "in{{ numbers[1] }}", "nested": "{{ inner }}ner", "greeting": "of the play"}
THEIRS = "{{ lookup('ansible.builtin.template', item.0, template_vars=item.1) | from_yaml_all | list }}"
OURS = "{{ lookup('kyma.mtls.objects', item.0, template_vars=item.1) }}"
ITEMS = [["several.yaml.j2", {"name": "{{ inner }}"}], ["several.yaml.j2", {}], ["none.yaml.j2", {}]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[t.Any], str]:
    """The two lookups' results for each item, and what was printed."""
    directory = tmp_path_factory.mktemp("objects")
    (directory / "templates").mkdir()
    for name, text in TEMPLATES.items():
        (directory / "templates" / name).write_text(text)
    compare = {"msg": ["THE RESULT", THEIRS, OURS]}
    tasks = [
        {"name": "Compare", "ansible.builtin.debug": compare, "loop": ITEMS},
        *yaml.safe_load(pages.constant(ROOT / "plugins/lookup/objects.py", "EXAMPLES")),
        *(
            {
                "name": f"Show {name}",
                "ansible.builtin.debug": {"msg": "{{ lookup('kyma.mtls.objects', '" + name + "') }}"},
                "ignore_errors": True,
            }
            for name in ("broken.yaml.j2", "missing.yaml.j2")
        ),
    ]
    play = {"hosts": "localhost", "gather_facts": False, "vars": VARIABLES, "tasks": tasks}
    (directory / "play.json").write_text(json.dumps([play]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    command = [sys.executable, "-m", "ansible", "playbook", directory / "play.json"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [
        json.JSONDecoder().raw_decode(part)[0]["msg"][1:]
        for part in done.stdout.split(" => ")
        if part.startswith("{") and "THE RESULT" in part.partition("}")[0] + part[:400]
    ]
    return found, done.stdout


def test_the_objects_are_those_of_the_two_built_in_steps(outcome):
    found, printed = outcome
    assert len(found) == len(ITEMS), printed
    for theirs, ours in found:
        assert ours == theirs
    assert [len(ours) for _theirs, ours in found] == [2, 1, 0]
    assert found[0][1][0]["name"] == "in2"
    assert found[0][1][0]["text"] == "{{ not a template }}"
    assert found[0][1][1] == ["in2ner"]


def test_variables_of_the_lookup_win_over_those_of_the_play(outcome):
    assert '"greeting": "Hello"' in outcome[1]


def test_what_cannot_be_rendered_is_told_with_its_name(outcome):
    assert "broken.yaml.j2 does not render to YAML" in outcome[1]
    assert "There is no template missing.yaml.j2." in outcome[1]
