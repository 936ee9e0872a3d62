# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Python interpreter for Ansible's modules that notes what each of them costs.

It is not the interpreter that runs Ansible, so modules that would be called in Ansible's own process are started on
their own, as on any other host, and can be measured one by one.
"""

from __future__ import annotations

import json
import re
import sys
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Iterable

_SCRIPT = """#!{python} -IS
import json, os, sys
child = os.fork()
if child == 0:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
_child, status, usage = os.wait4(child, 0)
with open({log!r}, "a") as log:
    cpu = usage.ru_utime + usage.ru_stime
    log.write(json.dumps({{"arguments": sys.argv[1:], "cpu": cpu, "mib": usage.ru_maxrss / 1024}}) + "\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Metered:
    """The interpreter, in ``directory``; ``values`` are the variables that make Ansible use it."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "modules.jsonl"
        self._python = directory / "python"
        self._python.write_text(_SCRIPT.format(python=sys.executable, log=str(self._log)))
        self._python.chmod(0o755)

    @property
    def values(self) -> dict[str, t.Any]:
        # Without pipelining the module is a file, whose name says which one it is.
        return {"ansible_python_interpreter": str(self._python), "ansible_pipelining": False}

    def modules(self) -> Iterable[tuple[str, float, float]]:
        """Return name, CPU seconds and peak MiB of every module that ran since, in order."""
        found = []
        for line in self._log.read_text().splitlines() if self._log.is_file() else []:
            row = json.loads(line)
            named = re.search(r"AnsiballZ_(\w+)\.py", " ".join(row["arguments"]))
            if named:
                found.append((named[1], row["cpu"], row["mib"]))
        self._log.unlink(missing_ok=True)
        return found
