# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys: what kind, where the keys of CAs are, and how a key is written: as PEM, or in a PKCS#12 file.

Which key a CA has that is no file is decided by its public key alone, when something has to be signed. So a run that
signs nothing opens no token, and a CA never gets another key.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._signer import keys as signer_keys
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label
from ansible_collections.kyma.mtls.plugins.module_utils._x509.private_key import WrongPassphraseError, load_private_key

try:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import PrivateKey, PublicKey, Signer

    LeafKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

# OpenSSL's limit for the passphrase of a PEM file.
PASSPHRASE_MAXIMUM_BYTES = 1023
RSA_MINIMUM_BITS = 2048
RSA_MAXIMUM_BITS = 8192

# OpenSSL's names of the curves -> those of NIST, which users and RFC 8446 write.
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384"}


@dataclasses.dataclass(frozen=True)
class KeySpec:
    """The kind of a key. ``size`` is set for RSA, ``curve`` for ECDSA."""

    type: str
    size: int | None = None
    curve: str | None = None

    def __str__(self) -> str:
        detail = self.size if self.size is not None else self.curve
        return f"{self.type} {detail}" if detail is not None else self.type


def specified(kind: str, *, size: int, curve: str) -> KeySpec:
    """Give the key that options ask for. Raises MtlsError for an RSA key that is too small or too large."""
    if kind == "RSA":
        if not RSA_MINIMUM_BITS <= size <= RSA_MAXIMUM_BITS:
            raise MtlsError(
                f"key_size is {size}, but an RSA key must have {RSA_MINIMUM_BITS} to {RSA_MAXIMUM_BITS} bits."
            )
        return KeySpec("RSA", size=size)
    return KeySpec("ECDSA", curve=curve) if kind == "ECDSA" else KeySpec("Ed25519")


