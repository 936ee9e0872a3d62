# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by the tests of the verifier: one PKI, one workload, and a way to verify an address."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify import verify
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers.workload import Workload

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

    Verify = t.Callable[..., Report]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> pki_module.Pki:
    """One PKI for all tests."""
    return pki_module.make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def workload() -> t.Iterator[Workload]:
    """A workload that echoes the headers of its requests."""
    started = Workload()
    yield started
    started.stop()


def parameters(pki: pki_module.Pki, address: str, **changes: t.Any) -> dict[str, t.Any]:
    """Return the module's parameters for ``address``, with its defaults."""
    given: dict[str, t.Any] = {
        "url": f"https://{pki_module.HOST}/headers",
        "connect_to": address,
        "ca": [pki.server_ca.crt],
        "ca_content": None,
        "client_cert": pki.client.crt,
        "client_key": pki.client.key_file,
        "client_key_passphrase": None,
        "client_p12": None,
        "client_p12_password": None,
        "probe_kit": None,
        "client_ca_cert": [pki.client_ca.crt],
        "client_ca_key": pki.client_ca.key_file,
        "client_ca_key_passphrase": None,
        "server_ca_key": None,
        "server_ca_key_passphrase": None,
        "client_ca_signer": None,
        "server_ca_signer": None,
        "revoked_cert": None,
        "revoked_key": None,
        "revoked_dir": None,
        "crl": None,
        "clients": None,
        "clients_file": None,
        "clients_directory": None,
        "clients_sample": 0,
        "method": "GET",
        "expect_status": [200],
        "expect": None,
        "identity_headers": None,
        "identity_path": "headers",
        "identity_source": "headers",
        "identity_answer_prefix": None,
        "identity_log_file": None,
        "client_name": None,
        "workloads": None,
        "send_methods": ["GET", "HEAD", "OPTIONS"],
        "minimum_tls": "1.2",
        "checks": None,
        "skip": None,
        "require_checks": None,
        "timeout": 10.0,
        "wait_for": 0.0,
        "concurrency": 8,
        "replicas": None,
        "replica_count": 1,
        "replica_confidence": 0.99,
        "expiry_warning_days": None,
        "expiry_warning_percentage": 25,
        "expiry_failure_days": None,
        "expiry_failure_percentage": 0,
    }
    unknown = set(changes) - set(given)
    if unknown:
        raise KeyError(unknown)
    return {**given, **changes}


@pytest.fixture
def verify_address(pki: pki_module.Pki) -> Verify:
    """Return a function that verifies an address with the module's parameters."""

    def run(address: str, **changes: t.Any) -> Report:
        return verify.verify(read_options(parameters(pki, address, **changes)))

    return run


def outcomes(report: Report) -> dict[str, str]:
    """Return the outcome of every check by its id."""
    return {check["id"]: check["outcome"] for check in report.checks}


def cases_text(report: Report, *expected: str) -> str:
    """Return the cases with the ``expected`` outcomes as text, for a test's failure message."""
    return "\n".join(
        f"{check['id']} {case['outcome']} {case['name']}: {case['observed']} {case['evidence']}"
        for check in report.checks
        for case in check["cases"]
        if case["outcome"] in expected
    )
