# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is fed: each target takes bytes, and answers or refuses in words. Anything else is a fault."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import random
import shutil
import tempfile
import typing as t
from pathlib import Path

from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.prepare import prepare
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import certificates as server_certificates
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.expiry import Threshold
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain, describe, issuance, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Limits, Policy
from ansible_collections.kyma.mtls.plugins.modules import pki
from ansible_collections.kyma.mtls.tests.fuzz import seeds
from ansible_collections.kyma.mtls.tests.limbo import zoo


@dataclasses.dataclass(frozen=True)
class Target:
    """``share`` is how many of a hundred inputs it gets."""

    name: str
    share: int
    seeds: t.Callable[[], list[bytes]]
    run: t.Callable[[bytes], None]


def dice_of(data: bytes) -> random.Random:
    """Options are drawn from the input, so that it alone repeats a run."""
    return random.Random(hashlib.sha256(data).digest())  # noqa: S311  (no secret)


def build_chain(data: bytes) -> None:
    dice = dice_of(data)
    found = load.load_certificates(data, source="bundle", is_probed=False).certificates
    crls, key = (), None
    with contextlib.suppress(MtlsError):
        crls = load.load_crls(data, source="bundle").crls
    with contextlib.suppress(MtlsError):
        key = load.load_private_key(data, passphrase=seeds.PASSWORD, source="bundle")
    request = chain.ChainRequest(
        leaf_input=found[:1] if dice.random() < 0.7 else found,
        candidates=found[1:],
        roots=found[-1:] if dice.random() < 0.7 else found,
        private_key=key if dice.random() < 0.3 else None,
        policy=Policy(
            now=zoo.NOW,
            purpose=dice.choice(["server", "client", "any"]),
            profile=dice.choice(["rfc5280", "webpki"]),
            hostnames=("leaf.example",) if dice.random() < 0.5 else (),
            crls=crls if dice.random() < 0.7 else (),
            require_crl=dice.random() < 0.2,
            allow_partial=dice.random() < 0.5,
            limits=Limits(signatures=200),
        ),
    )
    chain.resolve(request).as_result()


def read_certificates(data: bytes) -> None:
    for certificate in load.load_certificates(data, source="certificates").certificates:
        json.dumps(describe.describe_certificate(certificate, now=zoo.NOW))
        issuance.is_ca(certificate)
        issuance.is_issued_by(certificate, certificate)


def check_server(data: bytes) -> None:
    """What a TLS server sends is not read from a file and not refused: its faults are findings."""
    found = server_certificates.parse_chain(seeds.cut(data))
    server_certificates.check_chain(found, now=zoo.NOW)
    server_certificates.check_strength(found)
    for leaf in found[:1]:
        server_certificates.check_leaf(leaf)
        server_certificates.check_names(leaf, "leaf.example")
        server_certificates.check_revocation_urls(leaf)
        server_certificates.check_validity(
            "server", leaf, now=zoo.NOW, warning=Threshold(percentage=25), failure=Threshold(30)
        )


def read_crls(data: bytes) -> None:
    for crl in load.load_crls(data, source="list").crls:
        json.dumps(describe.describe_crl(crl))


def read_key(data: bytes) -> None:
    key = load.load_private_key(data, passphrase=seeds.PASSWORD, source="key")
    load.key_matches(seeds.chains()[0].end.certificate, key)


def read_pkcs12(data: bytes) -> None:
    found = load.load_pkcs12(data, password=seeds.PASSWORD, source="file.p12")
    if found.cert is not None and found.key is not None:
        load.key_matches(found.cert.certificate, found.key)


def prepare_secret(data: bytes) -> None:
    names = ("tls.crt", "tls.key", "cacert", "crl")
    parts = dict(zip(names, seeds.parts_of(data), strict=False))
    prepare(Secret("kyma-mtls", "istio-system", parts), now=zoo.NOW)


class _Home:
    """A PKI's directory in which one file is replaced before each run, and all are put back after it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.options: dict[str, t.Any] = {
            "usage": "client",
            "directory": str(self.path / "client"),
            "ca": {"subject": [{"O": "Fuzz"}, {"CN": "Root"}], "key_type": "ECDSA"},
            "intermediate": {"subject": [{"O": "Fuzz"}, {"CN": "Issuing"}]},
            "defaults": {"key_type": "ECDSA", "organization": "Fuzz"},
            "certificates": [{"name": "curl", "p12": {"password": "secret"}}, {"name": "gone"}],
        }
        self.run()
        self.run(revoke=["gone"])
        self.files = {one.relative_to(self.path).as_posix(): one.read_bytes() for one in self._all()}

    def _all(self) -> list[Path]:
        return [one for one in self.path.rglob("*") if one.is_file()]

    def run(self, **options: t.Any) -> None:
        given = {**self.options, **options, "_ansible_remote_tmp": str(self.path)}
        output = io.StringIO()
        with patch_module_args(given), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            pki.main()
        result = json.loads(output.getvalue().splitlines()[-1])
        if result.get("failed"):
            raise MtlsError(result["msg"])

    def restore(self) -> None:
        for one in self._all():
            if self.files.get(one.relative_to(self.path).as_posix()) != one.read_bytes():
                one.unlink()
        for name, data in self.files.items():
            path = self.path / name
            if not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
                path.write_bytes(data)


@functools.cache
def home() -> _Home:
    import atexit  # noqa: PLC0415  (only where this target runs)

    made = _Home()
    atexit.register(shutil.rmtree, made.path, ignore_errors=True)
    return made


def home_seeds() -> list[bytes]:
    """Each file of the PKI behind its name; the register, the lists and the bundle more often, for others edit them."""
    found = [name.encode() + seeds.SEPARATOR + data for name, data in home().files.items()]
    often = [one for one in found if one.partition(seeds.SEPARATOR)[0].endswith((b".jsonl", b".crl", b"bundle.crt"))]
    return found + often * 4


def run_pki(data: bytes) -> None:
    name, _separator, content = data.partition(seeds.SEPARATOR)
    path = name.decode("latin-1")
    place = home()
    if path not in place.files:
        path = dice_of(data).choice(sorted(place.files))
    (place.path / path).write_bytes(content)
    try:
        place.run(_ansible_check_mode=dice_of(data).random() < 0.3)
    finally:
        place.restore()


TARGETS = (
    Target("chain", 30, seeds.bundles, build_chain),
    Target("certificates", 12, seeds.certificates, read_certificates),
    Target("server", 12, seeds.certificates, check_server),
    Target("crls", 10, seeds.crls, read_crls),
    Target("keys", 12, seeds.keys, read_key),
    Target("pkcs12", 8, seeds.pkcs12_files, read_pkcs12),
    Target("secret", 12, seeds.secrets, prepare_secret),
    Target("pki", 4, home_seeds, run_pki),
)
