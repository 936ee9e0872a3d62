# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as Ansible runs it: a process of its own that reads its arguments as JSON and prints its result."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import traceback
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from ansible_collections.kyma.mtls.plugins.modules import certificate_chain
from ansible_collections.kyma.mtls.tests.limbo import zoo

ROOT = Path(__file__).resolve().parents[4]
AT = zoo.NOW.isoformat()


class Result(dict[str, t.Any]):
    """The module's JSON, with what it printed for searches of what must not be there."""

    printed: str = ""


def run(*, check: bool = False, diff: bool = False, **options: t.Any) -> Result:
    """Run the module in a fork of this process: as separate as Ansible has it, without the imports' cost."""
    arguments = {
        "valid_at": AT,
        **options,
        "_ansible_check_mode": check,
        "_ansible_diff": diff,
        "_ansible_remote_tmp": "/tmp",  # noqa: S108  (as Ansible gives it)
        "_ansible_keep_remote_files": False,
    }
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        sys.stdout = os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w")
        try:
            with patch_module_args(arguments):
                certificate_chain.main()
        except SystemExit:
            pass
        except BaseException:  # noqa: BLE001  (the parent looks for it)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        printed = stream.read()
    os.waitpid(child, 0)
    assert "Traceback" not in printed, printed
    result = Result(json.loads(printed.strip().splitlines()[-1]))
    result.printed = printed
    return result


class Place(t.NamedTuple):
    """Files of a small authority, and the chain that they make."""

    directory: Path
    root: zoo.Made
    middle: zoo.Made
    end: zoo.Made

    def options(self, **more: t.Any) -> dict[str, t.Any]:
        return {
            "leaf": str(self.directory / "leaf.pem"),
            "candidates": [str(self.directory / "pool")],
            "roots": [str(self.directory / "root.pem")],
            "dest": str(self.directory / "chain.pem"),
            **more,
        }

    @property
    def dest(self) -> Path:
        return self.directory / "chain.pem"

    @property
    def chain(self) -> list[str]:
        return [self.end.pem, self.middle.pem, self.root.pem]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root = zoo.make("Root", days=(-9, 900))
    middle = zoo.make("Middle", issuer=root)
    end = zoo.leaf(middle, sans=["DNS:leaf.example", "DNS:*.mtls.example"], days=(-9, 40))
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "middle.pem").write_text(middle.pem)
    (tmp_path / "leaf.pem").write_text(end.pem)
    (tmp_path / "leaf.key").write_text(end.key_pem())
    (tmp_path / "root.pem").write_text(root.pem)
    return Place(tmp_path, root, middle, end)


def test_the_chain_is_written_and_described(place):
    result = run(**place.options(mode="0640", hostnames=["one.mtls.example"]))
    assert result["changed"] is True
    assert result["chain"] == place.chain
    assert result["complete_chain"] == "".join(place.chain) == place.dest.read_text()
    assert stat.S_IMODE(place.dest.stat().st_mode) == 0o640
    assert result["root"] == place.root.pem
    assert result["expires"] == "2030-07-11T12:00:00Z"
    facts = result["certificates"][0]
    assert facts["subject"] == "CN=leaf"
    assert facts["issuer"] == "CN=Middle"
    assert facts["sans"] == ["DNS:leaf.example", "DNS:*.mtls.example"]
    assert int(facts["serial_number"], 16) == place.end.certificate.serial_number
    assert facts["serial_number"] == facts["serial_number"].lower()
    assert facts["days_left"] == 40
    assert facts["key"] == {"type": "ECDSA", "size": 256, "curve": "secp256r1"}
    assert len(facts["fingerprint_sha256"]) == len(facts["spki_sha256"]) == 64
    assert [one["subject"] for one in result["certificates"]] == ["CN=leaf", "CN=Middle", "CN=Root"]


def test_a_second_run_changes_nothing(place):
    run(**place.options())
    before = place.dest.stat()
    result = run(**place.options())
    assert result["changed"] is False
    assert place.dest.stat().st_ino == before.st_ino
    assert place.dest.stat().st_mtime_ns == before.st_mtime_ns


def test_check_mode_predicts_and_writes_nothing(place):
    result = run(check=True, diff=True, **place.options())
    assert result["changed"] is True
    assert not place.dest.exists()
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == "".join(place.chain)
    run(**place.options())
    assert run(check=True, diff=True, **place.options())["changed"] is False


