# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a module of the collection in Ansible's own worker process where the target is the controller itself.

Ansible packs a module and all that it imports, starts a Python for it, and has that compile and import everything
again: most of the time of a task that finds nothing to do. Where the same Python would run on the same machine as the
same user, the worker that Ansible forks for the task can call the module's ``main`` just as well, with what earlier
tasks have imported already. In every other case, and whenever this version of Ansible does not let us, the module is
executed as any other.

Only for modules that read and write files of this machine: nothing that has state of its own in a process, such as the
Kubernetes client, and nothing that downloads, which crashes a forked process on macOS.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import json
import os
import sys
import typing as t
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# As Ansible itself serializes for a module, so that it gets values of the same types.
PROFILE = "legacy"
# The variable by which a user decides, and its values.
VARIABLE = "kyma_mtls_in_process"
CHOICES = ("auto", "never")

display = Display()

# Ansible imports this before it forks a worker for each task. Without it, each worker walks through all of Ansible's
# objects once, and copies the memory that they are in (https://docs.python.org/3/library/gc.html#gc.freeze).
gc.freeze()


class ModuleEnded(Exception):  # noqa: N818  (like SystemExit, in place of which it stands: no error)
    """A module has said its result."""

    def __init__(self, result: dict[str, t.Any]) -> None:
        super().__init__("the module has ended")
        self.result = result


class Machinery:
    """What is private to ansible-core: how values cross from controller to module and back, and the validation.

    Raises whatever another version of ansible-core makes of it, before a module has done anything.
    """

    def __init__(self) -> None:
        from ansible.module_utils.common.arg_spec import ArgumentSpecValidator  # noqa: PLC0415  (see the class)
        from ansible.module_utils.common.json import (  # noqa: PLC0415
            Direction,
            get_module_decoder,
            get_module_encoder,
        )
        from ansible.module_utils.common.parameters import remove_values  # noqa: PLC0415
        from ansible.module_utils.errors import UnsupportedError  # noqa: PLC0415

        self._directions = {"in": Direction.CONTROLLER_TO_MODULE, "out": Direction.MODULE_TO_CONTROLLER}
        self._coders = (get_module_encoder, get_module_decoder)
        self._validator = ArgumentSpecValidator
        self._remove_values = remove_values
        self._unsupported_error = UnsupportedError
        self._rehearse()

    def _rehearse(self) -> None:
        validation = self.validate({"known": {"type": "str", "no_log": True}}, {"known": "a"}, {})
        parts = (list(validation.errors), validation._deprecations, validation._warnings)
        if any(parts) or validation._no_log_values != {"a"} or self.without_secrets({"known": "a"}, {"a"}) is None:
            raise RuntimeError("Ansible validates otherwise than expected")
        if self.passed(self.passed({"known": [1]}, "in"), "out") != {"known": [1]}:
            raise RuntimeError("Ansible passes values otherwise than expected")

    def passed(self, values: t.Mapping[str, t.Any], direction: str) -> dict[str, t.Any]:
        """Return ``values`` as they arrive at the other side: JSON's types, without what only one side knows."""
        encoder, decoder = (coder(PROFILE, self._directions[direction]) for coder in self._coders)
        arrived: dict[str, t.Any] = json.loads(json.dumps(values, cls=encoder), cls=decoder)
        return arrived

    def validate(
        self, spec: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any], constraints: t.Mapping[str, t.Any]
    ) -> t.Any:
        return self._validator(dict(spec), **constraints).validate(given)

    def without_secrets(self, values: dict[str, t.Any], secrets: set[str]) -> dict[str, t.Any]:
        cleaned: dict[str, t.Any] = self._remove_values(values, secrets)
        return cleaned

    def words(self, error: Exception, *, module: str) -> str:
        if isinstance(error, self._unsupported_error):
            return f"Unsupported parameters for ({module}) module: {error}"
        return str(error)


