# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A place where the collection is used as by somebody who installed it: nothing of the checkout, nothing of the user.

A place has an environment with the pins of the site alone, the collection installed from its artifact, and a home.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from checks.files import copy_project

ROOT = Path(__file__).resolve().parents[2]
# None of them is the default, so that a running site is left alone.


class Outcome:
    """What a run ended with: exit code, output, and the recap's counts by host."""

    def __init__(self, code: int, output: str) -> None:
        self.code = code
        self.output = output
        self.words = re.sub(r"\s+", " ", output)
        recap = re.findall(r"^(\S+)\s+: (ok=.*)$", output, re.MULTILINE)
        self.hosts = {
            host: {key: int(value) for key, value in (pair.split("=") for pair in counts.split())}
            for host, counts in recap
        }

    @property
    def changed(self) -> dict[str, int]:
        return {host: counts["changed"] for host, counts in self.hosts.items()}

    @property
    def tasks(self) -> list[str]:
        """The tasks that ran, in order."""
        return re.findall(r"^(?:TASK|RUNNING HANDLER) \[(.*?)\] \**$", self.output, re.MULTILINE)

    def roles(self) -> set[str]:
        """The roles of which a task ran."""
        return {task.split(" : ")[0].removeprefix("kyma.mtls.") for task in self.tasks if " : " in task}


@dataclass
class Place:
    """Where the collection is installed; ``root`` is removed afterwards."""

    root: Path

    @property
    def controller(self) -> Path:
        """Everything of the controller: no target may need anything in it."""
        return self.root / "controller"

    @property
    def collections(self) -> Path:
        return self.controller / "collections"

    @property
    def python(self) -> Path:
        return self.controller / "venv/bin/python"

    @property
    def work(self) -> Path:
        """Current directory of the runs: inventories, playbooks and secrets of the user."""
        return self.controller / "work"

    def install(self) -> None:
        """Make environment and collection.

        Raises subprocess.CalledProcessError when something cannot be made.
        """
        for directory in (self.work, self.controller / "home"):
            directory.mkdir(parents=True)
        make_environment(self.controller / "venv", "-r", str(ROOT / "requirements.txt"), "--require-hashes")
        source = self.root / "source"
        copy_project(source)
        galaxy = ("ansible-galaxy", "collection")
        self._check(*galaxy, "build", "--output-path", str(self.root), cwd=source)
        archive = next(self.root.glob("kyma-mtls-*.tar.gz"))
        self._check(*galaxy, "install", str(archive), "--offline", "--no-deps", "-p", str(self.collections))
        shutil.rmtree(source)

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of the user's environment but the way to programs, the locale and the package index."""
        kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_", "SSL_", "LC_"))}
        return {
            **kept,
            "HOME": str(self.controller / "home"),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([str(self.python.parent), os.defpath, "/usr/sbin"]),
            "UV_CACHE_DIR": uv_cache(),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_NOCOLOR": "1",
            **more,
        }

    def _check(self, *command: str, cwd: Path | None = None) -> str:
        program = self.python.with_name(command[0])
        done = subprocess.run(
            [str(program), *command[1:]],
            cwd=cwd or self.work,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def vaulted(self, password_file: Path, **values: str) -> str:
        """The ``values`` encrypted, as YAML."""
        names = [word for name in values for word in ("--name", name)]
        encrypt = ("ansible-vault", "encrypt_string", "--vault-password-file", str(password_file))
        return self._check(*encrypt, *names, *values.values())

    def write(self, name: str, content: t.Any) -> Path:
        """A file of the user: text, or a document that is written as JSON, which is YAML too."""
        path = self.work / name
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), encoding="utf-8")
        return path

    def play(
        self, playbook: str, *arguments: str | Path, variables: t.Mapping[str, t.Any] | None = None, **more: str
    ) -> Outcome:
        """Run playbooks, one name or several: of the collection by its full name, or a file of the user.

        Where the system allows it, the checkout does not exist for what runs.
        """
        extra = ("-e", json.dumps(variables)) if variables else ()
        command = [str(self.python.with_name("ansible-playbook")), *playbook.split(), *map(str, arguments), *extra]
        done = subprocess.run(
            [*without(ROOT), *command],
            cwd=self.work,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout + done.stderr)


def without(*hidden: Path) -> list[str]:
    """What to put before a command so that it, and all that it starts, does not see these directories.

    It takes a mount namespace, which not every user may have: then it is nothing.
    """
    if not can_hide():
        return []
    mounts = " && ".join(f"mount -t tmpfs none {shlex.quote(str(path))}" for path in hidden)
    return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]


@functools.cache
def can_hide() -> bool:
    """Whether this user may mount something that nobody else sees."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def make_environment(path: Path, *requirements: str, python: str = sys.executable) -> Path:
    """A virtual environment with just ``requirements`` (arguments of pip install); returns its Python."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([str(uv), "venv", "--quiet", "--python", python, str(path)], check=True)
    if requirements:
        install = [str(uv), "pip", "install", "--quiet", "--python", str(path / "bin/python"), *requirements]
        subprocess.run(install, check=True, cwd=ROOT)
    return path / "bin/python"


def uv_cache() -> str:
    """The installer's cache of the user who runs the tests: it saves the downloads."""
    uv = Path(sys.executable).with_name("uv")
    return subprocess.run([str(uv), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


def new_root() -> tempfile.TemporaryDirectory[str]:
    """A directory whose path leaves room for Unix sockets."""
    return tempfile.TemporaryDirectory(prefix="kyma-mtls-", dir="/tmp", ignore_cleanup_errors=True)