def spec_of(key: PrivateKeyTypes | PublicKeyTypes) -> KeySpec:
    """Say what kind of key ``key`` is."""
    if isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        return KeySpec("RSA", size=key.key_size)
    if isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)):
        return KeySpec("ECDSA", curve=_CURVES.get(key.curve.name, key.curve.name))
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
        return KeySpec("Ed25519")
    return KeySpec(type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey"))


def generate(spec: KeySpec) -> LeafKey:
    """Make a new key. The costly work is done outside the GIL, so threads make keys in parallel."""
    if spec.type == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=spec.size or RSA_MINIMUM_BITS)
    if spec.type == "ECDSA":
        return ec.generate_private_key(ec.SECP384R1() if spec.curve == "P-384" else ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def to_pem(key: LeafKey, *, passphrase: bytes | None = None) -> bytes:
    """Write ``key`` as PKCS#8: unencrypted, which Envoy, curl and Python all read, or encrypted with ``passphrase``."""
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def is_encrypted(data: bytes) -> bool:
    """Tell whether a private key that can be read needs a passphrase."""
    if b"-----BEGIN" in data:
        return b"ENCRYPTED" in data
    try:
        load_private_key(data, source="")
    except WrongPassphraseError:
        return True
    return False


_ROTATE = "To change to another key, rotate the CA: see docs/ca-keys-in-hardware.md."


@dataclasses.dataclass(frozen=True)
class Pkcs12:
    """A PKCS#12 file beside the PEM files; ``profile`` is ``modern`` or ``legacy``."""

    password: str = dataclasses.field(repr=False)
    friendly_name: str
    profile: str


@dataclasses.dataclass(frozen=True)
class CaKeys:
    """Where the keys of the root and the intermediate CA are, and those of the CAs before a rotation.

    None is a file. Without ``is_signing``, in check mode, the tokens are looked at, and nothing is signed.
    """

    ca: Signer | None = None
    intermediate: Signer | None = None
    previous: tuple[Signer, ...] = ()
    is_signing: bool = True

    @property
    def every(self) -> tuple[Signer, ...]:
        return tuple(signer for signer in (self.ca, self.intermediate, *self.previous) if signer is not None)

    def of(self, basename: str) -> Signer | None:
        """Return where the key of a new CA is, None for a file."""
        return self.ca if basename == "ca" else self.intermediate

    def key_of(self, certificate: x509.Certificate) -> PrivateKey | None:
        """Return the key of a CA, to be found when it signs for the first time; None where it can only be a file."""
        if not self.every or spec_of(certificate.public_key()).type not in {"RSA", "ECDSA"}:
            return None
        public_key = t.cast("PublicKey", certificate.public_key())
        return signer_keys.private_key(public_key, _Signature(self, public_key, label(certificate)))

    def new_key(self, signer: Signer, spec: KeySpec) -> PrivateKey:
        """Return the key for a new CA. Raises MtlsError when it is not there, or of another kind than ``spec``."""
        public_key = signer.public_key()
        if public_key is None:
            raise MtlsError(
                f"{signer.label} has no public key object beside it, so no CA certificate can be made for it. Write "
                "the public key into the token with the same label and id, for example with pkcs11-tool "
                "--write-object."
            )
        if (found := spec_of(public_key)) != spec:
            raise MtlsError(
                f"{signer.label} is {found}, but ca.key_type, ca.key_size and ca.curve ask for {spec}. Set them to "
                "what is there, or name another key."
            )
        return signer_keys.private_key(public_key, _Signature(self, public_key, "the new CA"))

    @staticmethod
    def note_on_file(signer: Signer, certificate: x509.Certificate, key_path: Path) -> str:
        """Say what to do with the key file of a CA whose key shall be no file any more.

        Raises MtlsError when ``signer`` has another key.
        """
        public_key = signer.public_key()
        if public_key is not None and signer_keys.same(public_key, t.cast("PublicKey", certificate.public_key())):
            return (
                f"{signer.label} is that of {label(certificate)}, and so is the file {key_path}. Whoever reads the "
                "file has the CA: keep it offline, or destroy it."
            )
        raise MtlsError(
            f"The CA {label(certificate)} has its key in the file {key_path}, and {signer.name} names another key. A "
            f"CA is never given another key; nothing was changed. {_ROTATE} Or remove {signer.name} to go on with the "
            "file."
        )

    def find(self, public_key: PublicKey, ca: str) -> Signer:
        """Return what signs with the key of ``ca``. Raises MtlsError when there is none."""
        unknown: list[Signer] = []
        problems: list[MtlsError] = []
        for signer in self.every:
            try:
                found = signer.public_key()
            except MtlsError as exc:
                problems.append(exc)
                continue
            if found is None:
                unknown.append(signer)
            elif signer_keys.same(found, public_key):
                return signer
        if unknown:  # what it signs is verified anyway
            return unknown[0]
        if problems:
            raise problems[0]
        names = ", ".join(signer.name for signer in self.every)
        raise MtlsError(
            f"The CA {ca} was created with another key: it is not that of {names}. A CA is never given "
            f"another key; nothing was changed. Name the key that it was created with, or put its file back. {_ROTATE}"
        )


@dataclasses.dataclass
class _Signature:
    """What signs for one CA; who that is, is found once."""

    ca_keys: CaKeys
    public_key: PublicKey
    ca: str
    signer: Signer | None = None

    def __call__(self, data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        if self.signer is None:
            self.signer = self.ca_keys.find(self.public_key, self.ca)
        if not self.ca_keys.is_signing:
            return signer_keys.stand_in(self.public_key)
        return signer_keys.signature(self.signer, data, algorithm, self.public_key)


# DER of pbeWithSHAAnd3-KeyTripleDES-CBC, 1.2.840.113549.1.12.1.3 (RFC 7292 appendix C).
_LEGACY_MARK = bytes.fromhex("060a2a864886f70d010c0103")
# What OpenSSL's own pkcs12 command uses; more rounds only slow a run down, as the key lies beside it in the clear.
_ROUNDS = 2048


def to_pkcs12(
    spec: Pkcs12, *, key: LeafKey, certificate: x509.Certificate, chain: t.Sequence[x509.Certificate]
) -> bytes:
    """Encode key, certificate and chain.

    The profile ``modern`` is AES-256 with SHA-256; ``legacy`` is 3DES with SHA-1, the only one that the key chains of
    macOS before 15 and Android before 14 import.
    """
    from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415  (costly, and most runs do without)

    builder = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(_ROUNDS)
    if spec.profile == "legacy":
        weak = hashes.SHA1()  # noqa: S303  (old key chains import no other, as said above)
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(weak)
    else:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
    return pkcs12.serialize_key_and_certificates(
        spec.friendly_name.encode(), key, certificate, list(chain), builder.build(spec.password.encode())
    )


def _is_named(found: bytes | None, friendly_name: str) -> bool:
    # What is written in UTF-16 pairs, as an emoji is, cryptography does not read back.
    return found == friendly_name.encode() or (found is None and any(ord(letter) > 0xFFFF for letter in friendly_name))


def pkcs12_differences(
    data: bytes, spec: Pkcs12, *, certificate: x509.Certificate, chain: t.Sequence[x509.Certificate]
) -> list[str]:
    """Say in words why ``data`` is not the PKCS#12 file that is specified; empty when it is."""
    try:
        found = load.load_pkcs12(data, password=spec.password.encode(), source="")
    except MtlsError:
        return ["it does not open with the password"]
    reasons = []
    if found.cert is None or found.cert.certificate != certificate:
        reasons.append("it holds another certificate")
    elif not _is_named(found.cert.friendly_name, spec.friendly_name):
        reasons.append("its friendly name is another")
    if found.key is None or not load.key_matches(certificate, found.key):
        reasons.append("it does not hold the certificate's key")
    if [entry.certificate for entry in found.additional_certs] != list(chain):
        reasons.append("it holds other CA certificates")
    if (_LEGACY_MARK in data) != (spec.profile == "legacy"):
        reasons.append(f"its profile is not {spec.profile}")
    return reasons
