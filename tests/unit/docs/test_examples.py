# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of plugins, roles and guides runs as it stands, in one playbook, on a machine made of stand-ins.

A new example runs without a line here, between ``BEFORE`` and ``AFTER``; it is named in one of them only when it needs
what another one makes.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import typing as t
from pathlib import Path
from unittest import mock

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from ansible_collections.kyma.mtls.plugins.module_utils._local import launch
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api.cluster import Cluster
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api.server import Server
from ansible_collections.kyma.mtls.tests.limbo import zoo
from ansible_collections.kyma.mtls.tests.servers import names, openbao
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit import softhsm
from ansible_collections.kyma.mtls.tests.unit.docs import pages
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local.runtimes import wait_for
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import make_home
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import Host

Json = dict[str, t.Any]

ISTIO = "istio/releases/download/1.30.0/istio-manager.yaml"
API_GATEWAY = "api-gateway/releases/download/3.10.0/api-gateway-manager.yaml"
SITE = "the default site"
FORGET_KUBECONFIG = "the kubeconfig is gone"
#: What runs first, in this order: what the site and the examples after it need.
BEFORE = (
    "modules/certificate_batch",
    "roles/cluster/README.md#1",
    "roles/modules/README.md#1",
    SITE,
    # Before other examples move the PKI elsewhere.
    "roles/monitor/README.md#1",
    "docs/monitoring.md#1",
    "docs/own-pki.md#5",
    "roles/verify/README.md#2",
)
#: What runs last, in this order: what changes the site, clusters, and what takes all of it away.
AFTER = (
    "roles/gateway/README.md#1",
    "docs/kubernetes.md#1",
    # It reads the Secret that the gateway has by then.
    "modules/cluster_certificate_info",
    "roles/httpbin/README.md#1",
    FORGET_KUBECONFIG,
    "modules/k3d_cluster",
    "roles/cluster/README.md#2",
    "roles/cluster/README.md#4",
    "modules/local_runtime",
)
#: What not every machine has.
NEEDS = {
    "modules/trust_store": ("certutil",),
    "roles/trust/README.md#1": ("certutil",),
    "modules/pki": ("pkcs11-tool", "bao"),
}
#: The roles make CAs of their own: each of these READMEs gets a directory to itself.
OWN_DIRECTORY = ("authority", "server_pki", "client_pki")


def examples() -> dict[str, list[Json]]:
    """Name -> plays, of every example there is; what two pages show is there once."""
    found = {}
    shown: list[Json] = []
    for path in pages.plugins():
        tasks = yaml.safe_load(pages.constant(path, "EXAMPLES"))
        found[f"{path.parent.name}/{path.stem}"] = [play_of(tasks)]
        shown += [play_of([task]) for task in tasks]
    # READMEs of roles first, as tests name them; a guide may repeat what they show.
    for block in sorted(pages.blocks("yaml"), key=lambda one: not one.page.startswith("roles/")):
        plays = plays_of(block.data)
        role = block.page.split("/")[1] if block.page.startswith("roles/") else ""
        if role in OWN_DIRECTORY:
            plays = json.loads(json.dumps(plays).replace("~/pki/", f"~/{role}/"))
        if plays and not all(play in shown for play in plays):
            found[block.name] = plays
            shown += plays
    return found


def plays_of(data: t.Any) -> list[Json]:
    """A block's plays; none when it holds variables."""
    if not isinstance(data, list):
        return []
    if all("hosts" in one or "ansible.builtin.import_playbook" in one for one in data):
        return t.cast("list[Json]", data)
    return [play_of(data)]


def play_of(tasks: list[Json]) -> Json:
    return {"hosts": "gateway", "gather_facts": False, "tasks": tasks}


FIXTURES: dict[str, list[Json]] = {
    SITE: [
        {
            "hosts": "gateway",
            "gather_facts": False,
            "roles": [f"kyma.mtls.{role}" for role in ("server_pki", "client_pki", "gateway", "httpbin")],
        }
    ],
    FORGET_KUBECONFIG: [
        play_of([{"ansible.builtin.file": {"path": "~/.kyma-mtls/kubeconfig", "state": "absent"}}]),
    ],
}