def test_a_change_of_mode_alone_is_a_change(place):
    run(**place.options(mode="0644"))
    assert run(check=True, **place.options(mode="0600"))["changed"] is True
    assert stat.S_IMODE(place.dest.stat().st_mode) == 0o644
    assert run(**place.options(mode="0600"))["changed"] is True
    assert stat.S_IMODE(place.dest.stat().st_mode) == 0o600


def test_a_key_in_the_former_file_is_backed_up_but_never_shown(place):
    secret = place.end.key_pem()
    place.dest.write_text(f"{secret}{place.end.pem}")
    result = run(diff=True, **place.options(backup=True))
    assert result["diff"]["before"].startswith("(PRIVATE KEY block, not shown)\n")
    assert place.end.pem in result["diff"]["before"]
    assert secret.splitlines()[1] not in result.printed
    assert Path(result["backup_file"]).read_text() == f"{secret}{place.end.pem}"


def test_the_root_can_be_left_out(place):
    result = run(**place.options(include_root=False))
    assert result["chain"] == place.chain[:2]
    assert place.dest.read_text() == "".join(place.chain[:2])
    assert result["root"] == place.root.pem


def test_a_chain_that_cannot_be_built_leaves_the_file_alone_and_names_the_link(place):
    place.dest.write_text("as it was")
    result = run(**place.options(candidates=[]))
    assert result["failed"] is True
    assert "'CN=Middle'" in result["msg"]
    assert place.dest.read_text() == "as it was"
    assert result["stopped_by_limit"] is None


def test_rejected_candidates_come_with_the_reason(place):
    old = zoo.make("Middle", issuer=place.root, days=(-90, -1))
    (place.directory / "pool" / "a.pem").write_text(old.pem)
    rejected = run(**place.options())["rejected"]
    assert [one["subject"] for one in rejected] == ["CN=Middle"]
    assert "it expired at 2030-05-31T12:00:00Z" in rejected[0]["reason"]


@pytest.mark.parametrize("form", ["pem", "der", "p7b", "p7b-pem", "text around", "crlf"])
def test_every_form_of_input_is_read(place, form):
    middle = place.middle.certificate
    contents = {
        "pem": place.middle.pem.encode(),
        "der": place.middle.der,
        "p7b": pkcs7.serialize_certificates([middle], serialization.Encoding.DER),
        "p7b-pem": pkcs7.serialize_certificates([middle], serialization.Encoding.PEM),
        "text around": f"subject: Middle\n{place.middle.pem}\nend of file\n{place.middle.pem}".encode(),
        "crlf": place.middle.pem.replace("\n", "\r\n").encode(),
    }
    (place.directory / "pool" / "middle.pem").write_bytes(contents[form])
    assert run(**place.options())["chain"] == place.chain


def test_content_options_take_the_place_of_files(place):
    result = run(
        leaf_content=place.end.pem,
        candidates_content=place.root.pem + place.middle.pem,
        roots_content=place.root.pem,
        private_key_content=place.end.key_pem(b"a passphrase"),
        private_key_passphrase="a passphrase",  # noqa: S106  (of a key that nobody uses)
    )
    assert result["chain"] == place.chain
    assert result["changed"] is False
    assert "a passphrase" not in result.printed


def test_a_key_between_certificates_is_skipped_with_a_warning(place):
    (place.directory / "pool" / "middle.pem").write_text(place.end.key_pem() + place.middle.pem)
    result = run(**place.options())
    assert result["chain"] == place.chain
    assert any("PRIVATE KEY" in str(warning) for warning in result["warnings"])
    assert place.end.key_pem().splitlines()[1] not in result.printed


def test_a_leaf_file_in_disorder_is_sorted_with_a_warning(place):
    (place.directory / "leaf.pem").write_text(place.root.pem + place.middle.pem + place.end.pem)
    result = run(**place.options(candidates=[]))
    assert result["chain"] == place.chain
    assert any("order" in str(warning) for warning in result["warnings"])


def test_the_private_key_must_belong_to_the_leaf(place):
    good = run(**place.options(private_key=str(place.directory / "leaf.key")))
    assert good["chain"] == place.chain
    (place.directory / "leaf.key").write_text(
        zoo.key("another")
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )
    bad = run(**place.options(private_key=str(place.directory / "leaf.key")))
    assert "does not belong" in bad["msg"]


@pytest.mark.parametrize("passphrase", [None, "wrong"])
def test_an_encrypted_key_without_its_passphrase_is_refused_in_words(place, passphrase):
    result = run(**place.options(private_key_content=place.end.key_pem(b"right"), private_key_passphrase=passphrase))
    assert result["failed"] is True
    assert "passphrase" in result["msg"]


