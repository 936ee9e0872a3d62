# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""mtls_verify: the whole matrix, and many listed clients beside loops over uri and curl, and openssl s_time.

All connect to the same Envoy (RSA 2048 on both sides, a workload behind it) and make the same request, each with a new
handshake and a client certificate. A task's time is that of a whole ansible-playbook run less an empty play; loops are
measured with fewer items. openssl s_time counts for itself, one connection after the other. The floor is a bare loop
over Python's ssl, which judges nothing: it loads each client's certificate and key, connects and asks.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import harness, plays
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.workload import Workload

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench

COUNTS = (20, 100, 1000)
URI_ITEMS = 20
CURL_ITEMS = 100
S_TIME_SECONDS = 5
S_TIME = "openssl s_time -new -www PATH, with a client certificate"
KEYS = 4
CURL_LOOP = """
while read -r certificate key; do
    curl --silent --fail --output /dev/null --connect-to "{host}:443:{address}" --cacert "{ca}" \\
        --cert "$certificate" --key "$key" "https://{host}/headers" || exit 1
done <"{clients}"
"""


def measure(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        pki = pki_module.make_pki(directory / "pki", kind="rsa")
        clients = _make_clients(pki, bench.sizes(*COUNTS)[-1])
        workload = Workload()
        server = real.start("envoy", pki, directory / "envoy", workload.port, real.Setting(any_name=True, http_10=True))
        try:
            _measure(bench, directory, pki, clients, server)
        finally:
            server.stop()
            workload.stop()


def _make_clients(pki: pki_module.Pki, count: int) -> list[dict[str, str]]:
    """Return ``count`` certificates of their own subjects; a few keys are enough for that."""
    keys = [pki_module.new_key("rsa") for _key in range(KEYS)]
    clients = []
    for number in range(count):
        holder = pki.client_certificate(f"client-{number}", key=keys[number % KEYS])
        clients.append({"name": f"client-{number}", "cert": holder.crt, "key": holder.key_file})
    return clients


def _measure(
    bench: Bench, directory: Path, pki: pki_module.Pki, clients: list[dict[str, str]], server: real.Running
) -> None:
    common = {
        "url": f"https://{pki_module.HOST}/headers",
        "connect_to": server.address,
        "ca": [pki.server_ca.crt],
        "client_cert": pki.client.crt,
        "client_key": pki.client.key_file,
        "identity_headers": dict(real.KINDS["envoy"].headers),
    }
    empty, module = plays.floor(bench)

    whole = {"kyma.mtls.mtls_verify": {**common, **_authority(pki)}}
    matrix = bench.measure("whole matrix (a play of one task)", lambda: plays.tasks(whole))
    seconds = matrix.wall - empty.wall
    floor = f"a module that does nothing is {module.wall - empty.wall:.1f} s of it"
    bench.target("full verification matrix", "at most 2 s", f"{seconds:.2f} s", is_met=seconds <= 2, distance=floor)

    listed = {**common, "checks": ["MV-23", "MV-40"], "clients": "{{ clients }}"}
    rates = {}
    for count in (one for one in COUNTS if one <= len(clients)):
        values = {"clients": clients[:count]}
        figure = bench.measure(
            f"{count} listed clients (a play of one task)",
            lambda values=values: plays.tasks({"kyma.mtls.mtls_verify": listed}, values=values),  # type: ignore[misc]
        )
        rates["one task"] = count / (figure.wall - empty.wall)
        bench.point("verify", "kyma.mtls.mtls_verify, one task", count, figure.wall - empty.wall)
    uri = {
        "url": f"https://{server.address}/headers",
        "headers": {"Host": pki_module.HOST},
        "ca_path": pki.server_ca.crt,
        "client_cert": "{{ item.cert }}",
        "client_key": "{{ item.key }}",
        "validate_certs": False,
    }
    loop = {"ansible.builtin.uri": uri, "loop": clients[:URI_ITEMS]}
    looped = bench.measure(f"loop over ansible.builtin.uri, {URI_ITEMS} items", lambda: plays.tasks(loop))
    rates["uri"] = URI_ITEMS / (looped.wall - empty.wall)
    script = _curl_script(directory, pki, clients, server.address)
    curled = bench.measure("shell loop over curl", lambda: harness.run("sh", script).cost)
    rates["curl"] = len(clients[:CURL_ITEMS]) / curled.wall
    rates["bare loop"] = max(_bare_loop(clients, server.address) for _run in range(1 if bench.quick else 3))
    rates["s_time"] = max(_s_time(pki, server.address) for _run in range(1 if bench.quick else 3))
    for name in ("uri", "curl"):
        bench.point("verify", f"loop over {name}", 1, 1 / rates[name])
        bench.point("verify", f"loop over {name}", len(clients), len(clients) / rates[name])
    bench.note("clients a second: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))
    loading = _loading(clients[:CURL_ITEMS]) * 1000
    bench.note(f"a client's certificate and key take OpenSSL {loading:.2f} ms of CPU to load")
    each = (
        f"s_time presents one certificate and key each time; to load each client's takes {loading:.2f} ms, and a bare "
        f"loop that does it and judges nothing has {rates['bare loop'] / rates['s_time']:.2f} times the rate of s_time"
    )
    for name, what, least in (("uri", "a loop over uri", 5.0), ("s_time", S_TIME, 1.2)):
        ratio = rates["one task"] / rates[name]
        bench.target(
            f"{len(clients)} listed clients in one task against {what}",
            f"at least {least:g} times its rate",
            f"{ratio:.2f} times ({rates['one task']:.0f} against {rates[name]:.0f} clients/s)",
            is_met=ratio >= least,
            distance=each,
        )


def _loading(clients: list[dict[str, str]]) -> float:
    """Return the CPU seconds for each client's certificate and key, in a context that is there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    began = time.process_time()
    for client in clients:
        context.load_cert_chain(client["cert"], client["key"])
    return (time.process_time() - began) / len(clients)


def _bare_loop(clients: list[dict[str, str]], address: str) -> float:
    """Return how many clients a second are answered, with as many threads as mtls_verify has, and without a verdict."""
    host, _colon, port = address.rpartition(":")
    request = f"GET /headers HTTP/1.1\r\nHost: {pki_module.HOST}\r\nConnection: close\r\n\r\n".encode()
    of_thread = threading.local()

    def ask(client: dict[str, str]) -> None:
        context = of_thread.__dict__.get("context")
        if context is None:
            context = of_thread.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(client["cert"], client["key"])
        with socket.create_connection((host, int(port))) as connection:
            # Otherwise the request waits for the acknowledgement of the handshake's last message.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(connection, server_hostname=pki_module.HOST) as tls:
                tls.sendall(request)
                answer = b""
                while part := tls.recv(65536):
                    answer += part
        if b" 200 " not in answer[:20]:
            raise RuntimeError(f"{client['name']} was answered {answer[:20]!r}")

    began = time.perf_counter()
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(ask, clients))
    return len(clients) / (time.perf_counter() - began)


def _authority(pki: pki_module.Pki) -> dict[str, t.Any]:
    return {"client_ca_cert": [pki.client_ca.crt], "client_ca_key": pki.client_ca.key_file}


def _curl_script(directory: Path, pki: pki_module.Pki, clients: list[dict[str, str]], address: str) -> Path:
    listed = directory / "clients.txt"
    listed.write_text("".join(f"{one['cert']} {one['key']}\n" for one in clients[:CURL_ITEMS]))
    script = directory / "loop.sh"
    script.write_text(CURL_LOOP.format(host=pki_module.HOST, address=address, ca=pki.server_ca.crt, clients=listed))
    return script


def _s_time(pki: pki_module.Pki, address: str) -> float:
    """Return the connections per second of openssl s_time."""
    command = [
        *("openssl", "s_time", "-connect", address, "-new", "-time", str(S_TIME_SECONDS), "-www", "/headers"),
        *("-cert", pki.client.crt, "-key", pki.client.key_file, "-CAfile", pki.server_ca.crt),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"(\d+) connections in (\d+) real seconds, (\d+) bytes read", done.stdout)
    if not found or int(found[3]) < 100:
        raise SystemExit(f"openssl s_time got no answers: {done.stdout[-500:]}")
    # Its real seconds are whole ones, begun and ended anywhere within.
    return int(found[1]) / S_TIME_SECONDS
