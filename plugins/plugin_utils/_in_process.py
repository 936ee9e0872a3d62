# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a module of the collection in Ansible's own worker process where the target is the controller itself.

Ansible packs a module and all that it imports, starts a Python for it, and has that compile and import everything
again: most of the time of a task that finds nothing to do. Where the same Python would run on the same machine as the
same user, the worker that Ansible forks for the task can call the module's ``main`` just as well, with what earlier
tasks have imported already. In every other case the module is executed as any other.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import sys
import typing as t
from pathlib import Path

from ansible import constants
from ansible.module_utils.basic import FILE_COMMON_ARGUMENTS
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.json import Direction, get_module_decoder, get_module_encoder
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# As Ansible itself serializes for a module, so that it gets values of the same types.
PROFILE = "legacy"
# From here on Ansible shows how a module was executed, so it is executed.
EXECUTION_VERBOSITY = 3

display = Display()


class ModuleEnded(Exception):  # noqa: N818  (like SystemExit, in place of which it stands: no error)
    """A module has said its result."""

    def __init__(self, result: dict[str, t.Any]) -> None:
        super().__init__("the module has ended")
        self.result = result


class ModuleInProcess:
    """What the collection's modules use of AnsibleModule, without a process of its own."""

    def __init__(
        self,
        name: str,
        arguments: t.Mapping[str, t.Any],
        *,
        check_mode: bool,
        argument_spec: t.Mapping[str, t.Any],
        supports_check_mode: bool = False,
        add_file_common_args: bool = False,
        **constraints: t.Any,
    ) -> None:
        self.check_mode = check_mode
        self.argument_spec = argument_spec
        self.warnings: list[str] = []
        options = {**FILE_COMMON_ARGUMENTS, **argument_spec} if add_file_common_args else argument_spec
        validation = ArgumentSpecValidator(options, **constraints).validate(arguments)
        self.params = validation.validated_parameters
        self.no_log_values = validation._no_log_values  # there is no public name for it
        for error in validation.errors:
            is_unknown = isinstance(error, UnsupportedError)
            self.fail_json(msg=f"Unsupported parameters for ({name}) module: {error}" if is_unknown else str(error))
        if check_mode and not supports_check_mode:
            self.exit_json(skipped=True, msg=f"remote module ({name}) does not support check mode")

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def fail_json(self, msg: str, **facts: t.Any) -> t.NoReturn:
        self._end({**facts, "msg": msg, "failed": True})

    def exit_json(self, **facts: t.Any) -> t.NoReturn:
        self._end(facts)

    def _end(self, facts: dict[str, t.Any]) -> t.NoReturn:
        facts.setdefault("changed", False)
        if self.warnings:
            facts["warnings"] = self.warnings
        raise ModuleEnded(remove_values(facts, self.no_log_values))


class ActionInProcess(ActionBase):  # type: ignore[misc]  # Ansible's plugin classes have no types
    """An action that runs ``MAIN``, the ``main`` of its module, here if that is the same, and else as Ansible does."""

    _supports_async = True
    _supports_check_mode = True

    MAIN: t.ClassVar[t.Callable[..., None]]

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if self.is_here(variables):
            result.update(self.run_here(self._task.args))
            return result
        wrap_async = self._task.async_val and not self._connection.has_native_async
        result.update(self._execute_module(task_vars=variables, wrap_async=wrap_async))
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def is_here(self, variables: t.Mapping[str, t.Any]) -> bool:
        """Whether the module would run on this machine, by this Python, as this user, in this environment."""
        if self._task.delegate_to:
            variables = variables.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
        interpreter = self._templar.template(variables.get("ansible_python_interpreter"))
        return (
            self._connection.transport in {"local", "ansible.builtin.local"}
            and isinstance(interpreter, str)
            and Path(interpreter).absolute() == Path(sys.executable).absolute()
            and not self._connection.become
            and not self._task.async_val
            and not any(self._task.environment or [])
            and not constants.DEFAULT_KEEP_REMOTE_FILES
            and display.verbosity < EXECUTION_VERBOSITY
        )

    def run_here(self, arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return the result of the module called with ``arguments`` in this process."""
        received = _passed(arguments, Direction.CONTROLLER_TO_MODULE)

        def make(**options: t.Any) -> ModuleInProcess:
            return ModuleInProcess(self._task.action, received, check_mode=self._task.check_mode, **options)

        try:
            with _as_a_process():
                type(self).MAIN(make)
        except ModuleEnded as ended:
            return _passed(ended.result, Direction.MODULE_TO_CONTROLLER)
        raise RuntimeError(f"{self._task.action} ended without a result.")


@contextlib.contextmanager
def _as_a_process() -> t.Iterator[None]:
    """Do what the end of a process would: what was printed is dropped, and what is to be done at its exit is done.

    Ansible's workers leave without that, and a library may have written a key to a temporary file for the time being.
    """
    at_exit: list[t.Callable[[], t.Any]] = []

    def register(function: t.Callable[..., t.Any], *arguments: t.Any, **options: t.Any) -> t.Any:
        at_exit.append(functools.partial(function, *arguments, **options))
        return function

    before, atexit.register = atexit.register, register
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        atexit.register = before
        for function in reversed(at_exit):
            function()


def _passed(values: t.Mapping[str, t.Any], direction: Direction) -> dict[str, t.Any]:
    """Return ``values`` as they arrive at the other side: JSON's types, without what only one side knows of them."""
    text = json.dumps(values, cls=get_module_encoder(PROFILE, direction))
    arrived: dict[str, t.Any] = json.loads(text, cls=get_module_decoder(PROFILE, direction))
    return arrived
