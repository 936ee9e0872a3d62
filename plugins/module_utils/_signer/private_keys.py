# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys for the builders of cryptography, which ask them only for the public key and for signatures."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import SignFunction


class _NoFile:
    """What a key that never leaves its place cannot do."""

    def private_numbers(self) -> t.NoReturn:
        raise MtlsError("The private key does not leave its token or service.")

    def private_bytes(self, *_arguments: t.Any, **_named: t.Any) -> t.NoReturn:
        self.private_numbers()

    def decrypt(self, *_arguments: t.Any) -> t.NoReturn:
        self.private_numbers()

    def exchange(self, *_arguments: t.Any) -> t.NoReturn:
        self.private_numbers()

    def __copy__(self) -> t.Any:
        return self

    def __deepcopy__(self, _memo: t.Any) -> t.Any:
        return self


try:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
except ImportError:
    pass  # the module's edge reports it
else:

    class RsaKey(_NoFile, rsa.RSAPrivateKey):
        def __init__(self, public_key: rsa.RSAPublicKey, sign: SignFunction) -> None:
            self._public_key, self._sign = public_key, sign

        @property
        def key_size(self) -> int:
            return self._public_key.key_size

        def public_key(self) -> rsa.RSAPublicKey:
            return self._public_key

        def sign(self, data: t.Any, padding: t.Any, algorithm: t.Any) -> bytes:
            if type(padding).__name__ != "PKCS1v15":
                raise MtlsError("A CA key that is not a file signs by PKCS #1 v1.5 only, not by RSASSA-PSS.")
            return self._sign(bytes(data), algorithm)

    class EcKey(_NoFile, ec.EllipticCurvePrivateKey):
        def __init__(self, public_key: ec.EllipticCurvePublicKey, sign: SignFunction) -> None:
            self._public_key, self._sign = public_key, sign

        @property
        def curve(self) -> ec.EllipticCurve:
            return self._public_key.curve

        @property
        def key_size(self) -> int:
            return self._public_key.key_size

        def public_key(self) -> ec.EllipticCurvePublicKey:
            return self._public_key

        def sign(self, data: t.Any, signature_algorithm: t.Any) -> bytes:
            return self._sign(bytes(data), signature_algorithm.algorithm)