class Machine:
    """A host with a home, certificates, a package index, and stand-ins for k3d, Docker and a cluster with Kyma."""

    def __init__(self, directory: Path) -> None:
        self.examples = {**examples(), **FIXTURES}
        self.host = Host(directory)
        self.home = self.host.home
        self.mirror = directory / "mirror"
        self.digests = manifests.write(self.mirror)
        self.replacements: dict[str, str] = {}
        self.variables: Json = {}
        self._stack = contextlib.ExitStack()
        with mock.patch.object(zoo, "NOW", datetime.datetime.now(datetime.UTC)):
            self._make_certificates()
        self._make_authorities()
        self.token_environment: dict[str, str] = {}
        if softhsm.find_module() is not None:
            token = softhsm.make_token(directory / "hsm")
            token.create_key("client-ca")
            self.token_environment = token.environment

    def __enter__(self) -> t.Self:
        self._stack.callback(self._end_processes)
        ports = [free_port() for _number in range(6)]
        download = self._serve_downloads()
        bao = self._start_openbao()
        self._start_cluster()
        zones = self._stack.enter_context(names.running())
        self.variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "gateway_port": ports[0],
            "spare_port": ports[4],
            "cluster_http_port": ports[2],
            "cluster_https_port": ports[3],
            "cluster_k3d_source": download,
            "cluster_kubectl_source": download,
            "cluster_k3d_sha256": {"linux-amd64": self.tool_digest, "linux-arm64": self.tool_digest},
            "cluster_kubectl_sha256": {"linux-amd64": self.tool_digest, "linux-arm64": self.tool_digest},
            "vault_alice_p12_password": "of-the-test",
            "vault_client_ca_passphrase": "of-the-test",
            "vault_token_pin": softhsm.PIN,
            "vault_acme_tsig": names.KEY_SECRET,
            **{f"bao_{name}": value for name, value in bao.items()},
            "istio_manifest_sha256": self.digests[ISTIO],
            "api_gateway_manifest_sha256": self.digests[API_GATEWAY],
            # Units are written, and not started: systemd is the machine's, not the test's.
            "monitor_activate": False,
            "monitor_become": False,
            "monitor_systemd_directory": str(self.home / "etc/systemd"),
        }
        self.replacements = {
            r'"server": "192\.0\.2\.53"': f'"server": "127.0.0.1", "port": {zones.port}',
            r"/etc/(pki|gateway|ssl|prometheus)\b": rf"{self.home}/etc/\1",
            r"/var/lib/(prometheus/node-exporter|grafana/dashboards)\b": rf"{self.home}/var/\1",
            # One more port of the k3d cluster, whose number is that of the local gateway.
            r"\b8443:443@": f"{ports[5]}:443@",
            r"\b8443\b": str(ports[0]),
            r"\b9443\b": str(ports[1]),
            r"\b80:80@": f"{ports[2]}:80@",
            r"\b443:443@": f"{ports[3]}:443@",
            r"https://(mirror\.example|github)\.com/kyma-project\b": f"{download}/kyma-project",
            r"https://github\.com/k3d-io/k3d/releases/download": download,
            # Digests in examples are those of the real k3d and of Kyma's real manifest.
            r'"linux-amd64": "[0-9a-f]{64}"': f'"linux-amd64": "{self.tool_digest}"',
            r'"sha256": "[0-9a-f]{64}"': f'"sha256": "{self.digests[ISTIO]}"',
            r"https://bao\.example\.com:8200": bao.get("url", ""),
            # The endpoint of somebody else is the site's, by its own authority and without DNS.
            r"https://api\.example\.com/whoami": "https://httpbin.mtls.local.kyma.dev/headers",
        }
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def prepared(self, name: str, plays: list[Json]) -> list[Json]:
        """The plays with the stand-ins in the places of the internet, of well-known ports and of ``/etc``."""
        text = json.dumps(plays)
        for pattern, replacement in self.replacements.items():
            text = re.sub(pattern, replacement, text)
        prepared: list[Json] = json.loads(text)
        host = f"example-{sorted(self.examples).index(name)}"
        for play in prepared:
            play.setdefault("name", name)
            if "hosts" not in play:
                play.setdefault("vars", {})["mtls_target"] = host
            else:
                # A host of its own: what the roles of another example published as facts is unknown to it.
                play["hosts"] = host
                play["name"] = f"{name}: {play['name']}"
            if name.startswith("roles/gateway/README.md"):
                # It serves another domain: not at the site, whose APIRule it would leave without a Gateway.
                play.setdefault("vars", {}).update(mtls_home="~/apart", gateway_port=self.variables["spare_port"])
            if name.startswith("docs/kubernetes.md"):
                # The double serves no TLS; the site on this machine has the same certificates and answers for it.
                play.setdefault("vars", {})["verify_connect_to"] = f"127.0.0.1:{self.variables['gateway_port']}"
        return prepared

    def run(self, plays: list[Json]) -> subprocess.CompletedProcess[str]:
        directory = self.host.directory
        hosts = {f"example-{number}": None for number, _name in enumerate(self.examples)}
        (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": self.variables}}))
        (directory / "play.yml").write_text(json.dumps(plays))
        (directory / "ansible.cfg").write_text("[connection]\npipelining = true\n")
        (directory / "templates").mkdir(exist_ok=True)
        (directory / "templates/objects.yaml.j2").write_text("greeting: {{ greeting }}\n")
        return subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", directory / "inventory.json",
             directory / "play.yml"],
            capture_output=True,
            text=True,
            check=False,
            env={
                **self.host.environment,
                **self.token_environment,
                "PATH": f"{self.host.bin}{os.pathsep}{os.environ['PATH']}",
                "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(pages.ROOT / ".build/collections"),
                "ANSIBLE_NOCOLOR": "1",
                # Not as the plays' environment, which would take each module a process of its own.
                "SSL_CERT_FILE": str(self.home / ".kyma-mtls/pki/server/ca.crt"),
            },
        )  # fmt: skip

    def _make_certificates(self) -> None:
        """What the examples expect in /etc: a gateway's certificate, a client's, and one for a public server."""
        root, client_root = zoo.make("Root"), zoo.make("Client Root")
        middle = zoo.make("Middle", issuer=root)
        host = "httpbin.mtls.local.kyma.dev"
        end = zoo.leaf(middle, host, sans=[f"DNS:{host}"], days=(-1, 90))
        apps = zoo.leaf(root, "*.apps.example.com", sans=["DNS:*.apps.example.com"], days=(-1, 90))
        client = zoo.leaf(client_root, "client", eku=[zoo.CLIENT])
        files = {
            "pki/gateway/server.crt": end.pem,
            "pki/gateway/server.key": end.key_pem(),
            "pki/gateway/intermediates/middle.pem": middle.pem,
            "pki/gateway/ca.crt": root.pem,
            "pki/client/client.crt": client.pem,
            "pki/client/ca.crt": client_root.pem,
            "pki/client/ca.crl": zoo.crl(client_root),
            "pki/public/server.crt": end.pem,
            "pki/ours/client-ca.pem": client_root.pem,
            "pki/ours/client-ca.key": client_root.key_pem(),
            "pki/ours/tester.pem": client.pem,
            "pki/ours/tester.key": client.key_pem(),
            "ssl/certs/root.pem": root.pem,
            "gateway/chain.pem": apps.pem + root.pem,
            "gateway/tls.key": apps.key_pem(),
            "gateway/clients.pem": client_root.pem,
        }
        for name, content in files.items():
            path = self.home / "etc" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        bundle = pkcs7.serialize_certificates([middle.certificate], serialization.Encoding.PEM)
        (self.home / "etc/pki/public/intermediates.p7b").write_bytes(bundle)
        for name in ("etc/systemd", "etc/prometheus", "var/prometheus/node-exporter", "var/grafana/dashboards"):
            (self.home / name).mkdir(parents=True)
        # The endpoint of somebody else knows the site's client, whose certificate is only going to be made.
        (self.home / "etc/pki/me").symlink_to(self.home / ".kyma-mtls/pki/client/clients/curl")

    def _make_authorities(self) -> None:
        """CAs in ~/pki, for the modules that use some."""
        start = datetime.datetime.now(datetime.UTC) - zoo.DAY
        for side in ("client", "server"):
            directory = self.home / "pki" / side
            directory.mkdir(parents=True)
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            names = {"organization": f"ML {side.title()} Org", "common_name": f"ML {side.title()} Root CA"}
            make_home(directory, key=key, start=start, **names)

    def _start_cluster(self) -> None:
        """A cluster with Kyma's modules, under the names by which examples call it."""
        double = Cluster(kubernetes="v1.33.7")
        for key, value in clusters.QUICK.items():
            setattr(double.mishaps, key, value)
        for stored, body in manifests.a_cluster_has("v1.33.7"):
            double.store.set(stored, body)
        server = Server(double)
        self._stack.enter_context(server.running())
        server_of_k3d = server.kubeconfig(name="k3d-kyma", user="admin@k3d-kyma")
        (self.host.double / "api_server").write_text(yaml.safe_dump(server_of_k3d))
        known = server.kubeconfig()
        context = known["contexts"][0]["context"]
        known["contexts"] += [{"name": name, "context": context} for name in ("k3d-kyma", "my-cluster", "staging")]
        for name in (".kube/config", ".kyma-mtls/kubeconfig"):
            path = self.home / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_text(yaml.safe_dump(known))
        clusters.TestCluster(double, server, self.home / ".kube/config").install_kyma()
        gateway = clusters.gateway("kyma-gateway", mode="SIMPLE")
        gateway["metadata"]["namespace"] = "kyma-system"
        gateway["spec"]["servers"][0]["hosts"] = ["*.cluster.example.com"]
        double.store.set("gateways.networking.istio.io", gateway)
        manifest = self.home / ".kyma-mtls/manifests" / ISTIO
        manifest.parent.mkdir(parents=True)
        manifest.write_bytes((self.mirror / ISTIO).read_bytes())

    def _start_openbao(self) -> dict[str, str]:
        """Start a real OpenBao, if there is one; returns its address and a login."""
        program = openbao.find()
        if program is None:
            return {}
        bao = self._stack.enter_context(openbao.running(program, self.host.directory))
        bao.engine("pki")
        return {"url": bao.url, **bao.approle(bao.policy("pki"))}

    def _serve_downloads(self) -> str:
        """Stand-ins for releases of k3d, kubectl and Kyma's modules; returns the address."""
        content = (self.host.bin / "k3d").read_bytes()
        self.tool_digest = hashlib.sha256(content).hexdigest()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Download, content, self.mirror))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def _end_processes(self) -> None:
        """End what a failed run has left: everything that was started from this machine's directory."""
        for _round in range(3):  # supervisors first, so that nothing comes back
            found = self._processes()
            for pid in sorted(found, key=lambda one: "supervisord" not in found[one]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self._processes(), what="every process has ended")

    def _processes(self) -> dict[int, str]:
        lines = {int(path.name): launch.command_line(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
        return {pid: line for pid, line in lines.items() if str(self.home) in line and pid != os.getpid()}


class _Download(http.server.BaseHTTPRequestHandler):
    """Answers with Kyma's manifests below ``/kyma-project/``, and with the same program everywhere else."""

    def __init__(self, program: bytes, mirror: Path, *arguments: t.Any) -> None:
        self.program = program
        self.mirror = mirror
        super().__init__(*arguments)

    def do_GET(self) -> None:
        _before, is_kyma, path = self.path.partition("/kyma-project/")
        content = (self.mirror / path).read_bytes() if is_kyma else self.program
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002  (the base class's name)
        """Keep quiet."""


def in_order(found: t.Mapping[str, list[Json]]) -> list[str]:
    rest = [name for name in found if name not in {*BEFORE, *AFTER}]
    return [*BEFORE, *rest, *AFTER]


def without_programs(names: t.Iterable[str]) -> dict[str, str]:
    """The examples that cannot run here -> the program that is not installed."""

    def is_there(program: str) -> bool:
        return (openbao.find() if program == "bao" else shutil.which(program)) is not None

    return {name: program for name in names for program in NEEDS.get(name, ()) if not is_there(program)}


@pytest.fixture
def machine() -> t.Iterator[Machine]:
    # Sockets have short names, so their directory has to have one as well.
    with tempfile.TemporaryDirectory(prefix="x-", dir="/tmp") as directory, Machine(Path(directory)) as made:
        yield made


def test_every_plugin_has_an_example_of_tasks() -> None:
    for path in pages.plugins():
        tasks = yaml.safe_load(pages.constant(path, "EXAMPLES"))
        assert isinstance(tasks, list), f"{path.name} has no EXAMPLES"
        assert all(isinstance(task, dict) and "name" in task for task in tasks), path.name
        assert f"kyma.mtls.{path.stem}" in pages.constant(path, "EXAMPLES"), f"{path.name} does not show itself"


def test_every_role_has_an_example() -> None:
    shown = {block.page for block in pages.blocks("yaml") if plays_of(block.data)}
    for role in (pages.ROOT / "roles").iterdir():
        assert f"roles/{role.name}/README.md" in shown


def test_every_example_runs_as_it_stands(machine: Machine) -> None:
    found = machine.examples
    left_out = without_programs(found)
    names = [name for name in in_order(found) if name not in left_out]
    done = machine.run([play for name in names for play in machine.prepared(name, found[name])])
    assert done.returncode == 0, done.stdout + done.stderr
    if left_out:
        pytest.skip(", ".join(f"without {name}, which needs {program}" for name, program in left_out.items()))
