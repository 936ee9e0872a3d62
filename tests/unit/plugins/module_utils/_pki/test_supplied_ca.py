# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody else has made: accepted as a whole, placed under the fixed names, and never over something else."""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.corporate import (
    SERVER,
    Corporate,
    corporate_server,
    provided,
)
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    certificate_pem,
    key_pem,
    make_ca,
)
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import (
    Side,
    client,
    openssl_accepts,
    server,
)


def test_a_server_certificate_of_a_corporate_ca(tmp_path: Path, corporate: Corporate) -> None:
    side = corporate_server(tmp_path, corporate, include_root=False)
    predicted = side.run(corporate.server(), check_mode=True)
    assert predicted["changed"]
    assert not side.path.exists()
    first = side.run(corporate.server())
    assert first["changed"]
    assert f"Write {side.path / 'server.crt'} from what is provided." in first["diff"]["after"]
    assert sorted(side.tree()) == ["ca.crt", "server-chain.pem", "server.crt", "server.key"]
    assert (side.path / "server.key").stat().st_mode & 0o777 == 0o600
    assert side.certificates("server-chain.pem") == [side.one("server.crt"), corporate.issuing.certificate]
    assert side.one("ca.crt") == corporate.home.certificate
    before = side.tree()
    assert not side.run(corporate.server())["changed"]
    assert side.tree() == before


def test_the_root_is_found_in_a_heap_of_roots(tmp_path: Path, corporate: Corporate) -> None:
    other = make_ca(ec.generate_private_key(ec.SECP256R1()), common_name="Another Root")
    heap = certificate_pem(other).decode() + corporate.ca
    side = corporate_server(tmp_path, corporate)
    both = Path(corporate.server()["certificate"]).read_text() + corporate.intermediate
    side.run(corporate.server(certificate=both, chain=None), provided=provided(heap))
    assert side.certificates("ca.crt") == [corporate.home.certificate]


def test_a_renewed_certificate_replaces_the_one_before_which_is_kept(tmp_path: Path, corporate: Corporate) -> None:
    side = corporate_server(tmp_path, corporate)
    side.run(corporate.server())
    old = side.tree()
    corporate.issuing.run(corporate.issuing.client("server", usage="server", rekey=True, **SERVER))
    renewed = side.run(corporate.server())
    assert f"Replace {side.path / 'server.key'} from what is provided." in renewed["actions"]
    assert side.tree()["server.key"] != old["server.key"]
    kept = {path.name: path for path in (side.path / "replaced").rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in kept.items()} == {
        name: old[name] for name in ("server.key", "server.crt", "server-chain.pem")
    }
    assert {path.stat().st_mode & 0o777 for path in kept.values()} == {0o600}
    assert not side.run(corporate.server())["changed"]


def test_an_encrypted_key_is_opened_for_the_gateway(tmp_path: Path, corporate: Corporate) -> None:
    key = serialization.load_pem_private_key(Path(corporate.server()["key"]).read_bytes(), None)
    (tmp_path / "locked.key").write_bytes(key_pem(t.cast("t.Any", key), "secret"))
    side = corporate_server(tmp_path, corporate)
    locked = corporate.server(key=str(tmp_path / "locked.key"))
    with pytest.raises(MtlsError, match="is encrypted and no passphrase was given"):
        side.run(locked)
    side.run(locked | {"key_passphrase": "secret"})
    assert side.key("server.key").private_numbers() == t.cast("t.Any", key).private_numbers()


def test_cas_to_trust_whose_key_is_elsewhere(tmp_path: Path, corporate: Corporate) -> None:
    side = client(tmp_path, provided=provided(corporate.ca + corporate.intermediate), certificates=[])
    assert side.run(check_mode=True)["changed"]
    side.run()
    assert side.certificates("ca-bundle.crt") == [corporate.home.certificate, corporate.issuing.certificate]
    assert sorted(side.tree()) == ["ca-bundle.crt", "ca.crt"]
    assert not side.run()["changed"]
    # A further root is added, and none is dropped.
    other = make_ca(ec.generate_private_key(ec.SECP256R1()), common_name="Another Root")
    assert side.run(provided=provided(certificate_pem(other).decode() + corporate.ca))["changed"]
    assert len(side.certificates("ca-bundle.crt")) == 3
    assert side.one("ca.crt") == corporate.home.certificate
    with_clients = {"provided": provided(corporate.ca + corporate.intermediate), "certificates": [corporate.client()]}
    assert side.run(**with_clients)["changed"]
    assert (side.path / "clients/curl/client.key").stat().st_mode & 0o777 == 0o600
    assert side.certificates("clients/curl/client-chain.pem")[1:] == [corporate.issuing.certificate]
    assert not side.run(**with_clients)["changed"]


