# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Untried counts as nothing: no pass without a control and a refusal that ran, and what was not tried is named."""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify import verify
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import certificates
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    HandshakeFacts,
    Kind,
    Observation,
    Response,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report import summary as reports
from ansible_collections.kyma.mtls.tests.servers.hostile import Hostile
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import (
    cases_text,
    outcomes,
    parameters,
)

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.kyma.mtls.tests.servers.pki import Holder, Pki
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify


@pytest.fixture
def sound(pki: Pki) -> Iterator[str]:
    """The address of a server that demands a certificate of the client CA."""
    with Hostile(pki, act="serve", require=True) as server:
        yield server.address


@pytest.fixture
def open_to_all(pki: Pki) -> Iterator[str]:
    """The address of a server that wants no certificate from anybody."""
    with Hostile(pki, act="serve", ask=False) as server:
        yield server.address


def listed(holder: Holder, expect: str) -> dict[str, t.Any]:
    files = {"cert": holder.crt, "key": holder.key_file, "key_passphrase": None}
    return {"clients": [{"name": "mallory", "expect": expect, **files}]}


@pytest.mark.parametrize("checks", [None, ["MV-24"], ["MV-01"], ["MV-23"]], ids=str)
def test_a_good_client_that_cannot_be_tried_is_a_failure(
    checks: list[str] | None, open_to_all: str, pki: Pki, verify_address: Verify
) -> None:
    weak = pki.client_certificate("weak", kind="rsa1024")
    report = verify_address(open_to_all, client_cert=weak.crt, client_key=weak.key_file, checks=checks, wait_for=60.0)
    assert report.verdict == "failed"
    assert "cannot be used: OpenSSL says" in reports.headline(report) + cases_text(report, "failed")
    assert reports.is_failure(report, "failed")


def test_a_good_client_that_is_refused_fails_even_when_only_others_are_asked_about(
    sound: str, pki: Pki, verify_address: Verify
) -> None:
    stranger = pki.client_certificate("stranger", issuer=pki.server_ca)
    report = verify_address(sound, client_cert=stranger.crt, client_key=stranger.key_file, checks=["MV-24"])
    assert report.verdict == "failed"
    assert "the good client does not get in: refused with alert 48 (unknown_ca)" in reports.headline(report)
    assert outcomes(report) == {"MV-24": "skipped"}


def test_an_untrusted_server_fails_even_when_only_others_are_asked_about(
    sound: str, pki: Pki, verify_address: Verify
) -> None:
    report = verify_address(sound, ca=[pki.client_ca.crt], checks=["MV-24"])
    assert report.verdict == "failed"
    assert "unable to get local issuer certificate" in reports.headline(report)
    report = verify_address(sound, ca=[pki.client_ca.crt], checks=["MV-13"])
    assert (report.verdict, outcomes(report)) == ("failed", {"MV-13": "failed"})
    assert verify_address(sound, checks=["MV-13"]).verdict == "passed"


@pytest.mark.parametrize("checks", [["MV-22"], ["MV-17", "MV-40"], ["MV-41", "MV-42"]], ids=str)
def test_checks_of_which_none_could_be_tried_are_no_pass(
    checks: list[str], open_to_all: str, verify_address: Verify
) -> None:
    report = verify_address(open_to_all, checks=checks, client_ca_key=None)
    assert set(outcomes(report).values()) == {"skipped"}
    assert report.verdict == "failed"
    assert f"nothing could be tried: {checks[0]} " in reports.headline(report)
    assert verify_address(open_to_all, checks=[*checks, "MV-10"], client_ca_key=None).verdict == "passed"


@pytest.mark.parametrize("check", ["MV-27", "MV-29", "MV-33"])
def test_no_refusal_that_was_tried_is_no_pass(check: str, sound: str, verify_address: Verify) -> None:
    report = verify_address(sound, checks=["MV-23", check], client_ca_key=None)
    assert outcomes(report) == {"MV-23": "passed", check: "skipped"}
    assert report.verdict == "failed"
    assert f"no refusal could be tried: {check}" in reports.headline(report)
    assert b'classname="verdict"' in reports.to_junit(report)
    assert verify_address(sound, checks=["MV-23", "MV-24", check], client_ca_key=None).verdict == "passed"
    assert verify_address(sound, checks=["MV-23"]).verdict == "passed"


def test_the_verdict_names_what_was_not_tried(sound: str, verify_address: Verify) -> None:
    report = verify_address(sound, client_ca_key=None, checks=["MV-23", "MV-24", "MV-27", "MV-28", "MV-29"])
    line = reports.headline(report)
    assert line.startswith("PASSED: https://")
    assert line.endswith("; 3 checks not tried: no CA key (MV-27, MV-28), nobody is revoked (MV-29)")
    assert [one["id"] for one in reports.untried(report)] == ["MV-27", "MV-28", "MV-29"]
    assert "not tried" not in reports.headline(verify_address(sound, checks=["MV-23", "MV-24"]))


