# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at a hundred random moments of issuing, of rotating and of revoking.

After every kill, what is on disk is whole and nothing that was recorded or delivered is lost; the next run completes
it. A killed run is a fork of the test, so that a kill costs the work it ends and no start of Python. KYMA_MTLS_KILLS is
the number of moments.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import shutil
import signal
import time
import typing as t
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import key_matches
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    Home,
    certificate_pem,
    key_pem,
    make_ca,
    make_home,
)

KILLS = int(os.environ.get("KYMA_MTLS_KILLS", "100"))
# So often a run is let through, and everything looked at.
COMPLETED = min(10, KILLS)

Json = dict[str, t.Any]


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path, start=now() - DAY)


class Killer:
    """Runs work in a process of its own and kills it at a moment within the time that the work takes."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311  (moments, no secrets)
        self._seconds = 0.0
        self.killed = 0

    def complete(self, work: t.Callable[[], object]) -> None:
        """Let the work end, and learn how long it takes now."""
        began = time.perf_counter()
        work()
        self._seconds = max(time.perf_counter() - began, 0.002)

    def kill(self, work: t.Callable[[], object]) -> None:
        pid = os.fork()
        if pid == 0:  # the child never comes back
            try:
                work()
            finally:
                os._exit(0)
        time.sleep(self._chance.uniform(0, self._seconds))
        os.kill(pid, signal.SIGKILL)
        _pid, status = os.waitpid(pid, 0)
        self.killed += os.WIFSIGNALED(status)


class Watched:
    """A home, and what must hold whatever was killed."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._lines = b""

    @property
    def lines(self) -> list[bytes]:
        """The register's whole lines, as they were at the last look."""
        return self._lines.splitlines()

    def check(self) -> None:
        """Nothing recorded is lost; every certificate is whole, recorded and has a key; every key is private."""
        data = self.home.register.read_bytes()
        assert data.startswith(self._lines)
        self._lines = data[: data.rfind(b"\n") + 1]
        recorded = {json.loads(line).get("serial_number") for line in self.lines}
        for path in self.home.path.glob("clients/*/client.crt"):
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            text = f"{certificate.serial_number:x}"
            assert text.zfill(len(text) + len(text) % 2) in recorded
            serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), None)
        for path in self.home.path.rglob("*.key"):
            assert path.stat().st_mode & 0o777 == 0o600

    def check_settled(self, items: t.Sequence[Json]) -> None:
        """Every key belongs to its certificate, there is nothing left to do, and nothing left lying about."""
        self.check()
        for item in items:
            assert key_belongs(Path(item["directory"]), "client")
        assert not self.home.run(*items, now=now())["changed"]
        assert not [path for path in self.home.path.rglob(".*") if path.name != ".rotated"]


def key_belongs(directory: Path, stem: str = "ca") -> bool:
    certificate = x509.load_pem_x509_certificate((directory / f"{stem}.crt").read_bytes())
    key = serialization.load_pem_private_key((directory / f"{stem}.key").read_bytes(), None)
    return key_matches(certificate, t.cast("t.Any", key))


