# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase

ROLES = Path(__file__).resolve().parents[2] / "roles"
# Ansible's own action for one argument specification, which it runs before each role.
VALIDATION = "ansible.builtin.validate_argument_spec"


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible's plugin classes have no types
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"roles"})

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={"roles": {"type": "list", "elements": "str", "required": True}}
        )
        if constants.config.get_config_value("DEFAULT_PRIVATE_ROLE_VARS"):
            # The roles' defaults are not to be seen here, so there is nothing to validate.
            return {**result, "skipped": True, "msg": "DEFAULT_PRIVATE_ROLE_VARS hides the variables of the roles"}
        errors = [error for role in arguments["roles"] for error in self._errors(role, task_vars or {})]
        if errors:
            raise AnsibleActionFail("\n".join(errors))
        return {**result, "changed": False}

    def _errors(self, role: str, variables: dict[str, t.Any]) -> list[str]:
        """Return what is wrong with the arguments of the ``role`` of this collection."""
        options = self._yaml(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        defaults = self._yaml(role, "defaults/main.yml")
        # A default needs no validation, and each would be rendered for it.
        given = [name for name in options if name in variables and variables[name] != defaults.get(name)]
        options = {name: options[name] for name in given}
        if not options:
            return []
        task = self._task.copy()
        task.args = {"argument_spec": options}
        action = self._shared_loader_obj.action_loader.get(
            VALIDATION,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        found: list[str] = action.run(task_vars=variables).get("argument_errors", [])
        return found

    def _yaml(self, role: str, name: str) -> t.Any:
        path = ROLES / role / name
        if not path.exists():
            raise AnsibleActionFail(f"The collection has no role {role} with a {name}.")
        # Ansible's own loader would mark each value with its place, and copy all of it twice.
        return yaml_load(path.read_bytes()) or {}
