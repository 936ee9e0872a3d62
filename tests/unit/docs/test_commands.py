# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands of the documentation: the quick start runs word by word in a copy of the project, the others are held
against what they name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.docs import pages
from ansible_collections.kyma.mtls.tests.unit.docs.test_variables import known

#: Commands that are not run here, and why.
ELSEWHERE = {
    r"git clone https://github\.com/": "needs the internet; the test makes a copy",
    r"curl -sSfL https://github\.com/": "needs the internet",
    r"python3\.\d+ -m pip download ": "downloads every package again",
    r"(export|for|done|cd|\.)(\s|$)": "parts of the shell",
    r"kubectl --kubeconfig ": "needs a real cluster",
    r"curl --cacert \.kyma-mtls/.*:443 ": "needs a real cluster; the local one runs",
    r"ansible-galaxy collection (build|install)": "the step artifact builds and installs the collection",
    r"(umask|flock|tar|mkdir|test) ": "tests/unit/docs/test_backup.py runs the page",
    r"(flask |\.kyma-mtls/pki/client/clients/)": "tests/unit/docs/test_own_service.py runs the page",
    r"grep ": "needs a directory of manifests",
    r"(db=|test -e |mkdir |pk12util |certutil -d )": "NSS databases, as the tests of _handover and _trust do it",
    r"(certutil -user|security) ": "needs Windows or macOS",
}
QUICK_START = "docs/quick-start.md"


def commands() -> list[tuple[str, str]]:
    """Page and command line of every console block; comments are dropped, continued lines are joined."""
    found = []
    for block in pages.blocks("console"):
        text = re.sub(r"\\\n\s*", " ", block.text)
        for line in text.splitlines():
            command = re.sub(r"^\$ |\s+# .*$", "", line.strip())
            found += [(block.page, part) for part in command.split(" && ") if part]
    return found


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*##", pages.read("Makefile"), re.MULTILINE))


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_names_what_exists(page: str, command: str) -> None:
    assert page
    for variable in re.findall(r"-e ['\"]?(\w+)=", command):
        assert variable in known() | {"rotate", "client", "reissue"}, variable
    words = command.split()
    if words[0] == "make":
        assert words[1] in targets()
        settings = set(re.findall(r"^([A-Z_]+) \?=", pages.read("Makefile"), re.MULTILINE))
        assert set(re.findall(r"\b([A-Z_]+)=", command)) <= settings
    elif words[0] == "ansible-playbook":
        assert (pages.ROOT / "playbooks" / f"{words[1].removeprefix('kyma.mtls.')}.yml").is_file()
    elif not any(re.match(pattern, command) for pattern in ELSEWHERE):
        assert page == QUICK_START, "say in ELSEWHERE why this is not run"
        assert command.startswith("curl --cacert server/ca.crt")


@pytest.mark.parametrize("page", pages.pages())
def test_files_that_a_page_names_exist(page: str) -> None:
    """Links, and files of the project in code."""
    text = pages.read(page)
    directory = (pages.ROOT / page).parent
    for link in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", text):
        assert (directory / link).exists(), link
    for path in re.findall(r"`((?:tests|tools|docs|plugins|molecule|roles|playbooks)/[\w./-]+)`", text):
        assert (pages.ROOT / path).exists(), path


class Clone:
    """A copy of the project as a user gets it, with a home and ports of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "kyma.mtls"
        self.home = directory / "home"
        self.home.mkdir()
        listed = subprocess.run(
            [str(shutil.which("git")), "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=pages.ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            source = pages.ROOT / name
            if source.is_file():
                (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, self.directory / name)
        self.ports = {known: free_port() for known in ("8443", "9443", "9444")}

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run what a user would paste. Only ports differ, by which sites of this machine are left alone."""
        for known_port, port in self.ports.items():
            command = re.sub(rf"\b{known_port}\b", str(port), command)
        environment = {
            # Caches of pip and uv are shared with the user's.
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
            **os.environ,
            "HOME": str(self.home),
            "PYTHON": sys.executable,
            # The default port of `make site`, where a command names no port.
            "EXTRA": f"-e gateway_port={self.ports['8443']}",
        }
        return subprocess.run(
            [str(shutil.which("bash")), "-c", command],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )

    def ok(self, command: str) -> str:
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def borrow_environment(self) -> None:
        """Use the environment that runs the tests, which has all that a site needs; the quick start makes its own."""
        environment = self.directory / ".venv"
        environment.mkdir()
        for name in ("bin", "lib", "pyvenv.cfg"):
            (environment / name).symlink_to(Path(sys.prefix) / name)
        (environment / ".python").write_text(self.ok("tools/python"))
        (environment / ".ready-site").write_text(self.ok('printf "%s\\n" "$(cksum <requirements.txt) $(pwd -P)"'))

    def end(self) -> None:
        for home in ("", f"MTLS_HOME={self.home}/gateways/blue"):
            self.run(f"make down PURGE=1 {home}")


@pytest.fixture
def clone(tmp_path: Path) -> t.Iterator[Clone]:
    made = Clone(tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_the_quick_start_works_word_by_word(clone: Clone) -> None:
    blocks = [block.text for block in pages.blocks("console") if block.page == QUICK_START]
    parts = ("git clone", "curl --cacert server/ca.crt", "--check --diff", "make status", "make down")
    clone_and_make, curl, settings, status, down = (next(one for one in blocks if part in one) for part in parts)
    told = clone.ok(clone_and_make.partition("cd kyma.mtls\n")[2])
    assert "MV-24" in told
    assert "ML Client Curl" in clone.ok(curl)
    refused = clone.run(re.sub(r"--cert \S+ --key \S+", "", curl))
    assert refused.returncode in {16, 35, 55, 56}, refused
    predict = next(line for line in settings.splitlines() if "--check" in line)
    told = clone.ok(predict.replace("--check", f"-e gateway_port={clone.ports['8443']} --check"))
    assert "changed=0" in told
    pasted = re.search(r"^\s*(curl --fail .*)$", clone.ok("make verify"), re.MULTILINE)
    assert pasted
    assert "ML Client Curl" in clone.ok(pasted[1])
    assert str(clone.ports["8443"]) in clone.ok(status)
    stop, purge = down.strip().splitlines()
    clone.ok(stop)
    assert (clone.directory / ".kyma-mtls/pki/client/ca.key").is_file()
    clone.ok(purge)
    assert not (clone.directory / ".kyma-mtls").exists()
