# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real servers for tests: started on loopback from what is on PATH, well configured or misconfigured on demand."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kyma.mtls.tests.servers import envoy
from ansible_collections.kyma.mtls.tests.servers.pki import PEM
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki

__all__ = ["KINDS", "PEM", "Place", "Running", "Setting", "find", "start"]
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
# A listener that takes so long to come up does not come up.
_PATIENCE_SECONDS = 20.0
_CA_HEADERS = {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT%", "X-CLIENT-SSL-ISSUER": "%DOWNSTREAM_PEER_ISSUER%"}


def find(program: str) -> str | None:
    """Return where ``program`` is, also when only root's PATH has it."""
    return shutil.which(program, path=_PATH)


@dataclass
class Setting:
    """How a server differs from a sound one.

    ``client_auth``: required, off, optional or no_ca; ``only`` (openssl): the one TLS version, as 1_2 or 1_3;
    ``status`` (nginx): the answer to everybody who gets in; ``condition`` (haproxy): what tells who gets in;
    ``uri_san`` (envoy): the SAN that tells it; ``more`` (envoy): further filter chains, by what differs in them;
    ``headers`` (envoy): identity headers of its own; ``underscores`` (envoy): what becomes of names that have any;
    ``trusted_unnamed`` (nginx, haproxy, apache): a file of all CAs that are trusted, beside those that are named;
    ``host`` (envoy): the address to listen on;
    ``keeps_connection`` (apache): what Connection names is removed, the identity headers too;
    ``only_http_2`` (envoy, haproxy): "alpn" agrees on it, "known" speaks it without agreeing on anything.
    """

    client_auth: str = "required"
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    crl: str = ""
    old_tls: bool = False
    pass_headers: bool = False
    any_name: bool = False
    http_10: bool = False
    only: str = ""
    status: int = 0
    condition: str = ""
    uri_san: str = ""
    more: tuple[dict[str, t.Any], ...] = ()
    headers: dict[str, str] | None = None
    underscores: str = "ALLOW"
    keeps_connection: bool = False
    trusted_unnamed: str = ""
    host: str = "127.0.0.1"
    only_http_2: str = ""


@dataclass
class Place:
    """What a server gets: the PKI, a directory, its port, and the workload's."""

    pki: Pki
    directory: Path
    port: int
    upstream: int
    setting: Setting = field(default_factory=Setting)

    @property
    def certificate(self) -> str:
        return self.setting.certificate or self.pki.server.crt

    @property
    def key(self) -> str:
        return self.setting.key or self.pki.server.key_file

    @property
    def client_ca(self) -> str:
        return self.setting.client_ca or self.pki.client_ca.crt

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def bundle(self) -> Path:
        """Return one file with certificate and key, as HAProxy wants it."""
        return self.write("bundle.pem", Path(self.certificate).read_text() + Path(self.key).read_text())


def nginx(place: Place) -> list[str]:
    setting = place.setting
    verify = {"required": "on", "off": "off", "optional": "optional", "no_ca": "optional_no_ca"}[setting.client_auth]
    headers = (
        ""
        if setting.pass_headers
        else (
            "proxy_set_header X-CLIENT-SSL-CN $ssl_client_s_dn; proxy_set_header X-CLIENT-SSL-ISSUER $ssl_client_i_dn; "
            'proxy_set_header X-Forwarded-Client-Cert "";'
        )
    )
    protocols = "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3" if setting.old_tls else "TLSv1.2 TLSv1.3"
    ciphers = "ALL:@SECLEVEL=0" if setting.old_tls else "ECDHE+AESGCM:ECDHE+CHACHA20"
    client_ca = "" if setting.client_auth == "off" else f"ssl_client_certificate {place.client_ca};"
    if setting.trusted_unnamed:
        client_ca += f" ssl_trusted_certificate {setting.trusted_unnamed};"
    crl = f"ssl_crl {setting.crl};" if setting.crl else ""
    temporary = "".join(
        f"{one}_temp_path {place.directory}/{one};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    other = f"server {{ listen 127.0.0.1:{place.port} ssl default_server; ssl_reject_handshake on; return 421; }}"
    proxied = f" proxy_pass http://127.0.0.1:{place.upstream};"
    config = f"""
daemon off; worker_processes 1; pid {place.directory}/nginx.pid; error_log {place.directory}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; {temporary} ssl_protocols {protocols}; ssl_ciphers {ciphers}; large_client_header_buffers 8 64k;
  {"" if setting.any_name else other}
  server {{
    listen 127.0.0.1:{place.port} ssl; server_name httpbin.mtls.test;
    ssl_certificate {place.certificate}; ssl_certificate_key {place.key};
    ssl_session_cache shared:tls:1m;
    {client_ca} {crl} ssl_verify_client {verify}; ssl_verify_depth 3;
    location / {{ {f"return {setting.status};" if setting.status else headers + proxied} }}
  }}
}}
"""
    return ["nginx", "-e", str(place.directory / "start.log"), "-c", str(place.write("nginx.conf", config))]


def apache(place: Place) -> list[str]:
    setting = place.setting
    verify = {"required": "require", "off": "none", "optional": "optional", "no_ca": "optional_no_ca"}
    modules = "/usr/lib/apache2/modules"
    loaded = "\n".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so"
        for name in ("mpm_event", "authz_core", "headers", "proxy", "proxy_http", "socache_shmcb", "ssl")
    )
    headers = (
        ""
        if setting.pass_headers
        else (
            'RequestHeader set X-CLIENT-SSL-CN "%{SSL_CLIENT_S_DN}s"\n'
            'RequestHeader set X-CLIENT-SSL-ISSUER "%{SSL_CLIENT_I_DN}s"\n'
            "RequestHeader unset X-Forwarded-Client-Cert\n"
            # mod_proxy removes what Connection names, after mod_headers has set it.
            f"{'' if setting.keeps_connection else 'RequestHeader unset Connection'}"
        )
    )
    crl = f"SSLCARevocationFile {setting.crl}\nSSLCARevocationCheck chain no_crl_for_cert_ok" if setting.crl else ""
    client_ca = "" if setting.client_auth == "off" else f"SSLCACertificateFile {place.client_ca}"
    if setting.trusted_unnamed:
        client_ca = f"SSLCACertificateFile {setting.trusted_unnamed}\nSSLCADNRequestFile {place.client_ca}"
    common = f"""
SSLEngine on
SSLCertificateFile {place.certificate}
SSLCertificateKeyFile {place.key}
SSLProtocol {"all +TLSv1 +TLSv1.1" if setting.old_tls else "-all +TLSv1.2 +TLSv1.3"}
SSLCipherSuite {"ALL:@SECLEVEL=0" if setting.old_tls else "ECDHE+AESGCM:ECDHE+CHACHA20"}
SSLVerifyClient {verify[setting.client_auth]}
SSLVerifyDepth 3
{client_ca}
{crl}
"""
    config = f"""
ServerRoot {place.directory}
PidFile {place.directory}/httpd.pid
ErrorLog {place.directory}/error.log
Listen 127.0.0.1:{place.port}
ServerName localhost
{loaded}
LimitRequestFieldSize 65536
SSLSessionCache shmcb:{place.directory}/sessions(512000)
Mutex file:{place.directory}
SSLStrictSNIVHostCheck {"off" if setting.any_name else "on"}
<VirtualHost 127.0.0.1:{place.port}>
ServerName default.invalid
{common}
<Location />
Require all denied
</Location>
</VirtualHost>
<VirtualHost 127.0.0.1:{place.port}>
ServerName httpbin.mtls.test
{common}
{headers}
ProxyPass / http://127.0.0.1:{place.upstream}/
</VirtualHost>
"""
    return ["apache2", "-X", "-f", str(place.write("httpd.conf", config))]


def haproxy(place: Place) -> list[str]:
    setting = place.setting
    options = {
        "off": "",
        "required": f"ca-file {place.client_ca} verify required",
        "optional": f"ca-file {place.client_ca} verify optional",
        "no_ca": f"ca-file {place.client_ca} verify optional ca-ignore-err all crt-ignore-err all",
    }[setting.client_auth]
    if setting.crl:
        options += f" crl-file {setting.crl}"
    if setting.trusted_unnamed:
        options += f" ca-verify-file {setting.trusted_unnamed}"
    if not setting.any_name:
        options += " strict-sni"
    options += " ssl-min-ver TLSv1.0 ciphers ALL:@SECLEVEL=0" if setting.old_tls else " ssl-min-ver TLSv1.2"
    protocols = {"": "alpn h2,http/1.1", "alpn": "alpn h2 proto h2", "known": "proto h2"}[setting.only_http_2]
    headers = (
        ""
        if setting.pass_headers
        else """
  http-request set-header X-CLIENT-SSL-CN %[ssl_c_s_dn(,0,rfc2253)]
  http-request set-header X-CLIENT-SSL-ISSUER %[ssl_c_i_dn(,0,rfc2253)]
  http-request del-header X-Forwarded-Client-Cert"""
    )
    config = f"""
global
  ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20
  tune.bufsize 65536
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 5s
frontend gateway
  bind 127.0.0.1:{place.port} ssl crt {place.bundle()} {options} {protocols}
  {"" if setting.any_name else "http-request return status 421 unless { hdr(host) -i httpbin.mtls.test }"}{headers}
  {f"http-request deny unless {setting.condition}" if setting.condition else ""}
  default_backend workload
backend workload
  server one 127.0.0.1:{place.upstream}
"""
    return ["haproxy", "-db", "-f", str(place.write("haproxy.cfg", config))]


def stunnel(place: Place) -> list[str]:
    setting = place.setting
    verify = {
        "required": f"CAfile = {place.client_ca}\nverifyChain = yes\nrequireCert = yes",
        "off": "",
        "optional": f"CAfile = {place.client_ca}\nverifyChain = yes\nrequireCert = no",
        "no_ca": f"CAfile = {place.client_ca}\nverify = 0",
    }[setting.client_auth]
    old = "sslVersionMin = TLSv1\nciphers = ALL:@SECLEVEL=0\nsecurityLevel = 0"
    config = f"""
foreground = yes
syslog = no
debug = 3
pid =
[gateway]
accept = 127.0.0.1:{place.port}
connect = 127.0.0.1:{place.upstream}
cert = {place.certificate}
key = {place.key}
{f"CRLfile = {setting.crl}" if setting.crl else ""}
{old if setting.old_tls else "sslVersionMin = TLSv1.2" + chr(10) + "ciphers = ECDHE+AESGCM:ECDHE+CHACHA20"}
{verify}
"""
    return ["stunnel", str(place.write("stunnel.conf", config))]


def openssl(place: Place) -> list[str]:
    setting = place.setting
    verify = {
        "required": ["-CAfile", place.client_ca, "-Verify", "3", "-verify_return_error"],
        "off": [],
        "optional": ["-CAfile", place.client_ca, "-verify", "3", "-verify_return_error"],
        "no_ca": ["-CAfile", place.client_ca, "-Verify", "3"],
    }[setting.client_auth]
    if setting.crl:
        verify += ["-CRL", setting.crl, "-crl_check"]
    old = ["-cipher", "ALL:@SECLEVEL=0", "-min_protocol", "TLSv1"]
    new = ["-cipher", "ECDHE+AESGCM:ECDHE+CHACHA20"]
    new += [f"-tls{setting.only}"] if setting.only else ["-min_protocol", "TLSv1.2"]
    first, *above = Path(place.certificate).read_text().split("-----END CERTIFICATE-----\n")[:-1]
    del first
    intermediates = "".join(f"{one}-----END CERTIFICATE-----\n" for one in above)
    chain = ["-cert_chain", str(place.write("above.pem", intermediates))] if above else []
    return [
        *("openssl", "s_server", "-accept", f"127.0.0.1:{place.port}", "-quiet", "-www", "-cert", place.certificate),
        *("-key", place.key, *chain, *verify, *(old if setting.old_tls else new)),
    ]


def gnutls(place: Place) -> list[str]:
    setting = place.setting
    verify = {
        "required": ["--x509cafile", place.client_ca, "--require-client-cert", "--verify-client-cert"],
        "off": ["--disable-client-cert"],
        "optional": ["--x509cafile", place.client_ca, "--verify-client-cert"],
        "no_ca": ["--x509cafile", place.client_ca, "--require-client-cert"],
    }[setting.client_auth]
    if setting.crl:
        verify += ["--x509crlfile", setting.crl]
    old = "NORMAL:+VERS-TLS1.0:+VERS-TLS1.1"
    new = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-AES-128-CBC:-AES-256-CBC:%SAFE_RENEGOTIATION"
    return [
        *("gnutls-serv", "--http", "--port", str(place.port), "--x509certfile", place.certificate),
        *("--x509keyfile", place.key, "--priority", old if setting.old_tls else new, *verify),
    ]


def envoy_server(place: Place) -> list[str]:
    setting = place.setting
    gateway = envoy.Gateway(
        certificate=place.certificate,
        key=place.key,
        client_ca=place.client_ca,
        crl=setting.crl or None,
        ask=setting.client_auth != "off",
        require=setting.client_auth == "required",
        trust_chain="ACCEPT_UNTRUSTED" if setting.client_auth == "no_ca" else "VERIFY_TRUST_CHAIN",
        minimum="TLSv1_0" if setting.old_tls else None,
        ciphers=("ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA") if setting.old_tls else (),
        headers={} if setting.pass_headers else dict(setting.headers or envoy.IDENTITY_HEADERS),
        underscores=setting.underscores,
        host=setting.host,
        any_name=setting.any_name,
        http_10=setting.http_10,
        forward="ALWAYS_FORWARD_ONLY" if setting.pass_headers else "SANITIZE_SET",
        uri_san=setting.uri_san,
        only_http_2=setting.only_http_2,
    )
    gateways = [gateway, *(dataclasses.replace(gateway, **changes) for changes in setting.more)]
    admin = str(place.directory / "admin.sock")
    path = envoy.write_config(
        place.directory, place.pki, port=place.port, admin=admin, upstream=place.upstream, gateways=gateways
    )
    return ["envoy", "-c", str(path), "-l", "error", "--concurrency", "1", "--disable-hot-restart"]


@dataclass(frozen=True)
class Kind:
    """One kind of server: its program, how to start it, and the identity headers that it can make."""

    program: str
    command: t.Callable[[Place], list[str]]
    headers: t.Mapping[str, str]
    revokes: bool = True
    names: bool = True


KINDS = {
    "envoy": Kind("envoy", envoy_server, envoy.IDENTITY_HEADERS),
    "nginx": Kind("nginx", nginx, _CA_HEADERS),
    "apache": Kind("apache2", apache, _CA_HEADERS),
    "haproxy": Kind("haproxy", haproxy, _CA_HEADERS),
    "stunnel": Kind("stunnel", stunnel, {}, names=False),
    "openssl": Kind("openssl", openssl, {}, names=False),
    "gnutls": Kind("gnutls-serv", gnutls, {}, names=False),
}


@dataclass
class Running:
    """A started server."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    host: str = "127.0.0.1"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def stop(self) -> None:
        """End it with all that it started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start(kind: str, pki: Pki, directory: Path, upstream: int, setting: Setting | None = None) -> Running:
    """Start a server of ``kind`` and wait until it listens. Raises RuntimeError with its log when it does not."""
    directory.mkdir(parents=True, exist_ok=True)
    place = Place(pki, directory, free_port(), upstream, setting or Setting())
    command = KINDS[kind].command(place)
    command[0] = find(KINDS[kind].program) or command[0]
    log = directory / "output.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd=directory
        )
    running = Running(place.port, process, log, place.setting.host)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _listens(place.port):
            return running
        time.sleep(0.02)
    running.stop()
    raise RuntimeError(f"{kind} did not start: {log.read_text(errors='replace')[-2000:]}")


def _listens(port: int) -> bool:
    """Look without connecting: a test connection would be a client to some of these servers."""
    wanted = f"{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _lines(table):
            fields = line.split()
            if fields[1].endswith(f":{wanted}") and fields[3] == "0A":
                return True
    return False


def _lines(path: str) -> Iterator[str]:
    table = Path(path)
    if table.exists():
        yield from table.read_text().splitlines()[1:]
