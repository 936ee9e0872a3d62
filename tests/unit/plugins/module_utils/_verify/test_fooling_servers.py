# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers made to fool the proof: each fails for the check that looks for its fault, and its sound twin passes it.

Nothing here may pass by being skipped: a check has to end as failed on the one and as passed on the other, and a server
that is not installed is a failure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify


@dataclasses.dataclass(frozen=True)
class Site:
    """What a server of this table gets."""

    pki: Pki
    workload: Workload
    directory: Path


Serve: t.TypeAlias = t.Callable[[Site], t.ContextManager[str]]
Given: t.TypeAlias = t.Callable[["Pki"], dict[str, t.Any]]


def server(kind: str, setting: t.Callable[[Pki], real.Setting]) -> Serve:
    """Return a real server of ``kind``; what it serves is at the address that it yields."""

    @contextlib.contextmanager
    def serve(site: Site) -> Iterator[str]:
        started = real.start(kind, site.pki, site.directory, site.workload.port, setting(site.pki))
        try:
            yield started.address
        finally:
            started.stop()

    return serve


def nothing(_pki: Pki) -> dict[str, t.Any]:
    return {}


@dataclasses.dataclass(frozen=True)
class Row:
    """A fault, the check that must fail on ``faulty`` in a case with ``case`` in its name, and pass on ``sound``."""

    fault: str
    check: str
    faulty: Serve
    sound: Serve
    given: Given = nothing
    case: str = ""
    sound_given: Given | None = None


def _answers(status: int) -> list[Row]:
    """Nobody is verified, and everybody gets the expected status: nginx with and without verification."""
    return [
        Row(
            f"everybody gets the expected HTTP {status}",
            check,
            faulty=server("nginx", lambda _pki: real.Setting(client_auth="no_ca", status=status)),
            sound=server("nginx", lambda _pki: real.Setting(status=status)),
            given=lambda _pki: {"expect_status": [status]},
        )
        for check in ("MV-20", "MV-24", "MV-25", "MV-26")
    ]


def _lax(fault: str, check: str, case: str, **chain: t.Any) -> Row:
    """Envoy with a second filter chain, for some connections only, that is laxer than the first."""
    return Row(
        fault,
        check,
        faulty=server("envoy", lambda _pki: real.Setting(more=(chain,))),
        sound=server("envoy", lambda _pki: real.Setting(more=({**chain, "ask": True, "trust_chain": _VERIFY},))),
        case=case,
    )


_VERIFY, _ANYBODY = "VERIFY_TRUST_CHAIN", "ACCEPT_UNTRUSTED"
_WAYS = [
    _lax("h2 needs no certificate", "MV-24", "ALPN h2", ask=False, protocols=("h2",)),
    _lax("h2 takes any certificate", "MV-25", "ALPN h2", trust_chain=_ANYBODY, protocols=("h2",)),
    _lax("HTTP/1.1 takes any certificate", "MV-25", "TLSv1.3", trust_chain=_ANYBODY, protocols=("http/1.1",)),
    _lax("no SNI takes any certificate", "MV-26", "no SNI", trust_chain=_ANYBODY, any_name=True),
    _lax("no SNI needs no certificate", "MV-24", "no SNI", ask=False, any_name=True),
    _lax(
        "another SNI takes any certificate",
        "MV-25",
        "SNI elsewhere.mtls.test",
        trust_chain=_ANYBODY,
        names=("elsewhere.mtls.test",),
    ),
    _lax(
        "h2 without SNI takes expired certificates",
        "MV-27",
        "ALPN h2, no SNI",
        trust_chain=_ANYBODY,
        protocols=("h2",),
        any_name=True,
    ),
]


def _compares(attribute: str, condition: t.Callable[[x509.Certificate, x509.Certificate], str]) -> Row:
    """HAProxy that verifies no signature, and looks at one attribute of the client's certificate instead."""

    def setting(pki: Pki) -> real.Setting:
        return real.Setting(client_auth="no_ca", condition=condition(pki.client.certificate, pki.client_ca.certificate))

    sound = server("haproxy", lambda _pki: real.Setting())
    return Row(
        f"only the {attribute} is compared", "MV-26", server("haproxy", setting), sound, _with_its_ca, case=attribute
    )


def _presents(certificate: x509.Certificate) -> str:
    """Return HAProxy's condition that this certificate is the client's, or beside it."""
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    return " or ".join(
        f"{{ {what},sha2(256),hex -m str -i {fingerprint} }}" for what in ("ssl_c_der", "ssl_c_chain_der")
    )


def _common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _with_its_ca(pki: Pki) -> dict[str, t.Any]:
    """The good client presents its CA, too: some servers look at that."""
    chain = pki.directory / "client-with-ca.crt"
    chain.write_text(Path(pki.client.crt).read_text() + Path(pki.client_ca.crt).read_text())
    return {"client_cert": str(chain)}


def _with_uri_san(pki: Pki) -> dict[str, t.Any]:
    client = pki.client_certificate("alice", sans=[x509.UniformResourceIdentifier("spiffe://test/alice")])
    return {"client_cert": client.crt, "client_key": client.key_file}


