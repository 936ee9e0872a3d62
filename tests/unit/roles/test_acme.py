# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider acme by ansible-playbook, against Pebble: orders, refusals, a CA that is down, a run that was killed."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.tests.servers import pebble
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import Play

names = pytest.importorskip("ansible_collections.kyma.mtls.tests.servers.names")
WILDCARD = ["DNS:*.mtls.local.kyma.dev"]


@pytest.fixture(scope="module")
def program() -> str:
    found = pebble.find()
    if found is None:
        pytest.skip("pebble is not installed (Debian: apt install pebble)")
    return found


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def variables(ca: pebble.Pebble, **changes: t.Any) -> dict[str, t.Any]:
    dns = {"server": "127.0.0.1", "port": ca.names.port, "zone": "kyma.dev"}
    return {
        "server_pki_provider": "acme",
        "server_pki_key_type": "ECDSA",
        "server_pki_sans": WILDCARD,
        "server_pki_acme_directory": ca.url,
        "server_pki_acme_ca_file": str(ca.ca_file),
        "server_pki_acme_root": str(ca.root),
        "server_pki_acme_terms_agreed": True,
        "server_pki_acme_contact": ["mailto:ops@example.com"],
        "server_pki_acme_eab": {"kid": "kid-1", "alg": "HS256", "key": pebble.EAB_KEY},
        "server_pki_acme_challenge": "dns-01",
        "server_pki_acme_dns_server": dns | {"key_name": names.KEY_NAME, "key_secret": names.KEY_SECRET},
        **changes,
    }


