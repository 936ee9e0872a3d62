# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics of real verifications, read by the parsers that monitoring uses."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report import metrics
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report
    from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

SAMPLE = re.compile(r"(?P<name>[a-z0-9_]+)\{(?P<labels>.*)\} (?P<value>[-+0-9.e]+)")
LABEL = re.compile(r'([a-z0-9_]+)="((?:[^"\\]|\\.)*)"')


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of ``text`` by name and labels; a series that occurs twice is an error."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        key = sample["name"], frozenset(LABEL.findall(sample["labels"]))
        assert key not in found, line
        found[key] = float(sample["value"])
    return found


def value(report: Report, name: str, **labels: str) -> float:
    """Return the value of the one series of ``name`` with ``labels``."""
    found = [
        number
        for (series, has), number in samples(metrics.to_prometheus(report).decode()).items()
        if series == name and set(labels.items()) <= has
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def check_with_promtool(path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    with path.open("rb") as stream:
        result = subprocess.run([promtool, "check", "metrics"], stdin=stream, capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


@pytest.fixture(scope="module")
def gateways(
    pki: pki_module.Pki, workload: Workload, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[t.Callable[[str], str]]:
    """Return a function that starts a real server of a kind and returns its address."""
    running: list[real.Running] = []

    def start(kind: str) -> str:
        if real.find(kind) is None:
            pytest.skip(f"{kind} is not installed")
        running.append(real.start(kind, pki, tmp_path_factory.mktemp(kind), workload.port))
        return running[-1].address

    yield start
    for server in running:
        server.stop()


def test_a_proven_gateway_shows_its_state_its_durations_and_every_date(
    verify_address: Verify, gateways: t.Callable[[str], str], pki: pki_module.Pki, tmp_path: Path
) -> None:
    report = verify_address(gateways("envoy"), crl=None)
    written = Path(metrics.write_metrics(report, tmp_path / "kyma_mtls.prom"))
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    check_with_promtool(written)

    assert value(report, "kyma_mtls_verdict", state="passed") == 1
    assert value(report, "kyma_mtls_verdict", state="failed") == 0
    assert value(report, "kyma_mtls_check_state", check="MV-24", state="passed") == 1
    assert 0 < value(report, "kyma_mtls_handshake_duration_seconds") < report.duration_seconds
    assert 0 < value(report, "kyma_mtls_request_duration_seconds") < report.duration_seconds
    name = "kyma_mtls_certificate_not_after_timestamp_seconds"
    assert value(report, name, usage="server") == pki.server.certificate.not_valid_after_utc.timestamp()
    assert value(report, name, usage="client") == pki.client.certificate.not_valid_after_utc.timestamp()
    assert value(report, name, usage="client_ca") == pki.client_ca.certificate.not_valid_after_utc.timestamp()


def test_exactly_one_state_of_every_check_holds(verify_address: Verify, gateways: t.Callable[[str], str]) -> None:
    report = verify_address(gateways("envoy"))
    found = samples(metrics.to_prometheus(report).decode())
    for check in report.checks:
        states = {
            dict(labels)["state"]: number
            for (name, labels), number in found.items()
            if name == "kyma_mtls_check_state" and ("check", check["id"]) in labels
        }
        assert [state for state, number in states.items() if number] == [check["outcome"]]


def test_an_outage_is_no_failure_and_has_no_durations(verify_address: Verify, tmp_path: Path) -> None:
    report = verify_address(f"127.0.0.1:{free_port()}")
    assert value(report, "kyma_mtls_verdict", state="outage") == 1
    assert value(report, "kyma_mtls_verdict", state="failed") == 0
    assert b"handshake_duration" not in metrics.to_prometheus(report)
    check_with_promtool(Path(metrics.write_metrics(report, tmp_path / "kyma_mtls.prom")))


def test_two_certificates_of_one_subject_are_two_series(verify_address: Verify) -> None:
    report = verify_address(f"127.0.0.1:{free_port()}")
    one = report.identities[0]
    odd = 'CN="a\\b"\n,O=ü'
    report.identities[:] = [one, one, {**one, "serial_number": "ff"}, {**one, "subject": odd}]
    found = [dict(labels) for name, labels in samples(metrics.to_prometheus(report).decode()) if "not_after" in name]
    subjects = [labels["subject"] for labels in found if labels["usage"] == "client"]
    assert len(subjects) == 3
    assert r"CN=\"a\\b\"\n,O=ü" in subjects


@pytest.mark.parametrize(
    ("path", "message"),
    [("metrics.txt", "whose names end in .prom"), ("missing/metrics.prom", "does not exist")],
    ids=["name", "directory"],
)
def test_a_file_that_no_collector_would_read_is_refused(path: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MtlsError, match=message):
        metrics.check_path(tmp_path / path)
