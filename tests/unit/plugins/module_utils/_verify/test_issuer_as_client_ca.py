# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway that takes the issuer of its own certificate for the clients' CA, as Istio does without its client CAs."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify


@pytest.fixture
def trap(pki: Pki, workload: Workload, tmp_path: Path) -> t.Iterator[real.Running]:
    if real.find("envoy") is None:
        pytest.skip("envoy is not installed")
    server = real.start("envoy", pki, tmp_path / "envoy", workload.port, real.Setting(client_ca=pki.server_ca.crt))
    yield server
    server.stop()


def test_a_gateway_open_to_the_servers_issuer_is_a_failure_that_names_it(
    trap: real.Running, verify_address: Verify
) -> None:
    report = verify_address(trap.address, wait_for=0)

    assert report.verdict == "failed"
    assert outcomes(report)["MV-22"] == "failed"
    shown = cases_text(report, "failed")
    assert "the server's own CA is trusted for clients: CN=Test Server CA" in shown
    # Tried, not only read from the names that it asks for: the server's own chain without its key.
    assert "its chain was accepted, and only then refused" in shown


def test_a_sound_gateway_refuses_the_chain_of_its_own_issuer(
    pki: Pki, workload: Workload, verify_address: Verify, tmp_path: Path
) -> None:
    server = real.start("envoy", pki, tmp_path / "sound", workload.port, real.Setting())
    try:
        report = verify_address(server.address, checks=["MV-22", "MV-23"])
    finally:
        server.stop()
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert "the server's own CA is not trusted for clients" in cases_text(report, "passed")