def refused(*cases: dict[str, t.Any], given: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """A play in which every case is tried, and must fail; its messages are printed."""
    tasks: list[dict[str, t.Any]] = []
    for number, case in enumerate(cases):
        role = {"ansible.builtin.include_role": {"name": "kyma.mtls.server_pki"}, "vars": case}
        printed = {"ansible.builtin.debug": {"msg": f"<<{number}: {{{{ ansible_failed_result.msg }}}}>>"}}
        unexpected = {"ansible.builtin.fail": {"msg": f"case {number} was not refused"}}
        tasks.append({"block": [role, unexpected], "rescue": [printed]})
    return [{"hosts": "localhost", "gather_facts": False, "vars": given, "tasks": tasks}]


def messages(output: str) -> list[str]:
    text = re.sub(r"\s+", " ", output)
    return re.findall(r"<<\d+: (.*?)>>", text)


def test_a_wildcard_is_issued_once_and_kept_through_everything(program: str, play: Play, tmp_path: Path) -> None:
    server = play.pki / "server"
    with (
        names.running() as dns,
        pebble.running(program, tmp_path / "pebble", dns, externalAccountBindingRequired=True) as ca,
    ):
        given = variables(ca)
        predicted = play.run("server_pki", variables=given, arguments=("--check",))
        assert predicted.code == 0, predicted.output
        assert "A certificate would be ordered: there is no certificate yet." in predicted.output
        assert not server.exists()

        first = play.run("server_pki", variables=given)
        assert first.code == 0, first.output
        assert pebble.EAB_KEY not in first.output
        assert "Using a template for task args" not in first.words
        leaf = x509.load_pem_x509_certificate((server / "server.crt").read_bytes())
        names_of = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names_of.get_values_for_type(x509.DNSName) == ["*.mtls.local.kyma.dev"]
        entry = json.loads((server / "issued.jsonl").read_text())
        assert (entry["provider"], int(entry["serial_number"], 16)) == ("acme", leaf.serial_number)
        assert dns.seen == {"_acme-challenge.mtls.local.kyma.dev."}
        assert not any(dns.txt.values()), "the records were removed"
        assert {path.stat().st_mode & 0o777 for path in server.rglob("*.key")} == {0o600}
        (orders, before) = (ca.orders(), play.tree())

        # Each is refused in the CA's words, and touches nothing but what is acquired.
        failing = play.run_play(
            refused(
                {"server_pki_acme_challenge": "http-01"},
                {"server_pki_sans": [f"DNS:{pebble.BLOCKED}"]},
                {"server_pki_directory": str(tmp_path / "other"), "server_pki_acme_eab": {}},
                given=given | {"server_pki_acme_use_ari": False},
            ),
            {},
        )
        assert failing.code == 0, failing.output
        wildcard, blocked, unbound = messages(failing.output)
        assert "A CA validates DNS:*.mtls.local.kyma.dev by DNS only" in wildcard
        assert "rejectedIdentifier" in blocked
        assert "Take it off server_pki_sans" in blocked
        assert "Set server_pki_acme_eab to the kid, key and alg" in unbound
        assert "The certificate in use stays as it is." in unbound
        assert play.tree() == before
        assert [path.name for path in (tmp_path / "other").rglob("*") if path.is_file()] == ["account.key"]

    # Killed after the order and before the publication; and now the CA is down.
    shutil.move(server / "acquired/acme/current", server / "acquired/acme/order")
    for published in ("server.crt", "server.key", "server-chain.pem"):
        (server / published).unlink()
    completed = play.run("server_pki", variables=given)
    assert completed.code == 0, completed.output
    assert play.tree() == before
    assert ca.orders() >= orders

    unchanged = play.run("server_pki", variables=given)
    assert (unchanged.code, unchanged.changed) == (0, 0), unchanged.output
    ran = re.findall(r"^TASK \[.*?: (.*?)\]", unchanged.output, re.MULTILINE)
    assert "Create the order" not in ran

    due = play.run_play(refused({"server_pki_rekey": True}, given=given), {})
    assert due.code == 0, due.output
    (down,) = messages(due.output)
    assert "refused" in down
    assert "Check that the target host reaches server_pki_acme_directory" in down
    assert play.tree() == before


def test_a_standing_record_a_profile_and_the_advice_of_the_ca(program: str, play: Play, tmp_path: Path) -> None:
    """What Debian's Pebble does not know: dns-persist-01, profiles, ARI."""
    profiles = {"default": {"validityPeriod": 90 * 86400}, "shortlived": {"validityPeriod": 6 * 86400}}
    with names.running() as dns, pebble.running(program, tmp_path / "pebble", dns, profiles=profiles) as ca:
        if "renewalInfo" not in ca.answers():
            pytest.skip("this Pebble is older than 2.10; KYMA_MTLS_PEBBLE names a newer one (see CONTRIBUTING.md)")
        given = variables(ca, server_pki_acme_challenge="dns-persist-01", server_pki_acme_profile="shortlived")
        first = play.run("server_pki", variables=given)
        assert first.code == 0, first.output
        ((name, (record,)),) = dns.txt.items()
        assert name == "_validation-persist.mtls.local.kyma.dev."
        assert record.startswith("pebble.letsencrypt.org; accounturi=")
        assert record.endswith("; policy=wildcard")
        leaf = x509.load_pem_x509_certificate((play.pki / "server/server.crt").read_bytes())
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < datetime.timedelta(days=7)

        # Renewed without access to the zone, and as the replacement of the one before.
        renewed = play.run("server_pki", variables=given | {"server_pki_rekey": True, "server_pki_acme_dns_server": {}})
        assert renewed.code == 0, renewed.output
        assert dns.updates == 1
        assert "is a replacement of" in ca.log()
        assert x509.load_pem_x509_certificate((play.pki / "server/server.crt").read_bytes()) != leaf
        assert play.run("server_pki", variables=given).changed == 0

        unknown = play.run_play(refused({"server_pki_acme_profile": "nope"}, given=given), {})
        (refusal,) = messages(unknown.output)
        assert "does not support selected profile 'nope'" in refusal
        assert "Set server_pki_acme_profile to one that the CA has." in refusal


def test_a_preferred_chain_and_accounts_that_end(program: str, play: Play, tmp_path: Path) -> None:
    server = play.pki / "server"
    with names.running() as dns:
        with pebble.running(program, tmp_path / "pebble", dns, settings={"PEBBLE_ALTERNATE_ROOTS": "1"}) as ca:
            roots = [x509.load_pem_x509_certificate(ca.root_pem(number)) for number in (0, 1)]
            both = tmp_path / "roots.pem"
            both.write_bytes(ca.root_pem(0) + ca.root_pem(1))
            (name,) = roots[1].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            given = variables(ca, server_pki_acme_root=str(both), server_pki_acme_use_ari=False)
            preferred = given | {"server_pki_acme_preferred_chain": str(name.value)}
            chosen = play.run("server_pki", variables=preferred)
            assert chosen.code == 0, chosen.output
            assert x509.load_pem_x509_certificate((server / "ca.crt").read_bytes()).subject == roots[1].subject

            # The user, or the CA, has ended the account.
            before = play.tree()
            key = {"account_key_src": str(server / "acquired/acme/account.key"), "acme_version": 2}
            ended = {"community.crypto.acme_account": {"state": "absent", "acme_directory": ca.url, **key}}
            environment = {"SSL_CERT_FILE": str(ca.ca_file)}
            (tried,) = refused({"server_pki_rekey": True}, given=preferred)
            tried["tasks"].insert(0, {**ended, "environment": environment})
            failing = play.run_play([tried], {})
            assert failing.code == 0, failing.output
            (said,) = messages(failing.output)
            assert "deactivated" in said
            assert "Move its key away to have a new account created" in said
            assert "The certificate in use stays as it is." in said
            assert play.tree() == before

        # A CA that has forgotten the account, and everything else, gets a new one with the same key.
        with pebble.running(program, tmp_path / "again", dns) as other:
            moved = variables(other, server_pki_acme_use_ari=False, server_pki_acme_preferred_chain="Nobody's Root")
            again = play.run("server_pki", variables=moved)
            assert again.code == 0, again.output
            assert "offers no chain to Nobody's Root. The certificate has its default chain" in again.output
            assert x509.load_pem_x509_certificate((server / "server.crt").read_bytes()).issuer != roots[0].subject
            assert json.loads((server / "issued.jsonl").read_text().splitlines()[-1])["provider"] == "acme"