def test_the_key_may_come_after_the_ca(tmp_path: Path, corporate: Corporate) -> None:
    side = client(tmp_path, provided=provided(corporate.ca))
    side.run(certificates=[])
    with_key = provided(corporate.ca, ca_key=str(corporate.home.ca_key))
    assert side.run(provided=with_key, check_mode=True)["changes"][0]["action"] == "issue"
    assert side.run(provided=with_key)["changed"]
    side.one("clients/curl/client.crt").verify_directly_issued_by(corporate.home.certificate)
    assert not side.run(provided=with_key)["changed"]


@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_a_root_with_its_key_issues(tmp_path: Path, corporate: Corporate, passphrase: str | None) -> None:
    given = provided(corporate.ca, ca_key=str(corporate.home.ca_key))
    side = client(tmp_path, provided=given, ca_key_passphrase=passphrase)
    assert "issued by CN=Corporate Root,O=Test Org" in side.run(check_mode=True)["diff"]["after"]
    side.run()
    assert side.one("ca.crt") == corporate.home.certificate
    assert (b"ENCRYPTED" in (side.path / "ca.key").read_bytes()) == (passphrase is not None)
    assert openssl_accepts(side.path / "ca-bundle.crt", side.path / "clients/curl/client.crt", "-purpose", "sslclient")
    assert not side.run()["changed"]
    side.run(state="revoked", revoke=["curl"])
    assert (side.path / "ca.crl").exists()


@pytest.mark.parametrize("make", [server, client])
def test_an_intermediate_with_its_key_issues_below_its_root(
    tmp_path: Path, corporate: Corporate, make: type[Side]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    lowest = make_ca(key, common_name="Lowest", issuer=(corporate.issuing.certificate, corporate.issuing.key))
    heap = corporate.ca + certificate_pem(lowest).decode() + corporate.intermediate
    side = make(tmp_path, provided=provided(heap, ca_key_content=key_pem(key).decode()))
    side.run()
    assert side.one("intermediate.crt") == lowest
    assert side.certificates("intermediate-chain.pem") == [corporate.issuing.certificate]
    assert not (side.path / "ca.key").exists()
    chain = "server-chain.pem" if side.usage == "server" else "clients/curl/client-chain.pem"
    assert side.certificates(chain)[1:3] == [lowest, corporate.issuing.certificate]
    leaf = side.path / chain
    assert openssl_accepts(side.path / "ca.crt", leaf, "-untrusted", str(leaf))
    assert not side.run()["changed"]


def below(above: tuple[x509.Certificate, t.Any] | None, **changes: t.Any) -> tuple[x509.Certificate, t.Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    return make_ca(key, issuer=above, **changes), key


@pytest.mark.parametrize("make", [server, client])
@pytest.mark.parametrize(
    ("root_allows", "middle_allows", "is_accepted"),
    [(0, None, False), (1, None, False), (None, 0, False), (2, 1, True), (None, None, True)],
)
def test_a_ca_issues_only_where_the_path_lengths_above_it_allow_one(
    tmp_path: Path, make: type[Side], root_allows: int | None, middle_allows: int | None, *, is_accepted: bool
) -> None:
    root = below(None, common_name="Narrow Root", path_length=root_allows)
    middle = below(root, common_name="Narrow Middle", path_length=middle_allows)
    lowest, key = below(middle, common_name="Lowest", path_length=0)
    heap = certificate_pem(root[0], middle[0], lowest).decode()
    side = make(tmp_path, provided=provided(heap, ca_key_content=key_pem(key).decode()))
    if not is_accepted:
        with pytest.raises(MtlsError, match=r"path length constraint .*allows [01] intermediates below it"):
            side.run()
        assert not side.path.exists()
        return
    side.run()
    leaf = side.path / ("server-chain.pem" if side.usage == "server" else "clients/curl/client-chain.pem")
    assert openssl_accepts(side.path / "ca.crt", leaf, "-untrusted", str(leaf))


def test_a_ca_that_may_not_sign_certificates_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    root = below(None, common_name="Root")
    middle, key = below(root, common_name="Middle", key_cert_sign=False)
    alone, own = below(None, common_name="Alone", key_cert_sign=False)
    for certificates, issuing in (((root[0], middle), key), ((alone,), own)):
        heap = certificate_pem(*certificates).decode()
        side = client(tmp_path, provided=provided(heap, ca_key_content=key_pem(issuing).decode()))
        with pytest.raises(MtlsError, match=r"cannot be used: its key usage does not allow .*keyCertSign"):
            side.run()
        assert not side.path.exists()


def test_a_home_of_the_same_ca_goes_on_and_another_is_refused(tmp_path: Path, corporate: Corporate) -> None:
    own = server(tmp_path)
    own.run()
    files = {"ca": str(own.path / "ca.crt"), "ca_key": str(own.path / "ca.key"), "ca_key_content": None}
    assert not own.run(provided=files)["changed"]
    before = own.tree()
    with pytest.raises(MtlsError, match=r"has a CA already, .*Test Server Root.*A CA is never replaced automatically"):
        own.run(corporate.server(), provided=provided(corporate.ca), hostnames=[])
    (own.path / "ca.crt").unlink()
    with pytest.raises(MtlsError, match=r"has a CA of its own already: ca\.key"):
        own.run(corporate.server(), provided=provided(corporate.ca), hostnames=[])
    (own.path / "ca.crt").write_bytes(before["ca.crt"])
    assert own.tree() == before


def test_another_key_is_not_overwritten(tmp_path: Path, corporate: Corporate) -> None:
    side = client(tmp_path, provided=provided(corporate.ca, ca_key=str(corporate.home.ca_key)))
    side.run()
    for other in (key_pem(ec.generate_private_key(ec.SECP256R1())), b"damaged"):
        (side.path / "ca.key").write_bytes(other)
        with pytest.raises(
            MtlsError, match=r"ca\.key already exists and differs from what is provided. It was not overwritten"
        ):
            side.run()
        assert (side.path / "ca.key").read_bytes() == other


def test_another_encrypted_key_is_not_taken_for_the_provided_one(tmp_path: Path, corporate: Corporate) -> None:
    given = provided(corporate.ca, ca_key=str(corporate.home.ca_key))
    side = client(tmp_path, provided=given, ca_key_passphrase="secret")  # noqa: S106  (a test's)
    side.run()
    (side.path / "ca.key").write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1()), "secret"))
    with pytest.raises(
        MtlsError, match=r"ca\.key already exists and differs from what is provided. It was not overwritten"
    ):
        side.run()