def test_a_required_check_fails_when_it_was_not_tried(sound: str, verify_address: Verify) -> None:
    given = {"client_ca_key": None, "checks": ["MV-23", "MV-24", "MV-27"]}
    report = verify_address(sound, require_checks=["MV-24", "MV-27"], **given)
    assert report.verdict == "failed"
    assert outcomes(report) == {"MV-23": "passed", "MV-24": "passed", "MV-27": "failed"}
    assert "required, but not tried: no CA key" in report.checks[-1]["observed"]
    assert verify_address(sound, require_checks=["MV-24"], **given).verdict == "passed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"require_checks": ["MV-99"]}, "MV-99, which does not exist"),
        ({"require_checks": ["MV-24"], "skip": ["MV-24"]}, "MV-24, which checks or skip exclude"),
        ({"require_checks": ["MV-24"], "checks": ["MV-23"]}, "MV-24, which checks or skip exclude"),
    ],
)
def test_a_required_check_that_cannot_run_is_refused(
    changes: dict[str, t.Any], said: str, sound: str, verify_address: Verify
) -> None:
    with pytest.raises(MtlsError, match=said):
        verify_address(sound, **changes)


def test_listed_clients_that_cannot_be_tried_fail(sound: str, pki: Pki, verify_address: Verify) -> None:
    weak = pki.client_certificate("weak", kind="rsa1024")
    checks = ["MV-23", "MV-24", "MV-33"]
    assert verify_address(sound, checks=checks, **listed(weak, "accepted")).verdict == "failed"
    # That it is weak is no reason not to try whether it is refused.
    report = verify_address(sound, checks=checks, **listed(weak, "refused"))
    assert any(case["outcome"] in {"passed", "failed"} for case in report.checks[-1]["cases"])
    missing = listed(weak, "refused")
    missing["clients"][0]["key"] = str(pki.directory / "nowhere.key")
    report = verify_address(sound, checks=checks, **missing)
    assert (report.verdict, outcomes(report)["MV-33"]) == ("failed", "failed")
    assert "nowhere.key does not exist" in cases_text(report, "failed")


def test_a_listed_client_that_must_be_accepted_is(sound: str, pki: Pki, verify_address: Verify) -> None:
    def run(clients: dict[str, t.Any]) -> t.Any:
        report = verify_address(sound, checks=["MV-23", "MV-40"], identity_headers={"X-Id": "%UNKNOWN%"}, **clients)
        names = {case["name"] for check in report.checks for case in check["cases"] if check["id"] == "MV-40"}
        return report.verdict, "client mallory" in names

    anna, stranger = pki.client_certificate("anna"), pki.client_certificate("stranger", issuer=pki.server_ca)
    lost = listed(anna, "accepted")
    lost["clients"][0]["key"] = str(pki.directory / "nowhere.key")
    assert run(listed(stranger, "accepted")) == ("failed", False)
    assert run(lost) == ("failed", False)
    assert run(listed(anna, "accepted"))[1]


def test_without_the_client_cas_key_the_others_are_tried(sound: str, verify_address: Verify) -> None:
    found = outcomes(verify_address(sound, client_ca_key=None))
    assert {found[check] for check in ("MV-27", "MV-28", "MV-31", "MV-34", "MV-42")} == {"skipped"}
    assert {found[check] for check in ("MV-24", "MV-25", "MV-26", "MV-32", "MV-35")} == {"passed"}


def test_a_listed_client_that_is_refused_for_its_age_proves_nothing(
    sound: str, pki: Pki, verify_address: Verify
) -> None:
    for days in ((-9, -2), (2, 9)):
        report = verify_address(sound, **listed(pki.client_certificate("mallory", days=days), "refused"))
        assert (report.verdict, outcomes(report)["MV-33"]) == ("failed", "failed")
        assert "its certificate is not valid now" in cases_text(report, "failed")


def _keep(directory: Path, name: str, holder: Holder, *names: str) -> None:
    folder = directory / name
    folder.mkdir(parents=True)
    for one in names:
        shutil.copy(holder.key_file if one.endswith(".key") else holder.crt, folder / one)


