# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client is handed works as it stands: on a real gateway, by curl, Python, OpenSSL, NSS and a real browser."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.kyma.mtls.plugins.module_utils._handover import handover
from ansible_collections.kyma.mtls.plugins.module_utils._handover.address import Address, read_address
from ansible_collections.kyma.mtls.plugins.module_utils._trust import trust
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, Home, make_home

PASSWORDS = {"curl": "correct horse", "phone": "battery staple"}
# A screenshot of what the browser shows is kept in this directory, if it is given.
SCREENSHOTS = os.environ.get("KYMA_MTLS_SCREENSHOTS")


class Site:
    """A gateway with clients that have been handed their directories."""

    def __init__(self, runtime: runtimes.Runtime) -> None:
        self.runtime = runtime
        start = datetime.datetime.now(datetime.UTC) - DAY
        directory = runtime.pki.directory
        for side in ("server", "client"):
            (directory / side).mkdir()
        self.server = make_home(directory / "server", common_name="ML Server Root CA", start=start)
        self.home = make_home(directory / "client", common_name="ML Client Root CA", start=start)
        self._serve(self.server)
        self.clients = self.home.path / "clients"
        items = [
            self.home.client(
                name,
                common_name=f"ML Client {name}",
                p12={"password": PASSWORDS[name], "profile": profile, "friendly_name": name},
            )
            for name, profile in (("curl", "modern"), ("phone", "legacy"))
        ]
        self.home.run(*items, now=datetime.datetime.now(datetime.UTC))
        handover.run(
            handover.HandoverOptions(
                directory=self.clients,
                clients=("curl", "phone"),
                address=self.address,
                server_ca=self.server.ca_cert,
                check_mode=False,
            )
        )

    def _serve(self, home: Home) -> None:
        """Have the gateway use certificates as the collection makes them."""
        server = home.server(common_name=runtimes.HOST, sans=[f"DNS:{runtimes.HOST}"])
        home.run(server, now=datetime.datetime.now(datetime.UTC))
        pki = self.runtime.pki
        pki.put("server-chain.pem", (home.path / "server.crt").read_bytes() + home.ca_cert.read_bytes())
        pki.put("server.key", (home.path / "server.key").read_bytes())
        pki.put("ca-bundle.crt", self.home.ca_cert.read_bytes())
        self.runtime.apply()

    @property
    def address(self) -> Address:
        return read_address(f"https://{runtimes.HOST}/headers", f"127.0.0.1:{self.runtime.port}")

    def block(self, language: str, part: str, client: str = "curl") -> str:
        """Give the block of code of the client's README that has ``part`` in it."""
        text = (self.clients / client / "README.md").read_text()
        (found,) = [one for one in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if part in one]
        return str(found)


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    with runtimes.runtime() as runtime:
        yield Site(runtime)


def identity(answer: str) -> tuple[str, str]:
    """Who the workload saw, as an answer of /headers or a page with it tells."""
    start, end = answer.index("{"), answer.rindex("}") + 1
    headers = json.loads(answer[start:end])["headers"]
    return headers["X-Client-Ssl-Cn"], headers["X-Client-Ssl-Issuer"]


def is_told(name: str) -> tuple[str, str]:
    return f"CN=ML Client {name}", "CN=ML Client Root CA,O=Test Org"


def shell(command: list[str] | str, directory: Path, **options: t.Any) -> str:
    arguments = command if isinstance(command, list) else [shutil.which("sh") or "", "-euc", command]
    done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("place", ["as it is", "moved: a 'strange' \\ place"])
def test_curl_sh_gets_in_from_any_directory(site: Site, tmp_path: Path, place: str) -> None:
    need("curl")
    directory = site.clients / "curl"
    if place != "as it is":
        directory = tmp_path / place
        shutil.copytree(site.clients / "curl", directory)
    environment = {**os.environ, "https_proxy": "http://127.0.0.1:1"}  # of no use on this host
    for where in (tmp_path, directory):
        assert identity(shell([str(directory / "curl.sh")], where, env=environment)) == is_told("curl")
    relative = os.path.relpath(directory / "curl.sh", tmp_path)
    assert identity(shell([relative], tmp_path)) == is_told("curl")