@pytest.mark.parametrize(("passphrase", "lack"), [("another", "is not the one that is given"), (None, "is not given")])
def test_a_stored_key_with_another_passphrase_is_said_to_have_one(
    tmp_path: Path, corporate: Corporate, passphrase: str | None, lack: str
) -> None:
    given = provided(corporate.ca, ca_key=str(corporate.home.ca_key))
    side = client(tmp_path, provided=given, ca_key_passphrase="secret")  # noqa: S106  (a test's)
    side.run()
    before = side.tree()
    with pytest.raises(
        MtlsError, match=rf"its passphrase {lack}.* is that of the provided key: probably only the pass"
    ):
        side.run(ca_key_passphrase=passphrase)
    assert side.tree() == before
    (side.path / "ca.crt").unlink()
    with pytest.raises(MtlsError, match=rf"its passphrase {lack}.* There is no certificate .*ca\.crt that could tell"):
        side.run(ca_key_passphrase=passphrase)


def test_a_locked_key_beside_another_certificate_is_said_to_be_that(tmp_path: Path, corporate: Corporate) -> None:
    given = provided(corporate.ca + corporate.intermediate, ca_key=str(corporate.issuing.ca_key))
    side = client(tmp_path, provided=given, ca_key_passphrase="secret")  # noqa: S106  (a test's)
    side.run()
    other, key = below(None, common_name="Other")
    (side.path / "intermediate.crt").write_bytes(certificate_pem(other))
    (side.path / "intermediate.key").write_bytes(key_pem(key, "another"))
    with pytest.raises(MtlsError, match=r"intermediate\.crt beside it is not that of the provided key"):
        side.run()


def test_a_stored_key_is_the_same_with_or_without_a_passphrase(tmp_path: Path, corporate: Corporate) -> None:
    given = provided(corporate.ca, ca_key=str(corporate.home.ca_key))
    side = client(tmp_path, provided=given)
    side.run()
    before = side.tree()
    assert not side.run(ca_key_passphrase="secret")["changed"]  # noqa: S106  (a test's)
    assert side.tree() == before


def test_a_provided_home_does_not_become_one_of_our_own(tmp_path: Path, corporate: Corporate) -> None:
    side = corporate_server(tmp_path, corporate)
    side.run(corporate.server())
    with pytest.raises(MtlsError, match=r"ca\.subject is"):
        side.run(provided=None, hostnames=[])


def test_nothing_is_provided_in_the_middle_of_a_rotation(tmp_path: Path) -> None:
    side = server(tmp_path)
    side.run()
    files = {"ca": str(side.path / "ca.crt"), "ca_key": str(side.path / "ca.key"), "ca_key_content": None}
    side.run(state="prepared")
    with pytest.raises(MtlsError, match="is under way, so nothing can be provided there"):
        side.run(provided=files)


def test_a_killed_placement_is_completed(tmp_path: Path, corporate: Corporate) -> None:
    whole = corporate_server(tmp_path, corporate)
    whole.run(corporate.server())
    complete = whole.tree()
    for name in complete:
        part = corporate_server(tmp_path / name, corporate)
        shutil.copytree(whole.path, part.path)
        (part.path / name).rename(part.path / f".{name}.abcdefgh")
        assert part.run(corporate.server())["changed"]
        assert part.tree() == complete
