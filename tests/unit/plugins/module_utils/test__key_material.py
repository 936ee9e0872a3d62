# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys where the path of a file belongs, and parts of them in what an API server says."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from ansible_collections.kyma.mtls.plugins.module_utils import _key_material
from ansible_collections.kyma.mtls.plugins.modules import certificate_chain, local_apply, mtls_verify
from ansible_collections.kyma.mtls.tests.servers.pki import PEM, make_ca, name

CA = make_ca(name(common_name="Root"))
CERTIFICATE = CA.certificate.public_bytes(PEM).decode()
KEYS: dict[str, t.Any] = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "ECDSA": ec.generate_private_key(ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def forms() -> t.Iterator[tuple[str, str]]:
    """Give every way in which a key is written down."""
    for kind, key in KEYS.items():
        for form, title in (
            (PrivateFormat.PKCS8, "PKCS8"),
            (PrivateFormat.TraditionalOpenSSL, "traditional"),
            (PrivateFormat.OpenSSH, "OpenSSH"),
        ):
            if kind == "Ed25519" and form is PrivateFormat.TraditionalOpenSSL:
                continue
            yield f"{kind} {title}", key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
        encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        yield f"{kind} encrypted", encrypted.decode()


PEMS = dict(forms())


def spellings() -> t.Iterator[t.Any]:
    for title, pem in PEMS.items():
        body = "".join(pem.splitlines()[1:-1])
        der = base64.b64decode(body)
        for way, text in {
            "PEM": pem,
            "PEM in one line": pem.replace("\n", "\\n"),
            "PEM without line breaks": pem.replace("\n", " "),
            "base64 of PEM": base64.b64encode(pem.encode()).decode(),
            "base64 of PEM, in lines": base64.encodebytes(pem.encode()).decode(),
            "base64 of base64 of PEM": base64.b64encode(base64.b64encode(pem.encode())).decode(),
            "base64 of DER": body,
            "base64 of DER, in lines": "\n".join(pem.splitlines()[1:-1]),
            "base64 of DER, cut": body[:60],
            "base64 for URLs": base64.urlsafe_b64encode(der).decode(),
            "hexadecimal digits": der.hex(),
            "inside YAML": f"users:\n- client-key-data: {base64.b64encode(pem.encode()).decode()}\n",
        }.items():
            yield pytest.param(text, id=f"{title}, {way}")


@pytest.mark.parametrize("text", list(spellings()))
def test_a_key_is_no_path_in_whatever_form(text: str) -> None:
    assert _key_material.may_be_key_material(text)
    shown = _key_material.hide_private_keys(f"The key {text} does not exist.")
    assert shown.startswith("The key ")
    assert shown.endswith(" does not exist.")
    assert not any(text[start : start + 24] in shown for start in range(40, len(text) - 40))


def test_a_pkcs12_file_is_no_path() -> None:
    made = serialize_key_and_certificates(b"x", CA.key, CA.certificate, None, BestAvailableEncryption(b"x"))
    assert _key_material.may_be_key_material(base64.b64encode(made).decode())


def test_the_middle_of_a_key_is_no_path() -> None:
    body = "".join(PEMS["RSA PKCS8"].splitlines()[5:-3])
    assert _key_material.may_be_key_material(body)


def test_a_key_without_its_first_lines_is_no_path() -> None:
    for pem in (text for title, text in PEMS.items() if title.startswith("RSA")):
        assert _key_material.may_be_key_material("".join(pem.splitlines(keepends=True)[2:]))


def test_a_key_in_digits_with_colons_is_no_path() -> None:
    for title in ("RSA PKCS8", "ECDSA PKCS8"):
        der = base64.b64decode("".join(PEMS[title].splitlines()[1:-1]))
        assert _key_material.may_be_key_material(der.hex(":"))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/pki/tls/private/server.key",
        "~/.kyma-mtls/pki/client/clients/curl/client.key",
        "/home/someone/with/a/long/way/to/the/directory/in/which/the/private/keys/of/all/the/clients/are/kept/by/name",
        "MII/server.key",
        "relative/MIIEvQIBADANBgkqhkiG/x.pem",
        CERTIFICATE,
        "".join(CERTIFICATE.splitlines()[1:-1])[:120],
        CA.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "",
    ],
)
def test_paths_and_what_is_public_are_no_keys(path: str) -> None:
    assert not _key_material.may_be_key_material(path)
    assert _key_material.hide_private_keys(f"The file {path} does not exist.") == f"The file {path} does not exist."


