# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at any moment of a run over a whole side: the next run completes it, and nothing that was there is lost.

A handful of kills by default; KYMA_MTLS_KILLS=100 makes it a hundred.
"""

from __future__ import annotations

import datetime
import os
import random
import signal
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import SWITCHING, PkiState
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import Side, client, server

KILLS = int(os.environ.get("KYMA_MTLS_KILLS", "4"))
MIDDLE = {"subject": [{"CN": "Test Intermediate"}], "days": 1825}


def start(side: Side, certificates: list[dict[str, t.Any]], *states: str) -> int:
    """Run in a process of its own, so that the kill is real; return its id. It starts to work at once."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            for state in states:
                side.run(*certificates, now=datetime.datetime.now(datetime.UTC), state=state)
            code = 0
        finally:
            os._exit(code)
    return process


def ended(process: int) -> int:
    """Wait for a process; return how it ended, as subprocess does."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def check(side: Side) -> None:
    """No certificate is without its key, and the two belong together, but for what is being exchanged or removed."""
    is_switching = PkiState(side.path).phase == SWITCHING
    for path in side.path.rglob("*.crt"):
        if (is_switching and path.parent == side.path) or path.parent.name == ".rotated":  # what is being removed
            continue
        if path.with_suffix(".key").exists():
            certificate = load.load_certificates(path.read_bytes(), source=str(path)).certificates[0]
            assert load.key_matches(certificate, side.key(str(path.with_suffix(".key").relative_to(side.path)))), path
        else:
            assert path.name in {"ca-bundle.crt", "cross.crt"}, path


@pytest.mark.parametrize("usage", ["server", "client"])
@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_run_is_completed_by_the_next(tmp_path: Path, usage: str, kill: int) -> None:
    chance = random.Random(f"{kill} {KILLS} {usage}")  # noqa: S311  (moments, no secrets)
    side = {"server": server, "client": client}[usage](tmp_path, intermediate=MIDDLE)
    people = [side.certificate()] if usage == "server" else [{"name": f"client-{number}"} for number in range(10)]
    for states in (["present"], ["prepared", "switched", "finished"]):
        kept: dict[str, bytes] = {}
        for _attempt in range(3):
            process = start(side, people, *states)
            time.sleep(chance.uniform(0, 0.1))
            os.kill(process, signal.SIGKILL)
            ended(process)
            if side.path.exists():
                check(side)
                now_there = {name: data for name, data in side.tree().items() if not Path(name).name.startswith(".")}
                for name, data in kept.items():  # CAs and keys stay, and the register only grows
                    if name.endswith("issued.jsonl") or (states == ["present"] and name.endswith((".key", "ca.crt"))):
                        assert now_there[name].startswith(data), name
                register = now_there.get("issued.jsonl", b"")
                kept = now_there | ({"issued.jsonl": register[: register.rfind(b"\n") + 1]} if register else {})
        assert ended(start(side, people, *states)) == 0
    now = datetime.datetime.now(datetime.UTC)
    for _run in range(2):
        side.run(*people, now=now)
    settled = side.run(*people, now=now)
    assert (settled["changed"], settled["phase"]) == (False, "none")
    check(side)
    assert not [name for name in side.tree() if Path(name).name.startswith(".")]
    authorities = {data for name, data in side.tree().items() if name.endswith(("ca.crt", "ca.key"))}
    assert len(authorities) >= 4  # the CA in use and at least one that was retired, each with its key


@pytest.mark.parametrize("moves", [0, 1, 4])
def test_a_file_that_cannot_take_its_place_leaves_no_key_of_any_certificate_behind(
    moves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, names = client(tmp_path), [{"name": f"c{number}"} for number in range(9)]  # enough to be written together
    side.run(*names)
    replace, left = os.replace, moves

    def refused(source: str, target: str) -> None:
        nonlocal left
        if target.endswith((".crt", ".key", ".pem")) and "/clients/" in target:
            if left == 0:
                raise OSError(28, "No space left on device")
            left -= 1
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refused)
        with pytest.raises(MtlsError, match="cannot be written: No space left"):
            side.run(*names, rekey=[name["name"] for name in names])
    assert not [path for path in side.path.rglob(".*") if path.is_file()]
    side.run(*names)
    assert not side.run(*names)["changed"]
