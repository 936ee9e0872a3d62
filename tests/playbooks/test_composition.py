# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles in larger playbooks: several hosts, other connections, users, interpreters and variables."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from ansible_collections.kyma.mtls.tests.playbooks.conftest import EC, P12_PASSWORD, PASSPHRASE, Gateways
from ansible_collections.kyma.mtls.tests.playbooks.place import ROOT, Outcome, Place, make_environment
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

LOCAL = ("--inventory", "localhost,", "-c", "local", "-e", "ansible_python_interpreter={{ ansible_playbook_python }}")


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(certificates: Path) -> list[str]:
    return sorted(path.name for path in certificates.iterdir())


def role(name: str, **variables: t.Any) -> dict[str, t.Any]:
    """A task that includes a role."""
    return {
        "name": f"The role {name} is applied",
        "ansible.builtin.include_role": {"name": f"kyma.mtls.{name}"},
        "vars": variables,
    }


def play(place: Place, tasks: list[dict[str, t.Any]], *arguments: str, **keywords: t.Any) -> Outcome:
    playbook = place.write(
        "play.yml", [{"name": "A play", "hosts": "all", "gather_facts": False, "tasks": tasks, **keywords}]
    )
    return place.play(str(playbook), *arguments)


def test_one_run_sets_up_hosts_with_their_own_homes_ports_and_clients(gateways: Gateways) -> None:
    assert gateways.first.code == 0, gateways.first.output[-5000:]
    for host, clients in (("near", ["alice"]), ("far", ["bob", "carol"])):
        assert (
            f"PASSED: https://httpbin.mtls.local.kyma.dev/headers?show_env=true at 127.0.0.1:{gateways.ports[host]}"
            in (gateways.first.words)
        )
        assert names(gateways.homes[host] / "pki/client/clients") == clients
    roots = {
        certificate(home / f"pki/{side}/ca.crt") for home in gateways.homes.values() for side in ("server", "client")
    }
    assert len(roots) == 4


def test_a_host_reached_by_ssh_needs_nothing_of_the_controller(gateways: Gateways) -> None:
    if not gateways.is_far_remote:
        pytest.skip("OpenSSH's server (sshd) is not installed")
    assert gateways.first.hosts["far"]["failed"] == gateways.first.hosts["far"]["unreachable"] == 0
    texts = [path.read_bytes() for path in (gateways.homes["far"] / "runtime/supervisor").rglob("*.conf")]
    assert len(texts) > 2
    for hidden in (ROOT, gateways.place.controller):
        assert not [text for text in texts if os.fsencode(hidden) in text]


def test_vaulted_secrets_protect_what_they_should_and_are_told_nowhere(gateways: Gateways) -> None:
    pki = gateways.homes["near"] / "pki/client"
    load_pem_private_key((pki / "ca.key").read_bytes(), PASSPHRASE.encode())
    pkcs12.load_pkcs12((pki / "clients/alice/client.p12").read_bytes(), P12_PASSWORD.encode())
    with pytest.raises(TypeError, match="not encrypted"):
        load_pem_private_key((gateways.homes["far"] / "pki/client/ca.key").read_bytes(), PASSPHRASE.encode())

    files = [path for path in gateways.homes["near"].rglob("*") if path.is_file() and "venv" not in path.parts]
    for secret in (PASSPHRASE, P12_PASSWORD):
        assert secret not in gateways.first.output
        assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert "PRIVATE KEY" not in gateways.first.output


def test_a_second_run_host_after_host_changes_nothing(gateways: Gateways) -> None:
    roles = ("cluster", "modules", "server_pki", "client_pki", "gateway", "httpbin", "verify")
    playbook = gateways.place.write(
        "serial.yml",
        [
            {
                "name": "All roles, one host after the other",
                "hosts": "gateways",
                "gather_facts": False,
                "serial": 1,
                "roles": [f"kyma.mtls.{name}" for name in roles],
            }
        ],
    )
    again = gateways.play(str(playbook))
    assert again.code == 0, again.output[-5000:]
    assert again.changed == {"near": 0, "far": 0}


