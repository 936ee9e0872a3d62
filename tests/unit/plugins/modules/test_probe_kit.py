# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A probe kit verifies as the client CA's key does, and holds no CA's key."""

from __future__ import annotations

import json
import shutil
import stat
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.kyma.mtls.plugins.module_utils._signer import pkcs11
from ansible_collections.kyma.mtls.plugins.modules import mtls_verify, probe_kit
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.workload import Workload
from ansible_collections.kyma.mtls.tests.unit import softhsm

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> pki_module.Pki:
    return pki_module.make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def gateway(pki: pki_module.Pki, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[real.Running]:
    if real.find("envoy") is None:
        pytest.skip("envoy is not installed")
    workload = Workload()
    setting = real.Setting(crl=pki.crl)
    running = real.start("envoy", pki, tmp_path_factory.mktemp("envoy"), workload.port, setting)
    yield running
    running.stop()
    workload.stop()


@pytest.fixture
def kit(pki: pki_module.Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs probe_kit for a directory of the test."""

    def run(**changes: t.Any) -> dict[str, t.Any]:
        arguments = {
            "directory": str(tmp_path / "kit"),
            "client_cert": pki.client.crt,
            "client_key": pki.client.key_file,
            "client_ca_cert": [pki.client_ca.crt],
            "client_ca_key": pki.client_ca.key_file,
            "ca": [pki.server_ca.crt],
            "server_ca_key": pki.server_ca.key_file,
            **changes,
        }
        return result_of(probe_kit, arguments, capsys)

    return run


def result_of(module: t.Any, arguments: dict[str, t.Any], capsys: pytest.CaptureFixture[str]) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))


def verify(gateway: real.Running, capsys: pytest.CaptureFixture[str], **changes: t.Any) -> dict[str, t.Any]:
    arguments = {
        "url": f"https://{pki_module.HOST}/headers",
        "connect_to": gateway.address,
        "identity_headers": dict(real.KINDS["envoy"].headers),
        "fail_on": "never",
        **changes,
    }
    return result_of(mtls_verify, arguments, capsys)


def told(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what was proven, check by check: outcome, and each trial's outcome and alert."""
    return {
        check["id"]: (
            check["outcome"],
            sorted((case["name"], case["outcome"], case["evidence"].get("alert_code")) for case in check["cases"]),
        )
        for check in result["checks"]
    }


def test_a_kit_elsewhere_proves_what_the_ca_key_proves_check_by_check(
    pki: pki_module.Pki, gateway: real.Running, kit: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    revoked = {"cert": pki.revoked.crt, "key": pki.revoked.key_file}
    assert kit(revoked=[revoked])["changed"]
    by_key = verify(
        gateway,
        capsys,
        ca=[pki.server_ca.crt],
        client_cert=pki.client.crt,
        client_key=pki.client.key_file,
        client_ca_cert=[pki.client_ca.crt],
        client_ca_key=pki.client_ca.key_file,
        revoked_cert=pki.revoked.crt,
        revoked_key=pki.revoked.key_file,
        server_ca_key=pki.server_ca.key_file,
    )
    moved = tmp_path / "other host"
    shutil.move(tmp_path / "kit", moved)
    by_kit = verify(gateway, capsys, probe_kit=str(moved))
    names = {"revoked client 1": "revoked"}
    renamed = json.loads(json.dumps(told(by_kit)).replace(*next(iter(names.items()))))
    assert renamed == json.loads(json.dumps(told(by_key)))
    assert by_kit["verdict"] == by_key["verdict"] == "passed"
    # A gateway with a CRL of the root alone lets no client through an intermediate CA, so MV-31 proves nothing there.
    assert {check["id"] for check in by_kit["checks"] if check["outcome"] == "skipped"} <= {"MV-17", "MV-31", "MV-33"}


def test_no_key_in_a_kit_signs_for_any_ca_and_everything_is_private(
    pki: pki_module.Pki, kit: Run, tmp_path: Path
) -> None:
    kit(revoked=[{"cert": pki.revoked.crt, "key": pki.revoked.key_file}])
    authorities = [pki.client_ca.certificate.public_key(), pki.server_ca.certificate.public_key()]
    keys = 0
    for path in (tmp_path / "kit").rglob("*"):
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            continue
        data = path.read_bytes()
        if b"PRIVATE KEY" not in data:
            continue
        keys += 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = serialization.load_pem_private_key(data, password=None)
        assert key.public_key() not in authorities
        chain = x509.load_pem_x509_certificates(path.with_suffix(".crt").read_bytes())
        assert chain[0].public_key() == key.public_key()
        assert not chain[0].extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert keys == 18


def test_a_kit_is_created_once_and_the_prediction_is_true(kit: Run, tmp_path: Path) -> None:
    predicted = kit(_ansible_check_mode=True, _ansible_diff=True)
    assert predicted["changed"]
    assert not (tmp_path / "kit").exists()
    assert kit()["changed"]
    before = {path: path.read_bytes() for path in (tmp_path / "kit").rglob("*") if path.is_file()}
    assert not kit()["changed"]
    assert not kit(_ansible_check_mode=True)["changed"]
    assert before == {path: path.read_bytes() for path in (tmp_path / "kit").rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", ["key", "certificate", "index", "missing"])
def test_a_damaged_kit_is_refused_and_created_again(
    damage: str, gateway: real.Running, kit: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit()
    directory = tmp_path / "kit"
    victim = {
        "key": sorted(directory.glob("identities/*.key"))[3],
        "certificate": sorted(directory.glob("identities/*.crt"))[3],
        "index": directory / "kit.json",
        "missing": sorted(directory.glob("identities/*.key"))[3],
    }[damage]
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_text("damaged\n", encoding="utf-8")
    result = verify(gateway, capsys, probe_kit=str(directory))
    assert result["failed"] or result["verdict"] != "passed", damage
    assert kit()["changed"]
    assert not kit()["changed"]
    assert verify(gateway, capsys, probe_kit=str(directory))["verdict"] == "passed"


def test_a_new_client_or_ca_makes_a_new_kit_and_leaves_no_old_key(
    pki: pki_module.Pki, kit: Run, tmp_path: Path
) -> None:
    kit()
    other = pki.client_certificate("probe")
    result = kit(client_cert=other.crt, client_key=other.key_file)
    assert result["changed"]
    assert "have changed" in result["reason"]
    assert len(list((tmp_path / "kit/identities").iterdir())) == 2 * 17


def test_a_kit_ends_with_its_client_and_is_renewed_before(pki: pki_module.Pki, kit: Run, tmp_path: Path) -> None:
    short = pki.client_certificate("short", days=(-2, 0.5))
    kit(client_cert=short.crt, client_key=short.key_file)
    index = json.loads((tmp_path / "kit/kit.json").read_text(encoding="utf-8"))
    assert index["not_after"] == short.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    index["not_before"] = "2020-01-01T00:00:00Z"
    (tmp_path / "kit/kit.json").write_text(json.dumps(index), encoding="utf-8")
    assert "it expires on" in kit(client_cert=short.crt, client_key=short.key_file)["reason"]


def test_absent_removes_the_kit_and_nothing_else(kit: Run, tmp_path: Path) -> None:
    kit()
    (tmp_path / "kit/notes.txt").write_text("mine", encoding="utf-8")
    assert kit(state="absent", _ansible_check_mode=True)["changed"]
    assert kit(state="absent")["changed"]
    assert [path.name for path in (tmp_path / "kit").iterdir()] == ["notes.txt"]
    assert not kit(state="absent")["changed"]


def test_an_expired_kit_says_what_to_do(
    gateway: real.Running, kit: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit()
    index = json.loads((tmp_path / "kit/kit.json").read_text(encoding="utf-8"))
    index["not_after"] = "2020-01-01T00:00:00Z"
    (tmp_path / "kit/kit.json").write_text(json.dumps(index), encoding="utf-8")
    result = verify(gateway, capsys, probe_kit=str(tmp_path / "kit"))
    assert result["failed"]
    assert "has expired on 2020-01-01T00:00:00Z" in result["msg"]
    assert "where the client CA's key is" in result["msg"]


def test_keys_in_a_token_and_behind_a_command_prove_the_same(
    pki: pki_module.Pki,
    gateway: real.Running,
    kit: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client CA's key is in a token, the server CA's behind a command: every check that needs them is made."""
    token = softhsm.make_token(tmp_path / "hsm")
    token.import_key("clients", Path(pki.client_ca.key_file))
    service = softhsm.service_of(tmp_path / "service", pki.server_ca.key)
    pkcs11.close()
    monkeypatch.setenv(*next(iter(token.environment.items())))
    signers = {"client_ca_signer": token.key("clients"), "server_ca_signer": service.key()}
    trusted = {"ca": [pki.server_ca.crt], "client_ca_cert": [pki.client_ca.crt]}
    client = {"client_cert": pki.client.crt, "client_key": pki.client.key_file}
    checks = ["MV-22", "MV-27", "MV-28", "MV-32", "MV-34", "MV-35"]
    # A file that is not there is no reason to fail, as the token is.
    files = {"client_ca_key": "/no/ca.key", "server_ca_key": "/no/server-ca.key"}
    result = verify(gateway, capsys, **trusted, **client, **signers, **files, checks=checks, require_checks=checks)
    assert result["verdict"] == "passed", result["summary"]
    cases = {case["name"]: case for check in result["checks"] for case in check["cases"]}
    assert any(name.startswith("a client of the server's CA") for name in cases)
    assert service.signatures > 0
    assert kit(**signers, client_ca_key=None, server_ca_key=None)["changed"]
    names = {entry["name"] for entry in json.loads((tmp_path / "kit/kit.json").read_text())["identities"]}
    assert {"expired an hour ago", "a client of the server's CA"} <= names
    # Without the token, a kit that serves is left as it is; the rest is proven, and a warning says what is not.
    pkcs11.close()
    (token.directory / "tokens").rename(token.directory / "taken out")
    (token.directory / "tokens").mkdir()
    gone: dict[str, t.Any] = {"client_ca_signer": token.key("clients"), "client_ca_key": None, "server_ca_key": None}
    assert not kit(**gone, server_ca_signer=service.key(command=["false"]))["changed"]
    assert "There is no token" in kit(**gone, server_ca_signer=service.key(), days=3)["msg"]
    rest = verify(gateway, capsys, **trusted, **client, **gone, checks=["MV-24", "MV-27"])
    assert {check["id"]: check["outcome"] for check in rest["checks"]}["MV-27"] == "skipped"
    assert "There is no token 'kyma'" in json.dumps(rest["warnings"])
    wrong = verify(gateway, capsys, **trusted, **client, client_ca_signer=service.key())
    assert "belongs to none of the certificates in client_ca_cert" in wrong["msg"]
    pkcs11.close()
