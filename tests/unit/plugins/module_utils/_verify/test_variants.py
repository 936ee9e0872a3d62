# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unusual requests of the good client: reported as they are answered, and never judged."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.report import summary as reports
from ansible_collections.kyma.mtls.tests.servers import real

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload

REQUESTS = ["HTTP/1.0", "Host with a port", "path with brackets", "WebSocket"]
Verify: t.TypeAlias = "t.Callable[..., Report]"


@pytest.fixture(params=[False, True], ids=["1.1", "1.0"])
def address(request: pytest.FixtureRequest, pki: Pki, workload: Workload, tmp_path: Path) -> Iterator[str]:
    """An Envoy that speaks HTTP/1.0 too, or does not."""
    if real.find("envoy") is None:
        pytest.skip("envoy is not installed")
    server = real.start("envoy", pki, tmp_path / "envoy", workload.port, real.Setting(http_10=request.param))
    yield server.address
    server.stop()


def test_unusual_requests_are_reported_as_they_are_answered(
    request: pytest.FixtureRequest, address: str, verify_address: Verify
) -> None:
    report = verify_address(address, checks=["MV-23"])
    found = report.server["variants"]
    answer = "HTTP 200" if request.node.callspec.id == "1.0" else "HTTP 426"

    assert list(found) == REQUESTS
    assert (found["HTTP/1.0"], found["Host with a port"], found["WebSocket"]) == (answer, "HTTP 200", "HTTP 403")
    assert report.verdict == "passed"
    assert f"HTTP/1.0 {answer}; Host with a port HTTP 200" in " ".join(reports.summary_lines(report))


def test_a_server_that_refuses_the_good_client_is_not_asked_further(address: str, verify_address: Verify) -> None:
    report = verify_address(address, checks=["MV-23"], expect_status=[418])

    assert report.server["variants"] == {}
    assert not [line for line in reports.summary_lines(report) if line.startswith("Unusual")]