def test_each_role_works_alone_and_twice_in_one_play_with_other_variables(place: Place) -> None:
    """Two sites by the roles' own variables, in one runtime, neither in the usual places."""
    ports = [free_port(), free_port()]
    sites = {name: place.controller / "sites" / name for name in ("blue", "green")}
    runtime = place.controller / "shared"
    keys = {"blue": {"key_type": "ECDSA", "curve": "P-256"}, "green": {"key_type": "ECDSA", "curve": "P-384"}}
    tasks = [role("cluster", cluster_home=str(runtime)), role("modules", modules_home=str(runtime))]
    for name, site in sites.items():
        tasks.append(
            role(
                "server_pki",
                server_pki_directory=str(site / "server"),
                server_pki_gateway_domain=f"*.{name}.example.org",
                server_pki_organization=f"{name} servers",
                **{f"server_pki_{key}": value for key, value in keys[name].items()},
            )
        )
    for name, site in sites.items():
        passphrase = {"client_pki_ca_key_passphrase": "of green alone"} if name == "green" else {}
        tasks.append(
            role(
                "client_pki",
                client_pki_directory=str(site / "client"),
                client_pki_organization=f"{name} clients",
                client_pki_clients=[{"name": f"{name}-client"}],
                client_pki_intermediate=name == "green",
                **passphrase,
                **{f"client_pki_{key}": value for key, value in keys[name].items()},
            )
        )
    for port, server_port, (name, site) in zip(ports, (443, 10443), sites.items(), strict=True):
        tasks.append(
            role(
                "gateway",
                gateway_home=str(runtime),
                gateway_namespace=name,
                gateway_domain=f"*.{name}.example.org",
                gateway_server_port=server_port,
                gateway_port=port,
                gateway_credential=name,
                gateway_server_chain=str(site / "server/server-chain.pem"),
                gateway_server_key=str(site / "server/server.key"),
                gateway_client_ca_bundle=str(site / "client/ca-bundle.crt"),
                gateway_client_crl=str(site / "client/ca.crl"),
            )
        )
    tasks += [
        role("httpbin", httpbin_home=str(runtime), httpbin_namespace=name, httpbin_host=f"httpbin.{name}.example.org")
        for name in sites
    ]
    for port, (name, site) in zip(ports, sites.items(), strict=True):
        client = site / f"client/clients/{name}-client"
        tasks.append(
            role(
                "verify",
                verify_home=str(site),
                verify_host=f"httpbin.{name}.example.org",
                # As on a cluster, where the address is found out: the second must not be taken for the first.
                verify_platform="kubernetes",
                gateway_platform="kubernetes",
                gateway_address=f"127.0.0.1:{port}",
                verify_ca=[str(site / "server/ca.crt")],
                verify_client_cert=str(client / "client-chain.pem"),
                verify_client_key=str(client / "client.key"),
                verify_client_ca_cert=[str(site / "client/ca-bundle.crt")],
                verify_client_ca_key="",
                verify_crl=str(site / "client/ca.crl"),
                verify_pki_clients=[{"name": f"{name}-client"}],
                verify_checks=["MV-11", "MV-13", "MV-23", "MV-24", "MV-40", "MV-41"],
            )
        )
    try:
        outcome = play(place, tasks, *LOCAL)
        assert outcome.code == 0, outcome.output[-5000:]
        for port, (name, site) in zip(ports, sites.items(), strict=True):
            assert (
                f"PASSED: https://httpbin.{name}.example.org/headers?show_env=true at 127.0.0.1:{port}" in outcome.words
            )
            assert names(site / "client/clients") == [f"{name}-client"]
            assert (site / "client/intermediate.crt").exists() == (name == "green")
            assert (b"ENCRYPTED" in (site / "client/ca.key").read_bytes()) == (name == "green")
            assert (site / "report/verify.html").exists()
        again = play(place, tasks[2:], *LOCAL, "--check", "--diff")
        assert (again.code, again.changed) == (0, {"localhost": 0}), again.output[-5000:]
    finally:
        down = place.play("kyma.mtls.teardown", *LOCAL, variables={"mtls_home": str(runtime), "mtls_purge": True})
        assert down.code == 0, down.output


def test_files_belong_to_the_user_that_the_roles_became(place: Place) -> None:
    system_python = shutil.which("python3", path=os.defpath)
    if os.getuid() or shutil.which("su") is None or system_python is None:
        pytest.skip("becoming another user takes root, su and a Python of the system")
    user = pwd.getpwnam("nobody")
    place.root.chmod(0o711)
    python = make_environment(place.root / "system-python", python=system_python)
    try:
        install = ["uv", "pip", "install", "--quiet", "--python", str(python), "cryptography", "-c", "requirements.txt"]
        subprocess.run(install, check=True, cwd=ROOT, capture_output=True, text=True)
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"the Python of the system is none for cryptography: {exc.stderr.splitlines()[-1]}")
    pki = place.root / "of-another-user"
    pki.mkdir()
    os.chown(pki, user.pw_uid, user.pw_gid)
    tasks = [
        role("server_pki", server_pki_directory=str(pki / "server"), server_pki_key_type="ECDSA"),
        role("client_pki", client_pki_directory=str(pki / "client"), client_pki_key_type="ECDSA"),
    ]
    outcome = play(
        place,
        tasks,
        *("--inventory", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={python}"),
        become=True,
        become_user=user.pw_name,
        become_method="ansible.builtin.su",
        become_flags="-s /bin/sh",
    )
    assert outcome.code == 0, outcome.output[-5000:]
    made = list(pki.rglob("*"))
    assert {path.stat().st_uid for path in made} == {user.pw_uid}
    keys = [path for path in made if path.suffix == ".key"]
    assert len(keys) == 4
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert {path.parent.stat().st_mode & 0o077 for path in keys} == {0}


def test_an_interpreter_without_the_library_is_named_with_what_it_lacks(place: Place) -> None:
    python = make_environment(place.root / "empty-python")
    home = place.controller / "never"
    outcome = play(
        place,
        [role("server_pki", server_pki_directory=str(home), **EC)],
        *("--inventory", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={python}"),
    )
    assert outcome.code == 2
    assert "Failed to import the required Python library (cryptography)" in outcome.words
    assert str(python) in outcome.words
    assert "Traceback" not in outcome.output
    assert not home.exists()