def test_everything_below_the_directory_of_revoked_clients_is_tried(
    sound: str, pki: Pki, verify_address: Verify, tmp_path: Path
) -> None:
    """This server has no revocation list, so whoever is tried gets in."""
    given = {"revoked_dir": str(tmp_path), "checks": ["MV-23", "MV-24", "MV-29"], "client_ca_key": None}
    report = verify_address(sound, **{**given, "revoked_dir": str(tmp_path / "nothing yet")})
    assert (report.verdict, outcomes(report)["MV-29"]) == ("passed", "skipped")
    _keep(tmp_path, "old", pki.client_certificate("old", days=(-9, -2)), "client.crt", "client.key")
    report = verify_address(sound, **given)
    assert (report.verdict, outcomes(report)["MV-29"]) == ("passed", "skipped"), cases_text(report, "failed")
    _keep(tmp_path, "anna/1", pki.client_certificate("anna"), "client.crt", "client.key")
    _keep(tmp_path, "anna/2", pki.client_certificate("anna"), "client-chain.pem", "client.crt", "client.key")
    _keep(tmp_path, "lost", pki.client_certificate("lost"), "client.crt")
    report = verify_address(sound, **given)
    assert (report.verdict, outcomes(report)["MV-29"]) == ("failed", "failed")
    text = cases_text(report, "failed")
    assert "revoked client anna/1, TLSv1.3: not refused" in text
    assert "revoked client anna/2, TLSv1.2: not refused" in text
    assert "revoked client lost: could not be tried: The key of the client lost" in text


def test_a_revocation_list_that_was_only_read_proves_nothing(sound: str, pki: Pki, verify_address: Verify) -> None:
    checks = ["MV-23", "MV-24", "MV-29"]
    report = verify_address(sound, crl=pki.crl, client_ca_key=None, checks=checks)
    assert (report.verdict, outcomes(report)["MV-29"]) == ("passed", "skipped")
    assert "none of the 1 revoked was there to be tried" in reports.headline(report)
    report = verify_address(sound, crl=pki.crl, checks=checks)
    assert (report.verdict, outcomes(report)["MV-29"]) == ("failed", "failed")


def test_a_revocation_list_of_another_ca_says_nothing_about_the_client_cas_key(
    sound: str, pki: Pki, verify_address: Verify
) -> None:
    files = {"client_ca_cert": [pki.client_ca.crt, pki.server_ca.crt], "client_ca_key": pki.server_ca.key_file}
    report = verify_address(sound, crl=pki.crl, checks=["MV-23", "MV-24", "MV-29"], **files)
    assert outcomes(report)["MV-29"] == "skipped"
    assert "none of the 1 revoked was there to be tried" in reports.headline(report)


def test_what_is_no_judgement_of_a_certificate_is_an_outage(pki: Pki, verify_address: Verify) -> None:
    assert verify_address("127.0.0.1:9", checks=["MV-24"]).verdict == "outage"
    with Hostile(pki, act="reset", stage="handshake", audience="strangers") as server:
        report = verify_address(server.address, checks=["MV-23", "MV-24"])
    assert (report.verdict, outcomes(report)) == ("outage", {"MV-23": "passed", "MV-24": "outage"})


def test_the_evidence_is_that_of_the_deciding_connection(sound: str, open_to_all: str, verify_address: Verify) -> None:
    for address, name, value in ((sound, "alert_name", "certificate_required"), (open_to_all, "http_status", 200)):
        report = verify_address(address, checks=["MV-24"])
        cases = report.checks[0]["cases"]
        assert report.checks[0]["evidence"] in [case["evidence"] for case in cases]
        assert value in [case["evidence"].get(name) for case in cases]


def test_the_good_client_must_get_the_expected_answer(sound: str, pki: Pki, verify_address: Verify) -> None:
    met = verify_address(sound, checks=["MV-23"], expect={"headers": {}})
    assert (met.verdict, met.checks[0]["cases"][1]["name"]) == ("passed", "expected answer")
    assert met.waiting[0].endswith(" s: accepted: HTTP 200 over TLSv1.3")
    assert len(met.waiting) == 1
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    with Hostile(pki, act="serve", require=True, answer=text) as server:
        assert verify_address(server.address, checks=["MV-23"], expect={"headers": {}}).verdict == "failed"
        assert verify_address(server.address, checks=["MV-23"]).verdict == "passed"
    for expect in ({"headers": "x"}, {"missing": 1}):
        assert verify_address(sound, checks=["MV-23"], expect=expect).verdict == "failed"
    stranger = pki.client_certificate("stranger", issuer=pki.server_ca)
    refused = verify_address(sound, client_cert=stranger.crt, client_key=stranger.key_file, expect={"missing": 1})
    assert refused.waiting[0].endswith(" s: refused with alert 48 (unknown_ca) in TLSv1.3")
    assert "expected answer" not in [case["name"] for check in refused.checks for case in check["cases"]]


