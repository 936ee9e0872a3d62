# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests of a release that is served on loopback."""

from __future__ import annotations

import functools
import hashlib
import http.server
import ipaddress
import ssl
import stat
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import releases
from ansible_collections.kyma.mtls.tests.servers import pki
from ansible_collections.kyma.mtls.tests.servers.threads import serving
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import Host, Result

CONTENT = b"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: kyma-system\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "istio/releases/download/1.30.0/istio-manager.yaml"


class Release(t.NamedTuple):
    served: Path
    url: str
    plain_url: str
    asked: list[str]
    host: Host

    @property
    def directory(self) -> Path:
        return self.host.home / "manifests"

    @property
    def kept(self) -> Path:
        return self.directory / PATH

    @property
    def record(self) -> Path:
        return self.directory / "SHA256SUMS"

    def run(
        self, *, check: bool = False, require_sha256: bool = True, record: str | None = None, **manifest: t.Any
    ) -> Result:
        one = {"path": PATH, "url": f"{self.url}/manager.yaml", "variable": "modules_istio_sha256", **manifest}
        return self.host.run(
            "kyma_modules",
            check=check,
            name=None,
            directory=str(self.directory),
            manifests=[one],
            require_sha256=require_sha256,
            record=record,
        )


@pytest.fixture
def release(tmp_path, monkeypatch):
    served = tmp_path / "release"
    served.mkdir()
    (served / "manager.yaml").write_bytes(CONTENT)
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *arguments: object) -> None:
            asked.append(str(arguments[0]).split()[1])

    authority = pki.make_ca(pki.name(common_name="Release CA")).save(tmp_path / "tls", "ca")
    server = pki.make_leaf(
        authority,
        subject=pki.name(common_name="release"),
        sans=[x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))],
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
    ).save(tmp_path / "tls", "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.crt, server.key_file)
    monkeypatch.setenv("SSL_CERT_FILE", authority.crt)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    make = functools.partial(
        http.server.ThreadingHTTPServer, ("127.0.0.1", 0), functools.partial(Handler, directory=served)
    )
    secure, plain = make(), make()
    with serving(secure, context), serving(plain):
        address, plain_address = (f"127.0.0.1:{one.server_address[1]}" for one in (secure, plain))
        yield Release(served / "manager.yaml", f"https://{address}", f"http://{plain_address}", asked, Host(tmp_path))


def test_a_known_manifest_is_fetched_once_and_only_verified_from_then_on(release):
    assert release.run(check=True, sha256=SHA256)["changed"]
    assert not release.directory.exists()
    assert release.asked == []
    result = release.run(sha256=SHA256)
    assert result["changed"]
    assert result["manifests"] == [{"path": str(release.kept), "sha256": SHA256}]
    assert release.kept.read_bytes() == CONTENT
    assert stat.S_IMODE(release.kept.stat().st_mode) == 0o644
    again = release.run(sha256=SHA256.upper())
    assert (again["changed"], again["manifests"]) == (False, result["manifests"])
    assert not release.run(sha256=SHA256, check=True)["changed"]
    assert len(release.asked) == 1
    assert "warnings" not in again


def test_another_file_than_the_known_one_is_refused_and_nothing_is_put_in_place(release):
    release.run(sha256=SHA256)
    release.served.write_bytes(CONTENT + b"---\n")
    found = hashlib.sha256(CONTENT + b"---\n").hexdigest()
    result = release.run(sha256="0" * 64)
    assert f"has the SHA-256 {found}, but {'0' * 64} is expected. Nothing of it is used." in result["msg"]
    assert "give that digest as modules_istio_sha256" in result["msg"]
    assert (result["expected"], result["found"]) == ("0" * 64, found)
    assert release.kept.read_bytes() == CONTENT


def test_a_file_that_was_changed_on_disk_is_fetched_again(release):
    release.run(sha256=SHA256)
    release.kept.write_bytes(b"kind: Trojan\n")
    assert release.run(sha256=SHA256)["changed"]
    assert release.kept.read_bytes() == CONTENT


def test_a_manifest_without_digest_is_refused_with_what_to_do(release):
    result = release.run()
    assert f"{release.url}/manager.yaml | sha256sum" in result["msg"]
    assert "give it as modules_istio_sha256" in result["msg"]
    assert "modules_require_sha256=false" in result["msg"]
    assert release.asked == []
    assert not release.directory.exists()


def test_a_manifest_that_is_believed_once_has_to_stay_the_same(release):
    first = release.run(require_sha256=False)
    assert first["changed"]
    assert first["manifests"][0]["sha256"] == SHA256
    assert f"Its SHA-256 is {SHA256}: compare it" in first.printed
    second = release.run(require_sha256=False)
    assert not second["changed"]
    assert "warnings" not in second
    assert len(release.asked) == 1

    # Somebody changes the release, and the copy here gets lost.
    release.kept.unlink()
    release.served.write_bytes(b"kind: Trojan\n")
    third = release.run(require_sha256=False)
    assert f"{SHA256} it had on first use" in third["msg"]
    assert not release.kept.exists()

    release.served.write_bytes(CONTENT)
    assert release.run(require_sha256=False)["changed"]
    assert (release.directory / "SHA256SUMS").read_text() == f"{SHA256}  {PATH}\n"


def test_a_first_download_that_was_interrupted_before_it_was_recorded_is_made_again(release):
    release.run(require_sha256=False)
    (release.directory / releases.RECORD).unlink()
    assert release.run(require_sha256=False, check=True)["changed"]
    assert release.run(require_sha256=False)["changed"]
    assert not release.run(require_sha256=False)["changed"]


def test_a_record_that_cannot_be_read_is_not_forgotten(release):
    release.run(require_sha256=False)
    (release.directory / releases.RECORD).write_text("half a li")
    assert "is not in the format of sha256sum" in release.run(require_sha256=False)["msg"]


def test_a_given_digest_wins_over_the_recorded_one(release):
    release.run(require_sha256=False)
    other = b"kind: ConfigMap\n"
    release.served.write_bytes(other)
    assert release.run(require_sha256=False, sha256=hashlib.sha256(other).hexdigest())["changed"]
    assert release.kept.read_bytes() == other


def test_the_latest_release_is_asked_every_time_and_not_recorded(release):
    assert release.run(moving=True)["changed"]
    assert not release.run(moving=True)["changed"]
    release.served.write_bytes(b"kind: ConfigMap\n")
    assert release.run(moving=True)["changed"]
    assert len(release.asked) == 3
    assert not (release.directory / releases.RECORD).exists()


def test_a_local_copy_is_verified_and_left_alone(release):
    release.kept.parent.mkdir(parents=True)
    release.kept.write_bytes(CONTENT)
    assert release.run(url="", sha256=SHA256)["manifests"] == [{"path": str(release.kept), "sha256": SHA256}]
    assert not release.record.exists()
    assert "has the SHA-256" in release.run(url="", sha256="0" * 64)["msg"]
    assert f"sha256sum {PATH}" in release.run(url="")["msg"]
    assert release.kept.read_bytes() == CONTENT
    release.kept.unlink()
    assert f"The manifest {release.kept} does not exist" in release.run(url="", sha256=SHA256, check=True)["msg"]


def test_a_source_that_does_not_answer_is_told(release):
    result = release.run(url=f"{release.url}/elsewhere.yaml", sha256=SHA256)
    assert f"{release.url}/elsewhere.yaml cannot be fetched" in result["msg"]
    assert "name a mirror" in result["msg"]


def test_a_digest_that_is_none_is_told(release):
    assert "which is not 64 hexadecimal digits" in release.run(sha256="abc")["msg"]


def test_a_local_copy_that_is_believed_once_has_to_stay_the_same(release):
    release.kept.parent.mkdir(parents=True)
    release.kept.write_bytes(CONTENT)
    record = release.host.home / "elsewhere" / "SHA256SUMS"
    given = {"url": "", "require_sha256": False, "record": str(record)}

    assert release.run(check=True, **given)["changed"]
    assert not record.exists()
    first = release.run(**given)
    assert first["changed"]
    assert f"{release.kept} was trusted on first use. Its SHA-256 is {SHA256}" in first.printed
    assert record.read_text() == f"{SHA256}  {PATH}\n"
    assert not release.record.exists()
    assert not release.run(**given)["changed"]

    release.kept.write_bytes(b"kind: Trojan\n")
    assert f"{SHA256} it had on first use" in release.run(**given)["msg"]
    # Nor is it another one when it comes from elsewhere.
    release.served.write_bytes(b"kind: Trojan\n")
    fetched = release.run(require_sha256=False, record=str(record))
    assert f"{SHA256} it had on first use" in fetched["msg"]


@pytest.mark.parametrize("moving", [False, True])
def test_what_nobody_knows_is_not_fetched_without_tls(release, moving):
    given = {"url": f"{release.plain_url}/manager.yaml", "moving": moving, "require_sha256": False}
    result = release.run(**given)
    assert f"{release.plain_url}/manager.yaml is fetched without TLS, and its SHA-256 is not known" in result["msg"]
    assert "Use https://, or give its SHA-256 as modules_istio_sha256." in result["msg"]
    assert release.asked == []
    assert not release.directory.exists()
    assert release.run(sha256=SHA256, **given)["changed"]


def test_what_is_recorded_may_be_fetched_without_tls(release):
    release.run(require_sha256=False)
    release.kept.unlink()
    assert release.run(url=f"{release.plain_url}/manager.yaml", require_sha256=False)["changed"]
    assert release.kept.read_bytes() == CONTENT


def test_check_mode_tells_whether_the_latest_release_is_another_one(release):
    predicted = release.run(moving=True, check=True)
    assert (predicted["changed"], predicted["manifests"][0]["sha256"]) == (True, SHA256)
    assert not release.directory.exists()

    release.run(moving=True)
    same = release.run(moving=True, check=True)
    assert (same["changed"], same["manifests"][0]["sha256"]) == (False, SHA256)

    release.served.write_bytes(b"kind: ConfigMap\n")
    other = release.run(moving=True, check=True)
    # The file that is there is not the one of the digest.
    assert (other["changed"], other["manifests"][0]["sha256"]) == (True, "")
    assert release.kept.read_bytes() == CONTENT


def test_check_mode_keeps_the_digest_of_a_file_that_is_only_not_recorded(release):
    release.run(require_sha256=False)
    release.record.unlink()
    predicted = release.run(require_sha256=False, check=True)
    assert (predicted["changed"], predicted["manifests"][0]["sha256"]) == (True, SHA256)
    assert not release.record.exists()