def load(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def test_issuing_is_completed_by_the_next_run(home: Home) -> None:
    killer, watched = Killer("issuing"), Watched(home)
    authority = (home.ca_key.read_bytes(), home.ca_cert.read_bytes())

    def wanted(turn: int, *, rekey: bool = True) -> list[Json]:
        """Clients that stay, that get another certificate, another key, and that come and go."""
        return [
            home.client("stays"),
            *(home.client(f"renamed-{one}", common_name=f"name {turn}") for one in range(4)),
            *(home.client(f"rekeyed-{one}", rekey=rekey) for one in range(4)),
            *(home.client(f"new-{one}") for one in range(2)),
        ]

    home.run(*wanted(0), now=now())
    stays = {path: path.read_bytes() for path in (home.path / "clients/stays").iterdir()}
    killer.complete(partial(home.run, *wanted(1), now=now()))
    turn = 2
    while killer.killed < KILLS:
        killer.kill(partial(home.run, *wanted(turn), now=now()))
        watched.check()
        if killer.killed % COMPLETED == 0:
            killer.complete(partial(home.run, *wanted(turn), now=now()))
            watched.check_settled(wanted(turn, rekey=False))
            for path in home.path.glob("clients/new-*"):
                shutil.rmtree(path)
        turn += 1
    assert (home.ca_key.read_bytes(), home.ca_cert.read_bytes()) == authority
    assert {path: path.read_bytes() for path in stays} == stays


def test_rotating_is_completed_by_the_next_run(home: Home) -> None:
    killer, watched = Killer("rotating"), Watched(home)
    (home.path / "ca-bundle.crt").write_bytes(certificate_pem(home.certificate))
    items = [home.client(f"client-{number}") for number in range(6)]
    home.run(*items, now=now())
    keys = {path: path.read_bytes() for path in home.path.glob("clients/*/client.key")}
    made = [home.certificate]

    def rotate() -> None:
        """Take all steps, as the roles do: what is under way goes on."""
        for state in ("prepared", "switched", "issued", "finished"):
            if state == "issued":
                home.run(*items, now=now())
            elif state != "prepared" or PkiState(home.path).phase != "none":
                home.reconcile(state, now=now())

    def make_next() -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        made.append(make_ca(key, start=now() - DAY))
        (home.path / "next").mkdir()
        (home.path / "next/ca.key").write_bytes(key_pem(key))
        (home.path / "next/ca.key").chmod(0o600)
        (home.path / "next/ca.crt").write_bytes(certificate_pem(made[-1]))

    make_next()
    killer.complete(rotate)
    while killer.killed < KILLS:
        if PkiState(home.path).phase == "none":
            make_next()
        killer.kill(rotate)
        watched.check()
        # Whatever a client presents now, the gateway trusts its CA.
        trusted = load(home.path / "ca-bundle.crt")
        for path in home.path.glob("clients/*/client.crt"):
            (certificate,) = load(path)
            assert any(is_issued_by(certificate, one) for one in trusted)
        if killer.killed % COMPLETED == 0:
            killer.complete(rotate)
            watched.check_settled(items)
            assert load(home.ca_cert) == load(home.path / "ca-bundle.crt") == [made[-1]]
            assert key_belongs(home.path)
            assert PkiState(home.path).phase == "none"
    # No CA was replaced: each that was ever in use is kept, with its key.
    retired = list((home.path / "retired").iterdir())
    assert all(key_belongs(one) for one in retired)
    kept = {certificate.serial_number for one in retired for certificate in load(one / "ca.crt")}
    assert kept | {one.serial_number for one in load(home.ca_cert)} == {one.serial_number for one in made}
    assert {path: path.read_bytes() for path in keys} == keys


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001  (any reason is a no)
        return False
    return True


def test_revoking_is_completed_by_the_next_run(home: Home) -> None:
    killer, watched = Killer("revoking"), Watched(home)
    items = [home.client(f"client-{number}") for number in range(4)]
    home.run(*items, now=now())
    seen: dict[str, t.Any] = {"number": 0, "serials": set()}

    def revoke(name: str) -> None:
        """As revoke.yml does with reissue: the list first, then a new key and certificate."""
        home.reconcile("revoked", revoke=(name,), now=now())
        home.run(*[{**one, "rekey": one["name"] == name} for one in items], now=now())

    def look() -> None:
        """The list on disk is whole, goes forward only, and holds nobody whom the register does not."""
        watched.check()
        if not (home.path / "ca.crl").exists():
            return
        crl = x509.load_pem_x509_crl((home.path / "ca.crl").read_bytes())
        assert crl.is_signature_valid(t.cast("t.Any", home.certificate.public_key()))
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        serials = {one.serial_number for one in crl}
        assert number >= seen["number"]
        assert serials >= seen["serials"]
        seen.update(number=number, serials=serials)
        entries = [json.loads(line) for line in watched.lines]
        assert serials <= {int(one["serial_number"], 16) for one in entries if one["event"] == "revoked"}

    killer.complete(partial(revoke, "client-0"))
    look()
    while killer.killed < KILLS:
        number = killer.killed // COMPLETED % len(items)
        revoked = home.leaf(f"client-{number}").serial_number
        killer.kill(partial(revoke, f"client-{number}"))
        look()
        if killer.killed % COMPLETED == 0:
            killer.complete(partial(revoke, f"client-{number}"))
            look()
            assert revoked in seen["serials"]
            assert home.leaf(f"client-{number}").serial_number not in seen["serials"]
            assert all(key_belongs(one, "client") for one in (home.path / "revoked").iterdir())
            home.reconcile("revoked", now=now())
            assert not home.reconcile("revoked", now=now())["changed"]
    # Who was revoked and got nothing new is left as it is until that is asked for.
    for number in range(len(items)):
        revoke(f"client-{number}")
    look()
    watched.check_settled(items)