def test_too_little_time_left_warns_or_fails_as_asked(place):
    warned = run(**place.options(min_remaining=41))
    assert any("40 days" in str(warning) for warning in warned["warnings"])
    failed = run(**place.options(min_remaining=41, min_remaining_action="fail", dest=str(place.directory / "no")))
    assert "40 days" in failed["msg"]
    assert not (place.directory / "no").exists()
    assert not run(**place.options(min_remaining=40)).get("warnings")


@pytest.mark.parametrize(
    ("moment", "fits"),
    [("20300601120000Z", True), ("2030-06-01T14:00:00+02:00", True), ("2031-01-01T00:00:00Z", False), ("-1d", False)],
)
def test_the_moment_of_validity_can_be_chosen(place, moment, fits):
    assert ("chain" in run(**place.options(valid_at=moment))) is fits


def test_a_moment_that_is_none_is_refused(place):
    assert "RFC 3339" in run(**place.options(valid_at="tomorrow"))["msg"]


def test_revocation_lists_are_obeyed(place):
    lists = place.directory / "crls"
    lists.mkdir()
    (lists / "root.crl").write_text(zoo.crl(place.root))
    assert run(**place.options(crls=[str(lists)]))["chain"] == place.chain
    assert "require_crl" in run(**place.options(crls=[str(lists)], require_crl=True))["msg"]
    good = run(**place.options(crls=[str(lists)], crls_content=zoo.crl(place.middle), require_crl=True))
    assert good["chain"] == place.chain
    revoked = run(**place.options(crls=[str(lists)], crls_content=zoo.crl(place.middle, place.end)))
    assert "revoked" in revoked["msg"]


def test_a_directory_that_links_to_itself_is_read_once(place):
    pool = place.directory / "pool"
    (pool / "self").symlink_to(pool)
    (pool / "again").symlink_to(pool)
    (pool / "up").symlink_to(place.directory)
    (pool / "dangling").symlink_to("nowhere")
    os.mkfifo(pool / "fifo")
    assert run(**place.options())["chain"] == place.chain


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"leaf": "/nonexistent/leaf.pem"}, "does not exist"),
        ({"leaf": "/dev/null"}, "not a regular file"),
        ({"leaf": None, "leaf_content": "hello"}, "no readable certificate"),
        ({"roots": []}, "no root"),
        ({"dest": "/nonexistent/chain.pem"}, "does not exist"),
        ({"dest": "/tmp"}, "is a directory"),  # noqa: S108  (nothing is written there)
        ({"hostnames": ["other.example"]}, "not valid for 'other.example'"),
    ],
)
def test_wrong_input_is_refused_in_words(place, options, said):
    result = run(**{key: value for key, value in place.options(**options).items() if value is not None})
    assert result["failed"] is True
    assert said in result["msg"]


def test_the_documentation_is_the_argument_specification():
    documented = yaml.safe_load(certificate_chain.DOCUMENTATION)["options"]
    specified = certificate_chain.argument_spec()
    assert documented.keys() == specified.keys()
    for name, words in documented.items():
        for field in ("type", "elements", "choices", "default"):
            assert words.get(field) == specified[name].get(field), (name, field)
    facts = yaml.safe_load(certificate_chain.RETURN)["certificates"]["contains"]
    described = run(leaf_content=zoo.leaf(None).pem, roots_content=zoo.leaf(None).pem)
    assert described["failed"] is True
    alone = zoo.leaf(None)
    described = run(leaf_content=alone.pem, roots_content=alone.pem)
    assert described["certificates"][0].keys() == facts.keys()


def test_without_cryptography_the_module_says_what_to_install(tmp_path):
    (tmp_path / "cryptography.py").write_text("raise ImportError('blocked')")
    code = (
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.kyma.mtls.plugins.modules import certificate_chain\n"
        "with patch_module_args({'leaf_content': 'x', '_ansible_remote_tmp': '/tmp'}):\n"
        "    certificate_chain.main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / ".build" / "collections")])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert "cryptography" in json.loads(done.stdout.splitlines()[-1])["msg"]


def test_ansible_itself_runs_the_module(place):
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible")),
            *("localhost", "--connection", "local", "-e", f"ansible_python_interpreter={sys.executable}"),
            *("--module-name", "kyma.mtls.certificate_chain", "--check"),
            *("--args", json.dumps({"valid_at": AT, **place.options()})),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCAL_TEMP": str(place.directory / "tmp")},
    )
    assert "CHANGED" in done.stdout, done.stdout + done.stderr
    assert "CN=Middle" in done.stdout
