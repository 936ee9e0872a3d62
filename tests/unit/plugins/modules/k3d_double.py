# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules as Ansible runs them, on a host where k3d and docker are the stand-ins of tests/doubles/k3d."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import typing as t
from pathlib import Path
from unittest import mock

import ansible.module_utils.common.warnings
from ansible.module_utils import basic

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # ansible-core 2.16 and before
    patch_module_args = None

ROOT = Path(__file__).resolve().parents[4]
DOUBLE = ROOT / "tests" / "doubles" / "k3d" / "double.py"
IMAGE = "rancher/k3s:v1.33.7-k3s1"


class Result(dict[str, t.Any]):
    """The module's JSON; ``printed`` is all it printed, for searches of what must not be there."""

    printed: str = ""

    @property
    def words(self) -> str:
        """Everything that a person reads of warnings."""
        return " ".join(json.dumps(one) for one in self.get("warnings", []))


class Host:
    """A host with the stand-ins, a home of its own, and a place for temporary files that is looked at."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.double, self.home, self.temporary, self.bin = (directory / one for one in ("double", "home", "tmp", "bin"))
        for one in (self.double, self.home, self.temporary, self.bin):
            one.mkdir()
        for name in ("k3d", "docker"):
            self.install(name)

    def install(self, name: str) -> None:
        program = self.bin / name
        # No name of a Python is in this host's PATH.
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "{DOUBLE}" {name} "$@"\n', encoding="utf-8")
        program.chmod(0o755)

    def remove(self, name: str) -> None:
        (self.bin / name).unlink()

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in {"KUBECONFIG", "DOCKER_HOST"}}
        return kept | {
            "PATH": f"{self.bin}:/nonexistent",
            "K3D_DOUBLE": str(self.double),
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": f"{ROOT / '.build/collections'}{os.pathsep}{os.environ.get('PYTHONPATH', ROOT / 'tools')}",
        }

    def run(self, module: str = "k3d_cluster", *, check: bool = False, diff: bool = False, **options: t.Any) -> Result:
        arguments = {key: value for key, value in {"name": "kyma", **options}.items() if value is not None}
        arguments |= {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_keep_remote_files": False}
        arguments["_ansible_remote_tmp"] = str(self.temporary)
        printed = io.StringIO()
        with self._as_its_process(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            run_module(module, arguments)
        result = Result(json.loads(printed.getvalue().strip().splitlines()[-1]))
        result.printed = printed.getvalue()
        return result

    @contextlib.contextmanager
    def _as_its_process(self) -> t.Iterator[None]:
        for kept in ("_global_warnings", "_global_deprecations"):
            # A module is a process; these would outlive it.
            getattr(ansible.module_utils.common.warnings, kept).clear()
        with mock.patch.dict(os.environ, self.environment, clear=True), mock.patch("tempfile.tempdir", None):
            yield

    @property
    def state(self) -> dict[str, t.Any]:
        path = self.double / "state.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"clusters": {}}

    def set(self, **changes: t.Any) -> None:
        (self.double / "state.json").write_text(json.dumps({**self.state, **changes}), encoding="utf-8")

    def change_nodes(self, **parts: t.Any) -> None:
        clusters = self.state["clusters"]
        for node in clusters["kyma"]["nodes"]:
            node.update(parts)
        self.set(clusters=clusters)

    def forget_mark(self) -> None:
        """Make the cluster one that somebody created by hand."""
        clusters = self.state["clusters"]
        for node in clusters["kyma"]["nodes"]:
            node["env"] = [one for one in node["env"] if not one.startswith("KYMA_MTLS")]
        self.set(clusters=clusters)

    @property
    def token(self) -> str:
        return str(self.state["clusters"]["kyma"]["nodes"][0]["runtimeLabels"]["k3d.cluster.token"])

    def calls(self) -> list[list[str]]:
        """What was called since the last time, without questions."""
        path = self.double / "calls.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        calls = [json.loads(line)[1:] for line in lines]
        return [one for one in calls if one[:1] == ["cluster"] and one[1] != "list"]

    def config(self) -> dict[str, t.Any]:
        """The last configuration that k3d was given."""
        lines = (self.double / "configs.jsonl").read_text(encoding="utf-8").splitlines()
        found: dict[str, t.Any] = json.loads(lines[-1])
        return found

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.temporary.iterdir() if not path.name.startswith("ansible"))


def run_module(name: str, arguments: dict[str, t.Any]) -> None:
    """Run the module in this process: what it does is measured, and the start of a Python is saved."""
    module = importlib.import_module(f"ansible_collections.kyma.mtls.plugins.modules.{name}")
    with contextlib.suppress(SystemExit):
        if patch_module_args is None:
            with mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()):
                module.main()
        else:
            with patch_module_args(arguments):
                module.main()
