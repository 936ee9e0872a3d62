# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A key in a PKCS#11 token: a hardware security module, a smart card, SoftHSM.

The library python-pkcs11 is imported when a token is needed. A token is opened once in a process, as its login holds
for the whole process; a login that failed is not tried again, because a token locks itself after a few wrong PINs.
"""

from __future__ import annotations

import importlib
import itertools
import re
import threading
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import UnavailableError

try:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import PublicKey

# The names of the curves in DER (RFC 5480 section 2.1.1.1).
_P256, _P384 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06052b81040022")
# Names of exceptions of python-pkcs11, which say nothing else, and what to do.
_ADVICE = {
    "PinIncorrect": "the PIN is wrong. It is not tried again, as a token locks itself after a few wrong PINs",
    "PinLenRange": "the PIN is wrong: no PIN of this token has its length. It is not tried again",
    "PinInvalid": "the PIN is wrong: it has characters that no PIN of this token has. It is not tried again",
    "PinLocked": "the PIN is locked after too many wrong ones. Unlock it with the token's own tool",
    "PinExpired": "the PIN has expired. Set a new one with the token's own tool",
    "UserPinNotInitialized": "the token has no user PIN yet. Set one with the token's own tool",
    "UserAlreadyLoggedIn": "another PIN has opened it before in this run. Give the same PIN in all options",
    "TokenNotPresent": "the token is gone. Insert or connect it",
    "DeviceRemoved": "the token is gone. Insert or connect it",
    "TokenNotRecognised": "the token is not recognised",
    "DeviceError": "the token reports an error of its own",
    "MechanismInvalid": "the token does not know the mechanism",
    "KeyFunctionNotPermitted": "the key may not be used for signatures (CKA_SIGN)",
    "UserNotLoggedIn": "it requires a PIN. Give it as pkcs11.pin",
}

_GONE = ("TokenNotPresent", "DeviceRemoved", "DeviceError", "TokenNotRecognised")

_Result = t.TypeVar("_Result")
_lock = threading.RLock()  # a session does one thing at a time, and a module that was not asked knows no threads
_sessions: dict[tuple[t.Any, ...], t.Any] = {}
_keys: dict[tuple[t.Any, ...], t.Any] = {}
_modules: set[t.Any] = set()


@dataclass(frozen=True)
class Pkcs11Signer:
    """A key in a token, by its label, and by its id where several have that label."""

    name: str
    module: Path
    token: str
    serial: str | None
    key_label: str
    key_id: bytes | None
    pin: str | None = field(repr=False)

    @property
    def label(self) -> str:
        identifier = f" with the id {self.key_id.hex()}" if self.key_id else ""
        return f"The key {self.key_label!r}{identifier} in the token {self.token!r} ({self.name}.pkcs11)"

    @property
    def place(self) -> str:
        return f"the token {self.token!r}"

    def public_key(self) -> PublicKey | None:
        return self._do(lambda session: _public_key(session, self._private(session), self._error))

    def sign(self, data: bytes, algorithm: hashes.HashAlgorithm, public_key: PublicKey) -> t.Sequence[bytes]:
        if isinstance(public_key, rsa.RSAPublicKey):
            mechanism = f"{algorithm.name.upper()}_RSA_PKCS"
        else:
            digest = hashes.Hash(algorithm)
            digest.update(data)
            data, mechanism = digest.finalize(), "ECDSA"

        def sign(session: t.Any) -> bytes:
            key = _keys.get((session, self.key_label, self.key_id)) or self._private(session)
            _keys[session, self.key_label, self.key_id] = key
            return bytes(key.sign(data, mechanism=_library().Mechanism[mechanism]))

        return [self._do(sign)]

    def _do(self, work: t.Callable[[t.Any], _Result]) -> _Result:
        """Do ``work`` with the open session; raises MtlsError in words."""
        library = _library(self.name)
        with _lock:
            try:
                return work(self._session(library))
            except library.PKCS11Error as exc:
                raise self._failed(exc) from exc

    def _session(self, library: t.Any) -> t.Any:
        place = (str(self.module), self.token, self.serial, self.pin)
        found = _sessions.get(place)
        if found is None:
            try:
                found = self._open(library)
            except library.PKCS11Error as exc:
                found = self._failed(exc)
            except MtlsError as exc:
                found = exc
            _sessions[place] = found
        if isinstance(found, MtlsError):
            raise found
        return found

    def _open(self, library: t.Any) -> t.Any:
        if not self.module.exists():
            raise MtlsError(
                f"The PKCS#11 module {self.module} ({self.name}.pkcs11.module) does not exist. Install the software of "
                "the token, or correct the path."
            )
        try:
            module = library.lib(str(self.module))
        except library.PKCS11Error as exc:
            raise UnavailableError(
                f"{self.module} ({self.name}.pkcs11.module) cannot be used as a PKCS#11 module: {_words(exc)}. Check "
                "that it is a PKCS#11 module, what it is configured to, and that its device is there."
            ) from exc
        _modules.add(module)
        tokens = [slot.get_token() for slot in module.get_slots(token_present=True)]
        fitting = [one for one in tokens if one.label == self.token and self.serial in {None, _serial(one)}]
        if len(fitting) == 1:
            return fitting[0].open(user_pin=self.pin)
        if fitting:
            raise MtlsError(
                f"{len(fitting)} tokens are called {self.token!r} (serial numbers {', '.join(map(_serial, fitting))}). "
                f"Say which by {self.name}.pkcs11.serial."
            )
        there = ", ".join(f"{token.label!r} ({_serial(token)})" for token in tokens if token.label) or "none"
        raise UnavailableError(
            f"There is no token {self.token!r}{f' with the serial number {self.serial}' if self.serial else ''} "
            f"({self.name}.pkcs11.token). {self.module} shows: {there}. Insert or connect it, or correct the name."
        )

    def _private(self, session: t.Any) -> t.Any:
        """Return the private key. Raises MtlsError when there is none, or more than one."""
        library = _library(self.name)
        attribute, kind = library.Attribute, library.ObjectClass.PRIVATE_KEY
        template = {attribute.CLASS: kind, attribute.LABEL: self.key_label}
        if self.key_id:
            template[attribute.ID] = self.key_id
        found = list(session.get_objects(template))
        if len(found) == 1:
            if _value(found[0], attribute.ALWAYS_AUTHENTICATE):
                raise self._error("it requires its PIN for every signature, which is not supported. Use another key")
            return found[0]
        if found:
            ids = ", ".join(sorted((_value(key, attribute.ID) or b"").hex() or "none" for key in found))
            raise self._error(
                f"{len(found)} private keys have that label (ids {ids}), as labels are not unique. Say which by "
                f"{self.name}.pkcs11.id"
            )
        every = (_value(key, attribute.LABEL) or "" for key in session.get_objects({attribute.CLASS: kind}))
        there = ", ".join(sorted(map(repr, every))) or "none"
        no_pin = "" if self.pin else " Without a PIN, a token shows no private keys: give it as pkcs11.pin."
        raise self._error(
            f"it is not there. The token has these private keys: {there}.{no_pin} Keys are created with the token's "
            "own tools, never here: see docs/ca-keys-in-hardware.md"
        )

    def _failed(self, exc: Exception) -> MtlsError:
        error = self._error(_words(exc))
        return UnavailableError(str(error)) if type(exc).__name__ in _GONE else error

    def _error(self, text: str) -> MtlsError:
        return MtlsError(f"{self.label} cannot be used: {text}.")


def close() -> None:
    """Forget all tokens that are open: the next use opens them again."""
    with _lock:
        _sessions.clear()
        _keys.clear()
        while _modules:
            _modules.pop().finalize()


def _library(name: str = "ca_key") -> t.Any:
    try:
        return importlib.import_module("pkcs11")  # optional, and only needed with a token
    except ImportError as exc:
        raise MtlsError(
            f"{name}.pkcs11 needs the Python library python-pkcs11, which is not installed for the Python that runs "
            "the module on the target host. Install it, for example with pip install python-pkcs11."
        ) from exc


def _serial(token: t.Any) -> str:
    return str(token.serial.decode("ascii", "replace").strip())


def _words(exc: Exception) -> str:
    name = type(exc).__name__
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return _ADVICE.get(name) or (f"{exc} ({text})" if str(exc) else f"the PKCS#11 module says {text}")


def _value(key: t.Any, attribute: t.Any) -> t.Any:
    """Return an attribute of an object, None when the token does not tell it."""
    try:
        return key[attribute]
    except _library().PKCS11Error:
        return None


def _public_key(session: t.Any, private: t.Any, error: t.Callable[[str], MtlsError]) -> PublicKey | None:
    """Read the public key from the public key object beside ``private``, or from ``private`` itself."""
    library = _library()
    attribute = library.Attribute
    kind = private[attribute.KEY_TYPE]
    names = {name: value for name in (attribute.ID, attribute.LABEL) if (value := _value(private, name))}
    # Neither names one key for sure: what has both goes first.
    templates = [names, *({name: value} for name, value in names.items())]
    public_templates = [{attribute.CLASS: library.ObjectClass.PUBLIC_KEY, **template} for template in templates]
    for key in (*itertools.chain.from_iterable(map(session.get_objects, public_templates)), private):
        if _value(key, attribute.KEY_TYPE) != kind:
            continue
        if kind == library.KeyType.RSA:
            modulus, exponent = _value(key, attribute.MODULUS), _value(key, attribute.PUBLIC_EXPONENT)
            if modulus and exponent:
                numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus))
                return numbers.public_key()
        elif kind == library.KeyType.EC:
            if point := _value(key, attribute.EC_POINT):
                return _ec_public_key(_value(key, attribute.EC_PARAMS), point, error)
        else:
            raise error(f"it is a {getattr(kind, 'name', kind)} key. Use an RSA or ECDSA key")
    return None


def _ec_public_key(parameters: bytes, point: bytes, error: t.Callable[[str], MtlsError]) -> ec.EllipticCurvePublicKey:
    curves: dict[bytes, ec.EllipticCurve] = {_P256: ec.SECP256R1(), _P384: ec.SECP384R1()}
    curve = curves.get(parameters)
    if curve is None:
        raise error("its curve is none of P-256 and P-384. Use a key on one of these")
    size = 1 + 2 * (curve.key_size // 8)
    # PKCS#11 wants the point inside an OCTET STRING; some tokens leave that out.
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, point[-size:])
