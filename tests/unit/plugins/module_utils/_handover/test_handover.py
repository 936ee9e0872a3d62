# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client is handed: made once, kept right, and gone with the client."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils import _files, _parallel
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._handover import handover
from ansible_collections.kyma.mtls.plugins.module_utils._handover.address import read_address
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, make_home

URL = "https://httpbin.mtls.local.kyma.dev/headers"
OWN = ("README.md", "curl.sh", "server-ca.crt")


class Site:
    """Clients with certificates, a server's CA, and the way to hand them over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = make_home(directory, start=datetime.datetime.now(datetime.UTC) - DAY)
        self.server_ca = directory / "server-root.crt"
        self.server_ca.write_bytes(self.home.ca_cert.read_bytes())
        self.clients = directory / "clients"

    def issue(self, *names: str, **changes: t.Any) -> None:
        items = [self.home.client(name, **changes) for name in names]
        self.home.run(*items, now=datetime.datetime.now(datetime.UTC))

    def run(self, *names: str, **changes: t.Any) -> dict[str, t.Any]:
        options: dict[str, t.Any] = {
            "directory": self.clients,
            "clients": names,
            "address": read_address(URL, "127.0.0.1:8443"),
            "server_ca": self.server_ca,
            "check_mode": False,
        }
        return handover.run(handover.HandoverOptions(**(options | changes)))

    def names(self, client: str) -> set[str]:
        return {path.name for path in (self.clients / client).iterdir()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("processes", [1, 2])
def test_every_client_gets_its_files_once(site: Site, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_parallel, "cores", lambda: processes)
    monkeypatch.setattr(handover, "_SHARE", 1)
    site.issue("curl", "robot")
    first = site.run("curl", "robot")
    assert [one["name"] for one in first["changes"]] == ["curl"] * 3 + ["robot"] * 3
    issued = {"client.key", "client.crt", "client-chain.pem"}
    assert site.names("curl") == issued | set(OWN)
    modes = {name: (site.clients / "curl" / name).stat().st_mode & 0o777 for name in OWN}
    assert modes == {"README.md": 0o600, "curl.sh": 0o700, "server-ca.crt": 0o600}
    assert (site.clients / "curl/server-ca.crt").read_bytes() == site.server_ca.read_bytes()
    assert "the client **robot**" in (site.clients / "robot/README.md").read_text()
    before = {path: path.stat() for path in site.clients.rglob("*")}
    second = site.run("curl", "robot")
    assert (second["changed"], second["changes"]) == (False, [])
    assert {path: path.stat() for path in site.clients.rglob("*")} == before


def test_check_mode_predicts_on_an_empty_home_and_on_a_new_client(site: Site) -> None:
    site.server_ca.unlink()
    result = site.run("curl", check_mode=True)
    assert len(result["changes"]) == 3
    assert not site.clients.exists()
    site.issue("curl")
    site.server_ca.write_bytes(site.home.ca_cert.read_bytes())
    site.run("curl")
    result = site.run("curl", "robot", check_mode=True)
    assert {one["name"] for one in result["changes"]} == {"robot"}
    assert result["diff"]["after"].count("written") == 3
    assert not (site.clients / "robot").exists()


def test_only_what_is_wrong_is_made_again(site: Site) -> None:
    site.issue("curl")
    site.run("curl")
    directory = site.clients / "curl"
    (directory / "curl.sh").chmod(0o755)
    (directory / "README.md").write_text("edited\n")
    reasons = {Path(one["path"]).name: one["reason"] for one in site.run("curl")["changes"]}
    assert reasons == {
        "curl.sh": "its mode is 0755, not 0700",
        "README.md": "its content differs",
    }
    assert (directory / "curl.sh").stat().st_mode & 0o777 == 0o700


def test_the_server_s_next_ca_is_handed_over(site: Site) -> None:
    site.issue("curl")
    site.run("curl")
    site.server_ca.write_bytes(site.server_ca.read_bytes() * 2)
    assert [Path(one["path"]).name for one in site.run("curl")["changes"]] == ["server-ca.crt"]
    assert (site.clients / "curl/server-ca.crt").read_bytes() == site.server_ca.read_bytes()


def test_a_pkcs12_file_is_told_of_once_it_is_there(site: Site) -> None:
    site.issue("curl")
    site.run("curl")
    assert "openssl pkcs12 -export" in (site.clients / "curl/README.md").read_text()
    site.issue("curl", p12={"password": "correct horse"})
    assert [Path(one["path"]).name for one in site.run("curl")["changes"]] == ["README.md"]
    assert "Import `client.p12`" in (site.clients / "curl/README.md").read_text()


def test_a_publicly_trusted_server_needs_no_ca(site: Site) -> None:
    site.issue("curl", p12={"password": "correct horse"})
    site.run("curl")
    changes = site.run("curl", server_ca=None)["changes"]
    assert {Path(one["path"]).name: one["reason"] for one in changes}["server-ca.crt"] == "it is obsolete"
    assert "server-ca.crt" not in site.names("curl")
    for name in ("curl.sh", "README.md"):
        assert "cacert" not in (site.clients / "curl" / name).read_text()
    assert not site.run("curl", server_ca=None)["changed"]


def test_a_removed_client_leaves_nothing(site: Site) -> None:
    site.issue("curl", "robot")
    site.run("curl", "robot")
    site.issue("robot", state="absent")
    assert site.names("robot") == set(OWN)
    result = site.run("curl")
    assert {one["reason"] for one in result["changes"]} == {"the client has no certificate any more"}
    assert not (site.clients / "robot").exists()
    assert not site.run("curl")["changed"]


def test_what_somebody_else_put_into_a_removed_client_s_directory_stays(site: Site) -> None:
    site.issue("robot")
    site.run("robot")
    (site.clients / "robot/notes.txt").write_text("mine\n")
    site.issue("robot", state="absent")
    site.run()
    assert site.names("robot") == {"notes.txt"}


def test_a_client_that_is_not_in_the_list_is_left_as_it_is(site: Site) -> None:
    site.issue("curl", "robot")
    site.run("curl", "robot")
    assert not site.run("curl")["changed"]
    assert site.names("robot") >= set(OWN)


def test_a_client_without_a_certificate_gets_nothing(site: Site) -> None:
    (site.clients / "held").mkdir(parents=True)
    assert not site.run("held")["changed"]
    shutil.rmtree(site.clients)
    assert not site.run("held")["changed"]


def test_without_the_server_s_ca_nothing_is_made_and_it_is_said(site: Site) -> None:
    site.issue("curl")
    site.server_ca.unlink()
    for check_mode in (False, True):
        result = site.run("curl", check_mode=check_mode)
        assert not result["changed"]
        assert f"because the server's CA {site.server_ca} does not exist" in result["warnings"][0]


def test_a_server_s_key_is_never_handed_over(site: Site) -> None:
    site.issue("curl")
    for content in (site.home.ca_cert.read_bytes() + site.home.ca_key.read_bytes(), b"nothing"):
        site.server_ca.write_bytes(content)
        with pytest.raises(MtlsError, match="must hold certificates in PEM and nothing else"):
            site.run("curl")
    assert "server-ca.crt" not in site.names("curl")


@pytest.mark.parametrize("name", ["../up", ".hidden", "new\nline", ""])
def test_a_name_that_leads_elsewhere_is_refused(site: Site, name: str) -> None:
    with pytest.raises(MtlsError, match="cannot be that of a directory"):
        site.run(name)


def test_what_cannot_be_read_or_written_is_an_error_in_words(site: Site) -> None:
    site.issue("curl")
    (site.clients / "curl/curl.sh").mkdir()
    with pytest.raises(MtlsError, match=r"curl\.sh cannot be read: Is a directory"):
        site.run("curl")
    (site.clients / "curl/client.crt").unlink()
    with pytest.raises(MtlsError, match="cannot be removed"):
        site.run("curl")
    shutil.rmtree(site.clients)
    site.clients.write_text("")
    with pytest.raises(MtlsError, match="cannot be read: Not a directory"):
        site.run("curl")


# Speed and kill -9


def test_nothing_costly_is_imported_for_texts() -> None:
    code = (
        "import sys; from ansible_collections.kyma.mtls.plugins.module_utils._handover import handover, address; "
        "print([one for one in ('cryptography',) if one in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(_files.__file__).parents[5])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


RUN = """
import sys
from pathlib import Path
from ansible_collections.kyma.mtls.plugins.module_utils._handover import handover
from ansible_collections.kyma.mtls.plugins.module_utils._handover.address import read_address
home = Path(sys.argv[1])
names = tuple(f"client-{number}" for number in range(40))
print("ready", flush=True)
for port in range(1, 1000):
    handover.run(handover.HandoverOptions(
        directory=home / "clients", clients=names, address=read_address("https://www.example.com", f"127.0.0.1:{port}"),
        server_ca=home / "server-root.crt", check_mode=False,
    ))
"""


@pytest.mark.parametrize("milliseconds", [0, 3, 11, 29, 47])
def test_a_killed_run_is_completed_by_the_next(site: Site, milliseconds: int) -> None:
    names = tuple(f"client-{number}" for number in range(40))
    site.issue(*names)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(site.directory)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(_files.__file__).parents[5])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    site.run(*names)
    assert not site.run(*names)["changed"]
    assert not list(site.clients.rglob(".*"))