def test_the_lowest_version_is_the_users_choice(sound: str, verify_address: Verify) -> None:
    assert outcomes(verify_address(sound, checks=["MV-01"])) == {"MV-01": "passed"}
    assert outcomes(verify_address(sound, checks=["MV-01"], minimum_tls="1.3")) == {"MV-01": "failed"}


def test_each_version_is_judged_by_itself(pki: Pki) -> None:
    run = verify._VerifyRun(read_options(parameters(pki, "127.0.0.1:9")))
    asked = HandshakeFacts(certificate_request=True, client_cas=(pki.client_ca.certificate.subject.public_bytes(),))
    refused = Observation(Kind.ALERT, "response", "alert", alert=48, seen=asked)
    admitted = Observation(Kind.ANSWERED, "response", "", response=Response(200, "", (), b""), seen=asked)
    no_such = Observation(Kind.ALERT, "handshake", "alert", alert=70)
    for good, expected in (
        ({"TLSv1.2": refused, "TLSv1.3": admitted}, ["failed", "passed"]),
        ({"TLSv1.2": admitted, "TLSv1.3": refused}, ["passed", "failed"]),
        ({"TLSv1.2": no_such, "TLSv1.3": admitted}, ["skipped", "passed"]),
    ):
        cases = run._check_versions(good)
        assert [case.outcome.value for case in cases if case.check == "MV-23"] == expected
        accepted = [f"good client, {version}" for version, one in good.items() if one is admitted]
        assert [case.name for case in cases if case.check == "MV-40"] == accepted
        assert "MV-21" not in {case.check for case in cases}
    run.first = admitted
    assert "MV-21" in {case.check for case in run._check_versions({"TLSv1.3": admitted})}


def test_without_the_whole_chain_its_order_is_not_judged(pki: Pki) -> None:
    given = read_options(parameters(pki, "127.0.0.1:9"))
    for is_whole, outcome in ((True, "passed"), (False, "skipped")):
        chain = (pki.server.certificate,)
        cases = certificates.check_server(given, chain, (given.client,), is_whole=is_whole, verify_error="")
        assert {case.outcome.value for case in cases if case.name == "order"} == {outcome}


class _Later:
    """Stands for an inspection: what the good client gets at the end."""

    def __init__(self, observation: Observation) -> None:
        self._observation = observation

    def resume_after_timeout(self) -> None:
        """There is nothing to resume."""

    def attempt(self, _identity: object) -> Observation:
        return self._observation


@pytest.mark.parametrize(
    ("later", "ended", "after", "refusal"),
    [
        (Observation(Kind.ANSWERED, "response", "", response=Response(200, "", (), b"")), None, "passed", "passed"),
        (Observation(Kind.ANSWERED, "response", "", response=Response(403, "", (), b"")), None, "outage", "outage"),
        (Observation(Kind.RESET, "response", "reset"), None, "outage", "outage"),
        (Observation(Kind.ALERT, "response", "alert", alert=48), None, "outage", "outage"),
        (
            Observation(Kind.ANSWERED, "response", "", response=Response(200, "", (), b"")),
            "timeout (handshake)",
            "outage",
            "outage",
        ),
    ],
)
def test_refusals_count_only_when_the_good_client_still_gets_in(
    later: Observation, ended: str | None, after: str, refusal: str, pki: Pki
) -> None:
    run = verify._VerifyRun(read_options(parameters(pki, "127.0.0.1:9")))
    run.inspection = t.cast("t.Any", _Later(later))
    hanging = [Case("MV-41", "hangs", Outcome.OUTAGE, "no answer", {"ended": ended})] if ended else []
    before = [
        Case("MV-24", "no certificate", Outcome.PASSED, "refused"),
        Case("MV-25", "of another CA", Outcome.FAILED, "not refused"),
        Case("MV-10", "server", Outcome.PASSED, "sound"),
        *hanging,
    ]
    found = [(case.check, case.outcome.value) for case in run._close_bracket(before)]
    told_before = [("MV-24", refusal), ("MV-25", "failed"), ("MV-10", "passed"), *[("MV-41", "outage")] * len(hanging)]
    assert found == [*told_before, ("MV-23", after)]
    assert run.outage is (after == "outage")


def test_the_certificates_of_clients_are_looked_at_where_that_is_selected(pki: Pki) -> None:
    def judged(*checks: str) -> set[tuple[str, str]]:
        given = read_options(parameters(pki, "127.0.0.1:9", checks=[*checks]))
        cases = certificates.check_server(
            given, (pki.server.certificate,), (given.client,), is_whole=True, verify_error=""
        )
        return {(case.check, case.name) for case in cases}

    assert ("MV-15", "good client") in judged("MV-15")
    assert ("MV-15", "good client") not in judged("MV-10")
    assert ("MV-16", "keys") in judged("MV-16")
    assert ("MV-16", "keys") not in judged("MV-10")
