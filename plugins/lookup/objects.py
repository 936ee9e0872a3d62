# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: objects
short_description: Objects from a template in YAML
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Renders a template as P(ansible.builtin.template#lookup) does, and parses the result as YAML.
  - Does not copy all variables for each template, which takes P(ansible.builtin.template#lookup) most of its time.
options:
  _terms:
    description: The template, looked for as P(ansible.builtin.template#lookup) does.
    type: str
    required: true
  template_vars:
    description: Further variables for the template.
    type: dict
    default: {}
seealso:
  - plugin: ansible.builtin.template
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Show the objects of a template beside the playbook
  ansible.builtin.debug:
    msg: "{{ lookup('kyma.mtls.objects', 'objects.yaml.j2', template_vars={'greeting': 'Hello'}) }}"
"""

RETURN = r"""
_raw:
  description: The list of the YAML documents.
  type: list
  elements: raw
  sample: [{apiVersion: v1, kind: Namespace, metadata: {name: test}}]
"""

import typing as t
from pathlib import Path

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load_all
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible's plugin classes have no types
    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[t.Any]:
        """Return the documents of each template."""
        self.set_options(var_options=variables, direct=kwargs)
        known = variables or {}
        return [self._objects(name, {**known, **self.get_option("template_vars")}) for name in terms]

    def _objects(self, name: str, variables: dict[str, t.Any]) -> list[t.Any]:
        found = self.find_file_in_search_path(variables, "templates", name)
        if not found:
            raise AnsibleError(f"There is no template {name}.")
        path = Path(found)
        templar = self._templar.copy_with_new_env(available_variables=variables, searchpath=[str(path.parent)])
        text = templar.template(trust_as_template(self._loader.get_text_file_contents(str(path))))
        try:
            # As bytes: libyaml takes no text that carries Ansible's tags. A template may render to nothing.
            return list(yaml_load_all((text or "").encode()))
        except yaml.YAMLError as exc:
            raise AnsibleError(f"The template {path} does not render to YAML: {exc}") from exc
