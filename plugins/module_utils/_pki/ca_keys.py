# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CA keys that are not files, and which CA has which.

Which key a CA has is decided by its public key alone, when something has to be signed. So a run that signs nothing
opens no token, and a CA never gets another key.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys
from ansible_collections.kyma.mtls.plugins.module_utils._signer import keys as external
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label

if t.TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import PrivateKey, PublicKey, Signer

_ROTATE = "To change to another key, rotate the CA: see docs/ca-keys-in-hardware.md."


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
        if not self.every or keys.spec_of(certificate.public_key()).type not in {"RSA", "ECDSA"}:
            return None
        public_key = t.cast("PublicKey", certificate.public_key())
        return external.private_key(public_key, _Signature(self, public_key, label(certificate)))

    def new_key(self, signer: Signer, spec: keys.KeySpec) -> PrivateKey:
        """Return the key for a new CA. Raises MtlsError when it is not there, or of another kind than ``spec``."""
        public_key = signer.public_key()
        if public_key is None:
            raise MtlsError(
                f"{signer.label} has no public key object beside it, so no CA certificate can be made for it. Write "
                "the public key into the token with the same label and id, for example with pkcs11-tool "
                "--write-object."
            )
        if (found := keys.spec_of(public_key)) != spec:
            raise MtlsError(
                f"{signer.label} is {found}, but ca.key_type, ca.key_size and ca.curve ask for {spec}. Set them to "
                "what is there, or name another key."
            )
        return external.private_key(public_key, _Signature(self, public_key, "the new CA"))

    @staticmethod
    def note_on_file(signer: Signer, certificate: x509.Certificate, key_path: Path) -> str:
        """Say what to do with the key file of a CA whose key shall be no file any more.

        Raises MtlsError when ``signer`` has another key.
        """
        public_key = signer.public_key()
        if public_key is not None and external.same(public_key, t.cast("PublicKey", certificate.public_key())):
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
            elif external.same(found, public_key):
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
            return external.stand_in(self.public_key)
        return external.signature(self.signer, data, algorithm, self.public_key)
