# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole run, against a gateway that is a script: what the control, the versions and the ways decide."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._verify import verify
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_hello import HelloAnswer
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import USER_AGENT
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    HandshakeFacts,
    Kind,
    Observation,
    Response,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_issued_by
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import outcomes, parameters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_names import IDENTITY, ended
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_workloads import Scripted, subject

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_workloads import Request

    React = t.Callable[["Gateway", Request], "Observation | None"]

CHECKS = ["MV-13", "MV-20", "MV-23", "MV-24", "MV-25", "MV-27", "MV-40"]
NO_VERSION = ended(Kind.ALERT, alert=70)


def nothing(_gateway: Gateway, _request: Request) -> None:
    """No fault."""


class Gateway:
    """Serves valid clients of the client CA, in every way; ``fault`` answers before it."""

    def __init__(self, pki: Pki, fault: React = nothing) -> None:
        self.pki, self.fault = pki, fault
        self.requests: list[Request] = []
        self.chain = [pki.server.certificate, pki.server_ca.certificate]

    def __call__(self, request: Request) -> Observation:
        self.requests.append(request)
        found = self.fault(self, request) or self.sound(request)
        if found is NO_VERSION:
            return found
        seen = HandshakeFacts(certificate_request=True, client_cas=(), chain=tuple(map(der, self.chain)))
        return dataclasses.replace(found, seen=seen, leaf=seen.chain[0])

    def sound(self, request: Request) -> Observation:
        if request.identity is None:
            return ended(Kind.ALERT, alert=116)
        certificate = request.identity.certificate
        if not is_issued_by(certificate, self.pki.client_ca.certificate):
            return ended(Kind.ALERT, alert=48)
        now = datetime.datetime.now(tz=datetime.UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return ended(Kind.ALERT, alert=45)
        return self.content(subject(request))

    def content(self, who: str) -> Observation:
        body = json.dumps({"headers": {"X-Id": who, "User-Agent": USER_AGENT}}).encode()
        return Observation(Kind.ANSWERED, "response", "", response=Response(200, "", (), body))

    def is_over(self, request: Request) -> bool:
        """Whether all others have been tried: the good client comes once more, not pinned to a version."""
        return is_good(request) and request.version is None and any(one.identity is None for one in self.requests)


def der(certificate: t.Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415  (a name in tests only)

    return certificate.public_bytes(Encoding.DER)


def is_good(request: Request) -> bool:
    return request.identity is not None and request.identity.name == "good client"


class Run:
    """One verification of a gateway, with what it leaves behind."""

    def __init__(self, gateway: Gateway, **options: t.Any) -> None:
        given = {"checks": CHECKS, "identity_headers": IDENTITY, "timeout": 1.0, "concurrency": 1, **options}
        read = read_options(parameters(gateway.pki, "127.0.0.1:1", **given))
        kind = type(
            "OfGateway",
            (Scripted,),
            {
                "gate": staticmethod(gateway),
                "ask": lambda *_args: HelloAnswer("alert", alert=70),
                "knock": lambda *_args: ended(Kind.RESET),
            },
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verify, "Inspection", kind)
            patch.setattr(verify.variants, "try_variants", lambda _inspection: {})
            self.run = verify._VerifyRun(read)
            self.report: Report = self.run.report(self.run.run(), 0.0)

    def cases(self, check: str) -> dict[str, str]:
        return {
            case["name"]: case["outcome"]
            for found in self.report.checks
            if found["id"] == check
            for case in found["cases"]
        }

    @property
    def inspection(self) -> Inspection:
        return self.run.inspection

    def said(self) -> str:
        return "\n".join(case["observed"] for found in self.report.checks for case in found["cases"])


def test_a_sound_gateway_passes(pki: Pki) -> None:
    run = Run(Gateway(pki))
    assert (run.report.verdict, run.report.reasons) == ("passed", [])
    assert set(outcomes(run.report).values()) == {"passed"}
    assert run.cases("MV-23") == dict.fromkeys(
        ("before all others", "TLSv1.2", "TLSv1.3", "after all others"), "passed"
    )
    assert run.cases("MV-13")["order"] == "passed"
    versions = {name.split(", ")[1] for name in run.cases("MV-40") if ", " in name}
    assert versions == {"TLSv1.2", "TLSv1.3"}
    assert any("no SNI" in name for name in run.cases("MV-40"))
    assert run.inspection.reference == Gateway(pki).content("O=Test Org,CN=Test Client").response.body  # type: ignore[union-attr]
    assert any(name.endswith("after all others") for name in run.cases("MV-24"))


def test_a_control_without_an_answer_leaves_nothing_to_try(pki: Pki) -> None:
    run = Run(Gateway(pki, lambda *_args: ended(Kind.RESET)))
    assert run.report.verdict == "outage"
    assert run.cases("MV-23") == {"before all others": "outage"}
    assert run.cases("MV-24") == {}


def test_a_control_that_is_refused_brackets_nothing(pki: Pki) -> None:
    def refuse(_gateway: Gateway, request: Request) -> Observation | None:
        return (
            Observation(Kind.ANSWERED, "", "", response=Response(404, "", (), b"x" * 99)) if is_good(request) else None
        )

    run = Run(Gateway(pki, refuse))
    assert run.report.verdict == "failed"
    assert run.cases("MV-24") == {"refusals": "skipped"}
    assert "after all others" not in run.cases("MV-23")
    assert run.inspection.reference == b""
    assert verify.NOT_BRACKETED in run.said()


def test_a_chain_in_disorder_is_found(pki: Pki) -> None:
    gateway = Gateway(pki)
    gateway.chain.append(pki.server.certificate)
    assert Run(gateway).cases("MV-13")["order"] == "failed"


def test_one_version_that_refuses_the_good_client_decides(pki: Pki) -> None:
    """Whatever is selected: refusals in that version have no control."""

    def refuse(_gateway: Gateway, request: Request) -> Observation | None:
        return ended(Kind.ALERT, alert=46) if request.version == "TLSv1.2" else None

    run = Run(Gateway(pki, refuse))
    assert run.cases("MV-23")["TLSv1.2"] == "failed"
    assert not any("TLSv1.2" in name for name in run.cases("MV-40"))
    few = Run(Gateway(pki, refuse), checks=["MV-24"])
    assert few.report.verdict == "failed"
    assert "the good client does not get in" in few.report.reasons[0]


def test_a_version_that_is_not_spoken_is_skipped(pki: Pki) -> None:
    run = Run(Gateway(pki, lambda _gateway, request: NO_VERSION if request.version == "TLSv1.2" else None))
    assert run.report.verdict == "passed"
    assert (run.cases("MV-23")["TLSv1.2"], run.cases("MV-23")["TLSv1.3"]) == ("skipped", "passed")
    alone = Run(Gateway(pki, lambda _gateway, request: NO_VERSION if request.version else None))
    assert alone.cases("MV-23")["versions"] == "failed"
    assert alone.report.verdict == "failed"


def test_who_gets_in_only_where_the_good_client_does_not_is_found(pki: Pki) -> None:
    def confuse(gateway: Gateway, request: Request) -> Observation | None:
        if request.server_name is not None or not (is_good(request) or request.identity is None):
            return None
        return ended(Kind.ALERT, alert=46) if request.identity else gateway.content("")

    found = Run(Gateway(pki, confuse)).cases("MV-24")
    assert {name for name, outcome in found.items() if outcome == "failed"} == {
        f"no certificate, {version}{offer}, no SNI"
        for version in ("TLSv1.2", "TLSv1.3")
        for offer in ("", ", ALPN h2", ", no ALPN")
    }


def test_an_identity_that_is_lost_in_another_way_is_found(pki: Pki) -> None:
    def lose(gateway: Gateway, request: Request) -> Observation | None:
        return gateway.content("CN=somebody") if request.identity and request.server_name is None else None

    run = Run(Gateway(pki, lose))
    assert {outcome for name, outcome in run.cases("MV-40").items() if "no SNI" in name} == {"failed"}

    def hide(_gateway: Gateway, request: Request) -> Observation | None:
        empty = Observation(Kind.ANSWERED, "", "", response=Response(200, "", (), b"{}"))
        return empty if is_good(request) and request.server_name is None else None

    assert not any("no SNI" in name for name in Run(Gateway(pki, hide)).cases("MV-40"))


def test_another_certificate_without_sni_is_not_trusted(pki: Pki) -> None:
    def other(_gateway: Gateway, request: Request) -> Observation | None:
        is_untrusted = request.is_verified and request.server_name is None
        return Observation(Kind.UNTRUSTED, "handshake", "for another name") if is_untrusted else None

    run = Run(Gateway(pki, other))
    assert {name: outcome for name, outcome in run.cases("MV-13").items() if outcome != "passed"} == {
        f"trusted, {version}{offer}, no SNI": "failed"
        for version in ("TLSv1.2", "TLSv1.3")
        for offer in ("", ", ALPN h2", ", no ALPN")
    }
    assert run.report.verdict == "failed"


def test_throw_away_clients_that_are_not_accepted_prove_nothing(pki: Pki) -> None:
    def refuse(_gateway: Gateway, request: Request) -> Observation | None:
        return ended(Kind.ALERT, alert=46) if request.identity and not is_good(request) else None

    run = Run(Gateway(pki, refuse))
    assert set(run.cases("MV-27").values()) == {"skipped"}
    assert "throw-away clients are not accepted: a valid one of the client CA gets refused with alert 46" in run.said()
    assert run.report.verdict == "passed"


def test_refusals_count_only_while_the_good_client_gets_in(pki: Pki) -> None:
    for last in (ended(Kind.ALERT, alert=46), ended(Kind.RESET)):

        def stop(gateway: Gateway, request: Request, last: Observation = last) -> Observation | None:
            return last if gateway.is_over(request) else None

        run = Run(Gateway(pki, stop))
        assert run.report.verdict == "outage"
        assert run.cases("MV-23")["after all others"] == "outage"
        assert set(run.cases("MV-24").values()) == set(run.cases("MV-27").values()) == {"outage"}
        assert set(run.cases("MV-13").values()) == {"passed"}

    # What failed before stays a failure.
    def open_and_stop(gateway: Gateway, request: Request) -> Observation | None:
        if gateway.is_over(request):
            return ended(Kind.RESET)
        return gateway.content("") if request.identity is None and request.version == "TLSv1.2" else None

    found = Run(Gateway(pki, open_and_stop)).cases("MV-24")
    assert {outcome for name, outcome in found.items() if "TLSv1.2" in name} == {"failed"}


def test_a_server_that_hangs_has_stopped_answering(pki: Pki) -> None:
    def hang(_gateway: Gateway, request: Request) -> Observation | None:
        return ended(Kind.TIMEOUT) if request.identity is None else None

    gateway = Gateway(pki, hang)
    run = Run(gateway)
    assert (run.report.verdict, run.cases("MV-23")["after all others"]) == ("outage", "outage")
    assert "not tried: the server had stopped answering" in run.said()
    assert not gateway.is_over(gateway.requests[-1])

    def close(_gateway: Gateway, request: Request) -> Observation | None:
        return ended(Kind.RESET) if request.identity is None else None

    run = Run(Gateway(pki, close))
    assert (run.report.verdict, run.cases("MV-23")["after all others"]) == ("outage", "passed")


def test_the_names_of_other_workloads_are_tried_too(pki: Pki) -> None:
    """Under the name of a site that needs no certificate, the protected one is there for everybody."""

    def confuse(gateway: Gateway, request: Request) -> Observation | None:
        return gateway.content("") if request.identity is None and request.server_name == "public.example" else None

    sites = [{"name": "public", "hosts": ["public.example"]}]
    found = Run(Gateway(pki, confuse), workloads=sites).cases("MV-24")
    assert {
        name for name, outcome in found.items() if outcome == "failed" and name.startswith("no certificate, TLS")
    } == {f"no certificate, {version}, SNI public.example" for version in ("TLSv1.2", "TLSv1.3")}
    assert Run(Gateway(pki, confuse)).report.verdict == "passed"


def test_sessions_of_other_sites_are_looked_for(pki: Pki) -> None:
    gateway = Gateway(pki)
    sans = [x509.DNSName("*.b.example"), x509.DNSName("b.example")]
    gateway.chain[0] = pki.server_certificate("named", sans=sans).certificate
    run = Run(gateway, workloads=[{"name": "public", "hosts": ["public.example"]}]).run
    assert run._plan("").other_names == ["public.example", "b.example"]