def answer_of(
    module: t.Any, given: dict[str, t.Any], capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, t.Any], str]:
    with patch_module_args(given), pytest.raises(SystemExit):
        module.main()
    out = capsys.readouterr().out
    return json.loads(out), out


SECRET = base64.b64encode(PEMS["RSA PKCS8"].encode()).decode()


@pytest.mark.parametrize(
    ("module", "given", "option"),
    [
        (mtls_verify, {"url": "https://a.test/", "client_cert": "/x", "client_key": SECRET}, "client_key"),
        (mtls_verify, {"url": "https://a.test/", "client_cert": "/x", "ca": ["/x", SECRET]}, "ca"),
        (
            mtls_verify,
            {"url": "https://a.test/", "client_cert": "/x", "clients": [{"name": "a", "cert": "/x", "key": SECRET}]},
            "clients.key",
        ),
        (certificate_chain, {"leaf": "/x", "private_key": SECRET}, "private_key"),
        (
            local_apply,
            {
                "runtime": "/nowhere",
                "definition": [],
                "secrets": [{"name": "a", "namespace": "b", "files": {"tls.crt": "/x", "tls.key": SECRET}}],
            },
            "secrets.files",
        ),
    ],
)
def test_a_module_refuses_a_key_as_a_path_and_shows_nothing_of_it(
    module: t.Any, given: dict[str, t.Any], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result, out = answer_of(module, given, capsys)
    assert result["failed"]
    assert result["msg"].startswith(f"{option} has a private key")
    # All of it, "invocation" too, which ansible-core before 2.21 shows with -vvv.
    assert SECRET[200:240] not in out


def test_what_an_api_server_quotes_of_a_secret_is_not_shown() -> None:
    pem = PEMS["ECDSA PKCS8"]
    encoded = base64.b64encode(pem.encode()).decode()
    body = "".join(pem.splitlines()[1:-1])
    for quoted in (
        encoded,
        encoded[:60] + "...",
        encoded[50:90],
        pem,
        json.dumps(pem),
        body,
        body[20:50],
        pem.encode().hex(),
    ):
        message = f'Secret "x" is invalid: data[tls.key]: Invalid value: "{quoted}": must be a key'
        shown = _key_material.hide_parts(message, [encoded, base64.b64encode(b"short").decode()])
        assert shown.startswith('Secret "x" is invalid: data[tls.key]: Invalid value: "')
        assert shown.endswith(": must be a key")
        assert "(not shown)" in shown
        assert not any(quoted[start : start + 12] in shown for start in range(len(quoted) - 12))


def test_a_message_without_any_part_of_the_secret_stays_as_it_is() -> None:
    message = (
        'secrets "kyma-mtls" is forbidden: User "me" cannot patch resource "secrets" in API group "" in the namespace'
    )
    assert _key_material.hide_parts(message, [SECRET, ""]) == message


def test_a_name_that_no_file_can_have_is_refused_and_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for leaf in ("n/" * 10 + "x." * 200, "/etc/a\0b"):
        with patch_module_args({"leaf": leaf, "roots": ["/etc/ssl/certs"]}), pytest.raises(SystemExit):
            certificate_chain.main()
        assert json.loads(capsys.readouterr().out)["msg"].startswith("leaf is not a path:")