_IMPOSTORS = [
    _compares("serial number", lambda client, _ca: f"{{ ssl_c_serial,hex -m str -i {_hex(client.serial_number)} }}"),
    _compares("issuer name", lambda _client, ca: f'{{ ssl_c_i_dn(cn) -m str "{_common_name(ca.subject)}" }}'),
    _compares("common name", lambda client, _ca: f'{{ ssl_c_s_dn(cn) -m str "{_common_name(client.subject)}" }}'),
    _compares("subject", lambda client, _ca: f'{{ ssl_c_s_dn -m str "{_slashed(client.subject)}" }}'),
    _compares(
        "issuer certificate",
        lambda _client, ca: f"{{ ssl_c_chain_der,sha2(256),hex -m str -i {ca.fingerprint(hashes.SHA256()).hex()} }}",
    ),
    Row(
        "the good client is looked for in all that is presented",
        "MV-26",
        server("haproxy", lambda pki: real.Setting(client_auth="no_ca", condition=_presents(pki.client.certificate))),
        server("haproxy", lambda _pki: real.Setting()),
        case="same chain",
    ),
    Row(
        "only the SAN is compared",
        "MV-26",
        server("envoy", lambda _pki: real.Setting(client_auth="no_ca", uri_san="spiffe://test/alice")),
        server("envoy", lambda _pki: real.Setting(uri_san="spiffe://test/alice")),
        given=_with_uri_san,
        case="SAN",
    ),
]


def _weak_client(pki: Pki) -> dict[str, t.Any]:
    client = pki.client_certificate("weak", kind="rsa1024")
    return {"client_cert": client.crt, "client_key": client.key_file}


def _listed(pki: Pki, **changes: t.Any) -> dict[str, t.Any]:
    """A client of the client CA that is on no list."""
    mallory = pki.client_certificate("mallory", **changes)
    listed = {"name": "mallory", "cert": mallory.crt, "key": mallory.key_file, "key_passphrase": None}
    return {"clients": [{**listed, "expect": "refused"}]}


_ALLOW_LIST = server(
    "haproxy",
    lambda pki: real.Setting(condition=f'{{ ssl_c_s_dn(cn) -m str "{_common_name(pki.client.certificate.subject)}" }}'),
)
_LISTED = [
    Row("there is no allow-list", "MV-33", server("haproxy", lambda _pki: real.Setting()), _ALLOW_LIST, _listed),
    Row(
        "there is no allow-list, and the client that is not on it has expired",
        "MV-33",
        server("haproxy", lambda _pki: real.Setting()),
        _ALLOW_LIST,
        given=lambda pki: _listed(pki, days=(-9, -2)),
        sound_given=_listed,
    ),
]


def _revoked_dir(pki: Pki) -> dict[str, t.Any]:
    """As the role client_pki keeps them; without the CA's key nothing else can be tried."""
    folder = pki.directory / "kept" / "gone"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(pki.revoked.crt, folder / "client-chain.pem")
    shutil.copy(pki.revoked.key_file, folder / "client.key")
    return {"crl": pki.crl, "revoked_dir": str(folder.parent), "client_ca_key": None}


_UNTRIED = [
    Row(
        "the good client cannot be tried, and everybody gets in",
        "MV-23",
        faulty=server("nginx", lambda _pki: real.Setting(client_auth="off")),
        sound=server("nginx", lambda _pki: real.Setting()),
        given=_weak_client,
        sound_given=nothing,
        case="before all others",
    ),
    Row(
        "the server has no revocation list, and no revoked client is there to be tried",
        "MV-29",
        faulty=server("envoy", lambda _pki: real.Setting()),
        sound=server("envoy", lambda pki: real.Setting(crl=pki.crl)),
        given=lambda pki: {"crl": pki.crl},
        case="twin with a revoked serial number",
    ),
    Row(
        "the server has no revocation list, and the revoked client lies where it was put",
        "MV-29",
        faulty=server("envoy", lambda _pki: real.Setting()),
        sound=server("envoy", lambda pki: real.Setting(crl=pki.crl)),
        given=_revoked_dir,
        case="revoked client gone",
    ),
]


def _hex(serial_number: int) -> str:
    text = f"{serial_number:x}"
    return text.zfill(len(text) + len(text) % 2)


def _slashed(name: x509.Name) -> str:
    short = {NameOID.COMMON_NAME: "CN", NameOID.ORGANIZATION_NAME: "O"}
    return "".join(f"/{short[one.oid]}={one.value}" for one in name)


TABLE: list[Row] = [*_UNTRIED, *_answers(401), *_answers(403), *_WAYS, *_IMPOSTORS, *_LISTED]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.check} {row.fault}")
def test_the_fault_is_found_and_a_sound_server_passes(
    row: Row, pki: Pki, workload: Workload, verify_address: Verify, tmp_path: Path
) -> None:
    # Whole runs against such servers are elsewhere: one check each is what this table is about.
    alone = {"checks": [row.check]}
    with row.faulty(Site(pki, workload, tmp_path / "faulty")) as address:
        report = verify_address(address, **(alone | row.given(pki)))
    assert report.verdict == "failed", cases_text(report, "failed", "outage", "warning")
    assert outcomes(report)[row.check] == "failed", cases_text(report, "failed", "outage", "warning", "skipped")
    cases = next(check["cases"] for check in report.checks if check["id"] == row.check)
    assert any(row.case in case["name"] for case in cases if case["outcome"] == "failed"), cases
    with row.sound(Site(pki, workload, tmp_path / "sound")) as address:
        report = verify_address(address, **(alone | (row.sound_given or row.given)(pki)))
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert outcomes(report)[row.check] == "passed", cases_text(report, "failed", "outage", "warning", "skipped")