def test_curl_sh_takes_options_of_curl_and_another_url(site: Site, tmp_path: Path) -> None:
    need("curl")
    script = str(site.clients / "phone/curl.sh")
    assert shell([script, "--include"], tmp_path).startswith("HTTP/")
    assert shell([script, "--output", "kept.json"], tmp_path) == ""
    assert identity((tmp_path / "kept.json").read_text()) == is_told("phone")
    url = f"https://{runtimes.HOST}/status/418"
    assert shell([script, "--write-out", "%{http_code}", "--output", "/dev/null", url], tmp_path) == "418"


def test_curl_sh_trusts_nobody_but_the_server_s_ca(site: Site, tmp_path: Path) -> None:
    need("curl")
    directory = tmp_path / "curl"
    shutil.copytree(site.clients / "curl", directory)
    (directory / "server-ca.crt").write_bytes(site.home.ca_cert.read_bytes())
    done = subprocess.run([directory / "curl.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (60, "")  # the peer's certificate cannot be authenticated


def test_the_commands_of_the_readme_work_as_they_stand(site: Site) -> None:
    need("curl", "openssl")
    directory = site.clients / "curl"
    assert "ML Client curl" in shell(site.block("sh", "openssl x509"), directory)
    assert '"X-Client-Ssl-Cn"' in shell(site.block("sh", "./curl.sh"), directory)
    assert identity(shell(site.block("sh", "curl --connect-to"), directory)) == is_told("curl")
    code = site.block("python", "http.client")
    assert identity(shell([sys.executable, "-c", code], directory)) == is_told("curl")


def test_a_client_makes_its_own_pkcs12_file_as_the_readme_says(site: Site, tmp_path: Path) -> None:
    need("openssl")
    directory = tmp_path / "robot"
    site.home.run(
        site.home.client("robot", directory=str(directory)), register=None, now=datetime.datetime.now(datetime.UTC)
    )
    handover.run(handover.HandoverOptions(tmp_path, ("robot",), site.address, site.server.ca_cert, check_mode=False))
    text = (directory / "README.md").read_text()
    (command,) = re.findall(r"```sh\n(openssl pkcs12.*?)```", text, re.DOTALL)
    shell(command.replace("-export", "-export -passout env:PASSWORD"), directory, env={**os.environ, "PASSWORD": "p"})
    made = pkcs12.load_pkcs12((directory / "client.p12").read_bytes(), b"p")
    assert made.cert is not None
    assert made.cert.certificate == x509.load_pem_x509_certificate((directory / "client.crt").read_bytes())


@pytest.mark.parametrize(("name", "arguments"), [("curl", []), ("phone", ["-legacy"])])
def test_openssl_opens_the_pkcs12_file(site: Site, name: str, arguments: list[str]) -> None:
    need("openssl")
    environment = {**os.environ, "PASSWORD": PASSWORDS[name]}
    command = ["openssl", "pkcs12", "-in", "client.p12", "-passin", "env:PASSWORD", "-nodes"]
    if "-legacy" not in shell(["sh", "-c", "openssl pkcs12 -help 2>&1"], site.clients):
        arguments = []  # before OpenSSL 3 there was nothing to switch on
    shown = shell([*command, *arguments], site.clients / name, env=environment)
    assert (site.clients / name / "client.crt").read_text().strip() in shown
    assert "BEGIN PRIVATE KEY" in shown
    done = subprocess.run(
        [*command, *arguments],
        cwd=site.clients / name,
        env={**os.environ, "PASSWORD": "wrong"},
        check=False,
        capture_output=True,
    )
    assert done.returncode != 0


@pytest.mark.parametrize("name", ["curl", "phone"])
def test_nss_opens_the_pkcs12_file(site: Site, tmp_path: Path, name: str) -> None:
    need("certutil", "pk12util")
    (tmp_path / "password").write_text(PASSWORDS[name])
    shell(["certutil", "-N", "-d", f"sql:{tmp_path}", "--empty-password"], tmp_path)
    p12 = str(site.clients / name / "client.p12")
    shell(["pk12util", "-i", p12, "-d", f"sql:{tmp_path}", "-w", "password"], tmp_path)
    assert (
        shell(["certutil", "-L", "-d", f"sql:{tmp_path}", "-n", name, "-a"], tmp_path).split()
        == (site.clients / name / "client.crt").read_text().split()
    )
    assert shell(["certutil", "-K", "-d", f"sql:{tmp_path}"], tmp_path).count(name) == 1


class Browser:
    """Headless Chromium with a home of its own, in which only what the test puts there is trusted."""

    FLAGS = (
        *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
        *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1000,700"),
    )

    def __init__(self, home: Path, site: Site) -> None:
        self.site = site
        self.home = home
        self.database = home / ".pki/nssdb"
        profile = home / "profile/Default"
        profile.mkdir(parents=True)
        # What the policy AutoSelectCertificateForUrls would say, kept in the profile: nobody is there to choose.
        chosen = {f"https://{runtimes.HOST}:{site.runtime.port},*": {"setting": {"filters": [{}]}}}
        settings = {"profile": {"content_settings": {"exceptions": {"auto_select_certificate": chosen}}}}
        (profile / "Preferences").write_text(json.dumps(settings))

    def trust(self, *, clients: tuple[str, ...] = ()) -> None:
        """Trust the server's CA as the role trust does, and import clients' PKCS#12 files by hand."""
        options = trust.TrustOptions(
            certificate=self.site.server.ca_cert,
            content=None,
            is_present=True,
            is_system=False,
            system_directory=None,
            system_command=(),
            databases=(self.database,),
            record=None,
            obsolete=(),
            check_mode=False,
        )
        trust.run(options)
        assert not trust.run(options)["changed"]
        for name in clients:
            password = self.home / "password"
            password.write_text(PASSWORDS[name])
            p12 = str(self.site.clients / name / "client.p12")
            shell(["pk12util", "-i", p12, "-d", f"sql:{self.database}", "-w", str(password)], self.home)

    def open(self, *arguments: str) -> tuple[str, str]:
        """Open the address for browsers; give the page and what Chromium complains of."""
        program = next(path for name in ("chromium", "google-chrome") if (path := shutil.which(name)))
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root
        command = [program, *self.FLAGS, *sandbox, f"--user-data-dir={self.home / 'profile'}"]
        resolve = f"--host-resolver-rules=MAP {runtimes.HOST} 127.0.0.1"
        done = subprocess.run(
            [*command, resolve, *(arguments or ("--dump-dom",)), self.site.address.browser_url],
            env={**os.environ, "HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout, done.stderr


@pytest.fixture
def browser(site: Site) -> t.Iterator[Browser]:
    if not any(shutil.which(name) for name in ("chromium", "google-chrome")):
        pytest.skip("chromium is not installed")
    need("certutil", "pk12util")
    with tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as directory:
        yield Browser(Path(directory), site)


@pytest.mark.parametrize("name", ["curl", "phone"])
def test_chromium_gets_in_as_the_client_whose_pkcs12_file_it_has(browser: Browser, name: str) -> None:
    browser.trust(clients=(name,))
    page, complaints = browser.open()
    assert "X-Client-Ssl-Cn" in page, complaints
    assert identity(page) == is_told(name)
    if SCREENSHOTS:
        browser.open(f"--screenshot={Path(SCREENSHOTS).absolute() / f'chromium-{name}.png'}")


def test_chromium_is_refused_until_it_has_a_certificate(browser: Browser) -> None:
    browser.trust()
    page, complaints = browser.open()
    assert "X-Client-Ssl-Cn" not in page
    # The second when the browser notices the closed connection before the alert that was sent on it.
    assert re.search("ERR_BAD_SSL_CLIENT_AUTH_CERT|ERR_SOCKET_NOT_CONNECTED", complaints), complaints
    browser.trust(clients=("curl",))
    page, complaints = browser.open()
    assert "X-Client-Ssl-Cn" in page, complaints


def test_chromium_does_not_trust_the_gateway_by_itself(browser: Browser) -> None:
    page, complaints = browser.open()
    assert "X-Client-Ssl-Cn" not in page
    assert "ERR_CERT_AUTHORITY_INVALID" in complaints
