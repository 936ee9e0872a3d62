# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's edge and the role: results, check mode, reports, failing, and nothing secret anywhere."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import threading
import typing as t
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from cryptography.hazmat.primitives import serialization

from ansible_collections.kyma.mtls.plugins.modules import mtls_verify
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.hostile import Hostile
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.workload import Workload

ROOT = Path(__file__).resolve().parents[4]
# It must be found nowhere: that is the test. Nobody else, such as another run of these tests, has it.
PASSPHRASE = f"correct horse {secrets.token_hex(8)}"
ANY_KEY = b"PRIVATE KEY-----"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> pki_module.Pki:
    return pki_module.make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def gateway(pki: pki_module.Pki, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[real.Running]:
    if real.find("envoy") is None:
        pytest.skip("envoy is not installed")
    workload = Workload()
    running = real.start("envoy", pki, tmp_path_factory.mktemp("envoy"), workload.port)
    yield running
    running.stop()
    workload.stop()


def arguments(pki: pki_module.Pki, address: str, **changes: t.Any) -> dict[str, t.Any]:
    return {
        "url": f"https://{pki_module.HOST}/headers",
        "connect_to": address,
        "ca": [pki.server_ca.crt],
        "client_cert": pki.client.crt,
        "client_key": pki.client.key_file,
        "client_ca_cert": [pki.client_ca.crt],
        "client_ca_key": pki.client_ca.key_file,
        "identity_headers": dict(real.KINDS["envoy"].headers),
        **changes,
    }


def run(capsys: pytest.CaptureFixture[str], given: dict[str, t.Any]) -> dict[str, t.Any]:
    """Run the module in this process; return its result."""
    with patch_module_args(given), pytest.raises(SystemExit):
        mtls_verify.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_sound_gateway_passes_and_nothing_is_changed(
    pki: pki_module.Pki, gateway: real.Running, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, arguments(pki, gateway.address))
    assert result["verdict"] == "passed", result["summary"]
    assert result["changed"] is False
    assert result["counts"]["failed"] == result["counts"]["outage"] == 0
    assert result["summary"][0].startswith("PASSED: https://")
    assert result["directions"][-1].startswith("curl --fail --connect-to")
    assert result["reports"] == {}
    assert {"id", "title", "outcome", "expected", "observed", "evidence", "cases", "source"} == set(result["checks"][0])


def test_the_curl_command_works(pki: pki_module.Pki, gateway: real.Running, capsys: pytest.CaptureFixture[str]) -> None:
    if real.find("curl") is None:
        pytest.skip("curl is not installed")
    result = run(capsys, arguments(pki, gateway.address, checks=["MV-23"]))
    done = subprocess.run(["sh", "-c", result["directions"][-1]], capture_output=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stderr
    assert "x-client-ssl-cn" in json.loads(done.stdout)["headers"]


def test_reports_are_written_and_say_the_same(
    pki: pki_module.Pki, gateway: real.Running, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = tmp_path / "new" / "report"
    result = run(capsys, arguments(pki, gateway.address, report_dir=str(directory)))
    assert result["changed"] is False
    assert sorted(one.name for one in directory.iterdir()) == ["verify.html", "verify.json", "verify.junit.xml"]
    document = json.loads((directory / "verify.json").read_text())
    assert document["verdict"] == "passed"
    for written, returned in zip(document["checks"], result["checks"], strict=True):
        assert {**written, "cases": []} == {**returned, "cases": []}
        assert all(case in written["cases"] for case in returned["cases"])
    suite = ElementTree.parse(directory / "verify.junit.xml").getroot()[0]  # noqa: S314
    cases = suite.findall("testcase")
    assert len(cases) == int(suite.get("tests", "0")) == sum(max(len(one["cases"]), 1) for one in document["checks"])
    assert suite.get("failures") == suite.get("errors") == "0"
    assert {str(case.get("classname")).split()[0] for case in cases} == {one["id"] for one in result["checks"]}
    page = (directory / "verify.html").read_text()
    for forbidden in ("<script", 'http-equiv="refresh', "<link", "<img", "@import", "url("):
        assert forbidden not in page
    assert "<svg" in page
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_result_is_short_and_the_report_complete_with_many_clients(
    pki: pki_module.Pki, gateway: real.Running, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = arguments(pki, gateway.address)
    listed = [{"name": f"c{n}", "cert": given["client_cert"], "key": given["client_key"]} for n in range(60)]
    stale = pki.client_certificate("stale", days=(-9, -2))
    listed.insert(0, {"name": "late", "cert": stale.crt, "key": stale.key_file})
    result = run(capsys, {**given, "clients": listed, "report_dir": str(tmp_path), "checks": ["MV-23"]})

    told = result["checks"][0]["cases"]
    written = json.loads((tmp_path / "verify.json").read_text())["checks"][0]["cases"]
    assert {f"client c{n}" for n in range(60)} < {case["name"] for case in written}
    assert [case["outcome"] for case in told].count("passed") == 50
    assert [case["name"] for case in told if case["outcome"] != "passed"] == ["client late"]
    assert result["failed"]


def test_a_hostile_name_cannot_break_the_reports(
    pki: pki_module.Pki, gateway: real.Running, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    evil = pki.client_certificate("evil", subject=pki_module.name(common_name="<script>\"'&]]>", cn_first=True))
    listed = [{"name": "<b>\x01evil</b>", "cert": evil.crt, "key": evil.key_file}]
    run(capsys, arguments(pki, gateway.address, clients=listed, report_dir=str(tmp_path), checks=["MV-23", "MV-15"]))
    ElementTree.parse(tmp_path / "verify.junit.xml")  # noqa: S314
    page = (tmp_path / "verify.html").read_text()
    assert "<script" not in page
    assert "<b>\x01" not in page


def test_check_mode_shakes_hands_and_writes_nothing(
    pki: pki_module.Pki, gateway: real.Running, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = tmp_path / "report"
    result = run(capsys, arguments(pki, gateway.address, report_dir=str(directory), _ansible_check_mode=True))
    assert result["verdict"] == "passed"
    assert not directory.exists()


def test_check_mode_without_certificates_or_listener_is_skipped(
    pki: pki_module.Pki, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = arguments(pki, "127.0.0.1:1", client_cert=str(tmp_path / "none.crt"), _ansible_check_mode=True)
    result = run(capsys, missing)
    assert result["skipped"] is True
    assert "none.crt does not exist yet" in result["skip_reason"]
    result = run(capsys, arguments(pki, f"127.0.0.1:{free_port()}", _ansible_check_mode=True))
    assert result["skipped"] is True
    assert "nothing listens" in result["skip_reason"]


@pytest.mark.parametrize(
    ("fail_on", "act", "fails"),
    [
        ("failed", "serve", True),
        ("never", "serve", False),
        ("failed", "reset", True),
        ("warning", "reset", True),
        ("never", "reset", False),
    ],
)
def test_failing_is_the_users_choice_and_an_outage_fails_too(
    fail_on: str, act: str, fails: bool, pki: pki_module.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    with Hostile(pki, act=act, stage="request") as server:  # serve: without demanding a certificate
        result = run(capsys, arguments(pki, server.address, fail_on=fail_on, timeout=5))
    assert result.get("failed", False) is fails
    assert result["verdict"] == ("failed" if act == "serve" else "outage")
    if fails:
        assert result["msg"].startswith(f"{result['verdict'].upper()}: ")


def test_a_warning_fails_only_when_asked(
    pki: pki_module.Pki, gateway: real.Running, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = {"checks": ["MV-23", "MV-34"]}
    assert "failed" not in run(capsys, arguments(pki, gateway.address, **weak))
    assert run(capsys, arguments(pki, gateway.address, fail_on="warning", **weak))["failed"] is True


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"client_cert": None, "client_key": None}, "one of the following is required"),
        ({"client_p12": "/x.p12"}, "mutually exclusive"),
        ({"client_ca_cert": None}, "missing parameter"),
        ({"checks": ["MV-00"]}, "There is no check MV-00"),
        ({"url": "http://plain.test"}, "not an https:// address"),
        ({"ca": ["/nowhere/ca.crt"]}, "/nowhere/ca.crt does not exist"),
    ],
)
def test_wrong_options_are_refused_in_words(
    changes: dict[str, t.Any], expected: str, pki: pki_module.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {key: value for key, value in arguments(pki, "127.0.0.1:1", **changes).items() if value is not None}
    result = run(capsys, given)
    assert result["failed"] is True
    assert expected in result["msg"]


def test_documentation_agrees_with_the_options() -> None:
    documented = yaml.safe_load(mtls_verify.DOCUMENTATION)["options"]
    assert "clients" in documented
    assert yaml.safe_load(mtls_verify.EXAMPLES)
    assert {"verdict", "checks", "server", "client_cas", "summary"} <= set(yaml.safe_load(mtls_verify.RETURN))


# Through ansible-playbook


def locked(pki: pki_module.Pki, directory: Path) -> dict[str, str]:
    """Return files with encrypted keys of the good client and of the client CA."""
    client = pki_module.Holder(pki.client.certificate, pki.client.key).save(
        directory, "client", passphrase=PASSPHRASE.encode()
    )
    authority = pki_module.Holder(pki.client_ca.certificate, pki.client_ca.key).save(
        directory, "client-ca", passphrase=PASSPHRASE.encode()
    )
    return {"client": client.key_file, "ca": authority.key_file}


def secrets_of(pki: pki_module.Pki) -> list[bytes]:
    """Return what must be nowhere: the passphrase, and the keys' content in the forms in which it could be printed."""
    found = [PASSPHRASE.encode(), ANY_KEY]
    for holder in (pki.client, pki.client_ca):
        der = holder.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        found += [base64.b64encode(der)[40:80], der.hex()[60:120].encode()]
    return found


class ProcWatch(threading.Thread):
    """Reads the command lines and environments of all processes, again and again."""

    def __init__(self, forbidden: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.forbidden = forbidden
        self.found: set[str] = set()
        self.looks = 0

    def run(self) -> None:
        own = str(os.getpid())
        while not self.over.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit() and process.name != own:
                    self.look(process)
            self.looks += 1

    def look(self, process: Path) -> None:
        for name in ("cmdline", "environ"):
            try:
                data = (process / name).read_bytes()
            except OSError:
                continue
            self.found.update(f"{process.name} {name}" for one in self.forbidden if one in data)


def play(directory: Path, document: list[dict[str, t.Any]], *options: str) -> subprocess.CompletedProcess[bytes]:
    path = directory / "play.yml"
    path.write_text(yaml.safe_dump(document))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", *options]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
        "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
    }
    return subprocess.run([*command, str(path)], env=environment, capture_output=True, check=False)


def role_variables(pki: pki_module.Pki, gateway: real.Running, directory: Path) -> dict[str, t.Any]:
    keys = locked(pki, directory)
    return {
        "verify_home": str(directory / "home"),
        "verify_url": f"https://{pki_module.HOST}/headers",
        "verify_connect_to": gateway.address,
        "verify_ca": [pki.server_ca.crt],
        "verify_client_cert": pki.client.crt,
        "verify_client_key": keys["client"],
        "verify_client_key_passphrase": PASSPHRASE,
        "verify_client_ca_cert": [pki.client_ca.crt],
        "verify_client_ca_key": keys["ca"],
        "verify_client_ca_key_passphrase": PASSPHRASE,
        "verify_identity_headers": dict(real.KINDS["envoy"].headers),
    }


# As a module of its own, and in Ansible's own process.
@pytest.mark.parametrize("options", [["-vvvv"], ["-e", f"ansible_python_interpreter={sys.executable}"]])
def test_no_secret_in_any_output_report_command_line_or_environment(
    options: list[str], pki: pki_module.Pki, gateway: real.Running, tmp_path: Path
) -> None:
    variables = role_variables(pki, gateway, tmp_path)
    document = [
        {"hosts": "localhost", "gather_facts": False, "roles": [{"role": "kyma.mtls.verify", "vars": variables}]}
    ]
    forbidden = secrets_of(pki)
    # Other people's processes may name the word in a command.
    watch = ProcWatch([one for one in forbidden if one != ANY_KEY])
    watch.start()
    done = play(tmp_path, document, "--diff", *options)
    watch.over.set()
    watch.join()
    output = done.stdout + done.stderr
    assert done.returncode == 0, output.decode()[-3000:]
    assert watch.looks > 3
    assert watch.found == set()
    reports = {one.name: one.read_bytes() for one in (tmp_path / "home" / "report").iterdir()}
    assert len(reports) == 3
    for secret in forbidden:
        assert secret not in output
        assert not [name for name, data in reports.items() if secret in data]


def test_the_role_tells_and_fails_by_its_second_task(
    pki: pki_module.Pki, gateway: real.Running, tmp_path: Path
) -> None:
    variables = role_variables(pki, gateway, tmp_path) | {"verify_expect": {"headers.host": "elsewhere"}}
    document = [
        {"hosts": "localhost", "gather_facts": False, "roles": [{"role": "kyma.mtls.verify", "vars": variables}]}
    ]
    done = play(tmp_path, document)
    output = done.stdout.decode()
    assert done.returncode == 2
    assert "FAILED: https://httpbin.mtls.test/headers" in output
    assert 'expected "elsewhere"' in output
    assert "changed=0" in output
    assert (tmp_path / "home" / "report" / "verify.html").exists()
    variables["verify_fail_on"] = "never"
    assert play(tmp_path, document).returncode == 0


def test_the_role_in_check_mode_on_an_empty_home_says_why_it_does_nothing(tmp_path: Path) -> None:
    variables = {"mtls_home": str(tmp_path / "home")}
    document = [
        {"hosts": "localhost", "gather_facts": False, "roles": [{"role": "kyma.mtls.verify", "vars": variables}]}
    ]
    done = play(tmp_path, document, "--check")
    output = done.stdout.decode()
    assert done.returncode == 0, output
    assert "SKIPPED in check mode" in output
    assert not (tmp_path / "home").exists()


def test_the_role_takes_its_clients_from_the_pki(tmp_path: Path) -> None:
    clients = [{"name": "gone", "state": "absent"}, {"name": "one"}, {"name": "two", "state": "present"}]
    show = {"ansible.builtin.debug": {"msg": "{{ [verify_client_cert, verify_clients] | to_json }}"}}
    files = [
        str(ROOT / "roles" / role / part / "main.yml") for role in ("mtls", "verify") for part in ("defaults", "vars")
    ]
    document = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": files,
            "tasks": [show],
        }
    ]
    extra = json.dumps({"client_pki_clients": clients, "mtls_home": "/h"})
    done = play(tmp_path, document, "-e", extra)
    output = done.stdout.decode()
    assert "/h/pki/client/clients/one/client-chain.pem" in output, output
    assert "/h/pki/client/clients/two/client.key" in output
    assert "gone" not in output