class ModuleInProcess:
    """What the collection's modules use of AnsibleModule, without a process of its own."""

    def __init__(
        self,
        name: str,
        arguments: t.Mapping[str, t.Any],
        *,
        machinery: Machinery,
        check_mode: bool,
        argument_spec: t.Mapping[str, t.Any],
        supports_check_mode: bool = False,
        **constraints: t.Any,
    ) -> None:
        self.check_mode = check_mode
        self.argument_spec = argument_spec
        self.warnings: list[str] = []
        self.deprecations: list[dict[str, t.Any]] = []
        self._machinery = machinery
        validation = machinery.validate(argument_spec, arguments, constraints)
        self.params = validation.validated_parameters
        self.no_log_values = validation._no_log_values  # there is no public name for it
        self.deprecations += validation._deprecations
        for twice in validation._warnings:
            self.warn(f"Both option {twice['option']} and its alias {twice['alias']} are set.")
        for error in validation.errors:
            self.fail_json(msg=machinery.words(error, module=name))
        if check_mode and not supports_check_mode:
            self.exit_json(skipped=True, msg=f"remote module ({name}) does not support check mode")

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def deprecate(
        self, msg: str, version: str | None = None, date: str | None = None, collection_name: str | None = None
    ) -> None:
        self.deprecations.append({"msg": msg, "version": version, "date": date, "collection_name": collection_name})

    def fail_json(self, msg: str, **facts: t.Any) -> t.NoReturn:
        self._end({**facts, "msg": msg, "failed": True})

    def exit_json(self, **facts: t.Any) -> t.NoReturn:
        self._end(facts)

    def _end(self, facts: dict[str, t.Any]) -> t.NoReturn:
        facts.setdefault("changed", False)
        said = {"warnings": self.warnings, "deprecations": self.deprecations}
        facts |= {key: values for key, values in said.items() if values}
        raise ModuleEnded(self._machinery.without_secrets(facts, self.no_log_values))


class ActionInProcess(ActionBase):  # type: ignore[misc]  # Ansible's plugin classes have no types
    """An action that runs ``MAIN``, the ``main`` of its module, here if that is the same, and else as Ansible does."""

    _supports_async = True
    _supports_check_mode = True

    MAIN: t.ClassVar[t.Callable[..., None]]

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        machinery = self._machinery() if self.is_here(variables) else None
        if machinery is not None:
            result.update(self.run_here(self._task.args, machinery))
            return result
        wrap_async = self._task.async_val and not self._connection.has_native_async
        result.update(self._execute_module(task_vars=variables, wrap_async=wrap_async))
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def is_here(self, variables: t.Mapping[str, t.Any]) -> bool:
        """Whether the module would run on this machine, by this Python, as this user, in this environment."""
        if self._wish(variables) == "never":
            return False
        if self._task.delegate_to:
            variables = variables.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
        interpreter = self._templar.template(variables.get("ansible_python_interpreter"))
        is_same = (
            self._connection.transport in {"local", "ansible.builtin.local"}
            and isinstance(interpreter, str)
            and is_this_python(interpreter)
            and not self._connection.become
            and not self._task.async_val
            and not constants.DEFAULT_KEEP_REMOTE_FILES
        )
        if is_same and any(self._task.environment or []):
            say_once(
                "kyma.mtls: modules are executed in processes of their own, because the play or the task sets an "
                f"environment. An unchanged run takes longer so; {VARIABLE}=never says that it is meant."
            )
            return False
        return is_same

    def _wish(self, variables: t.Mapping[str, t.Any]) -> str:
        wish = self._templar.template(variables.get(VARIABLE, "auto"))
        if wish not in CHOICES:
            raise AnsibleActionFail(f"{VARIABLE} is '{wish}'; it can be {' or '.join(CHOICES)}.")
        return str(wish)

    @staticmethod
    def _machinery() -> Machinery | None:
        try:
            return Machinery()
        except Exception as exc:  # noqa: BLE001  (whatever another ansible-core does: the ordinary way remains)
            say_once(f"kyma.mtls: modules are executed in processes of their own ({type(exc).__name__}: {exc}).")
            return None

    def run_here(self, arguments: t.Mapping[str, t.Any], machinery: Machinery) -> dict[str, t.Any]:
        """Return the result of the module called with ``arguments`` in this process."""
        received = machinery.passed(arguments, "in")

        def make(**options: t.Any) -> ModuleInProcess:
            return ModuleInProcess(
                self._task.action, received, machinery=machinery, check_mode=self._task.check_mode, **options
            )

        try:
            # What a process of its own prints beside its result is dropped, too.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                type(self).MAIN(make)
        except ModuleEnded as ended:
            return machinery.passed(ended.result, "out")
        raise RuntimeError(f"{self._task.action} ended without a result.")


def is_this_python(interpreter: str) -> bool:
    """Whether ``interpreter`` is the Python of this process, in the same virtual environment."""
    one, other = Path(interpreter).absolute(), Path(sys.executable).absolute()
    # A virtual environment's Python is a link to that of the system: the directory tells which it is.
    return one == other or (one.parent.resolve() == other.parent.resolve() and one.resolve() == other.resolve())


def say_once(text: str) -> None:
    """Say ``text`` at verbosity 1, once in a run of Ansible: its workers share no memory, but this directory."""
    if not display.verbosity:
        return
    mark = Path(constants.DEFAULT_LOCAL_TMP) / f"kyma-mtls-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError:
        pass
    display.v(text)
