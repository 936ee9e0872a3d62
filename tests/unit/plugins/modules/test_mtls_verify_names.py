# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The subjects of clients as a real Envoy prints them into identity headers."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.modules import mtls_verify
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.workload import Workload

CN, ORG = "2.5.4.3", "2.5.4.10"
SUBJECTS = {
    "letters": [(CN, "curl"), (ORG, "M\u00fcller GmbH")],
    "scripts": [(CN, "\u0395\u03bb\u03bb\u03ac\u03c2 \u65e5\u672c \U0001f600")],
    "control": [(CN, "a\x7fb")],
    "special": [(CN, 'a,b+c"d\\e<f>g;h=i#j')],
    "edges": [(CN, "#first"), (ORG, " second "), ("2.5.4.11", " ")],
    "mail": [(CN, "x"), ("1.2.840.113549.1.9.1", "a@example.org")],
    "serial": [(CN, "x"), ("2.5.4.5", "42")],
    "street": [(CN, "x"), ("2.5.4.9", "S 1"), ("2.5.4.17", "12345")],
    "title": [(CN, "x"), ("2.5.4.12", "Dr"), ("2.5.4.4", "Doe"), ("2.5.4.42", "Jo")],
    "organization identifier": [(CN, "x"), ("2.5.4.97", "PSDDE-1")],
    "own attribute": [(CN, "x"), ("1.3.6.1.4.1.99999.1", "\u00e9")],
    "directory": [(CN, "x"), ("0.9.2342.19200300.100.1.1", "u"), ("0.9.2342.19200300.100.1.25", "example")],
    "units": [(CN, "x"), ("2.5.4.11", "a"), ("2.5.4.11", "b")],
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, t.Any]]:
    """What MV-40 says of each client."""
    if real.find("envoy") is None:
        pytest.skip("envoy is not installed")
    directory: Path = tmp_path_factory.mktemp("names")
    pki = pki_module.make_pki(directory / "pki")
    clients = []
    for number, (title, pairs) in enumerate(SUBJECTS.items()):
        subject = x509.Name(
            [x509.NameAttribute(x509.ObjectIdentifier(oid), value, _validate=False) for oid, value in pairs]
        )
        client = pki_module.make_leaf(pki.client_ca, subject=subject).save(directory, f"client-{number}")
        clients.append({"name": title, "cert": client.crt, "key": client.key_file})
    workload = Workload()
    running = real.start("envoy", pki, directory / "envoy", workload.port)
    given = {
        "url": f"https://{pki_module.HOST}/headers",
        "connect_to": running.address,
        "ca": [pki.server_ca.crt],
        "client_cert": pki.client.crt,
        "client_key": pki.client.key_file,
        "clients": clients,
        "identity_headers": dict(real.KINDS["envoy"].headers),
        "checks": ["MV-23", "MV-40"],
        "report_dir": str(directory / "report"),
    }
    try:
        with patch_module_args(given), pytest.raises(SystemExit):
            mtls_verify.main()
    finally:
        running.stop()
        workload.stop()
    document = json.loads((directory / "report/verify.json").read_text())
    (check,) = [one for one in document["checks"] if one["id"] == "MV-40"]
    return {one["name"]: one for one in check["cases"]}


@pytest.mark.parametrize("title", SUBJECTS)
def test_the_workload_sees_the_subject_of(title: str, cases: dict[str, dict[str, t.Any]]) -> None:
    (case,) = [one for name, one in cases.items() if title in name]
    assert case["outcome"] == "passed", case["observed"]
