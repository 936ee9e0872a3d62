# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much work a passphrase costs: encrypted keys and PKCS#12 files say it themselves, and nothing bounds it."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der

MAX_ROUNDS = 5_000_000
MAX_BCRYPT_ROUNDS = 1000
MAX_MEMORY = 256 * 1024 * 1024

_INTEGER = 0x02
# The last octet of these OIDs is the scheme: PBES1 and PBKDF2 (RFC 8018), PKCS#12's own (RFC 7292 appendix C).
_ITERATED = (bytes.fromhex("2a864886f70d0105"), bytes.fromhex("2a864886f70d010c01"))
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_OPENSSH = b"openssh-key-v1\0"


def require_bounded(data: bytes, *, what: str) -> None:
    """Refuse the DER (or OpenSSH) content ``data`` when opening it would take minutes or gigabytes."""
    rounds = max(_rounds(data), default=0)
    if rounds > MAX_ROUNDS:
        raise MtlsError(
            f"{what} asks for {rounds} rounds of key derivation; more than {MAX_ROUNDS} are not done. "
            "Encrypt it again with fewer."
        )
    memory = max(_scrypt_memory(data), default=0)
    if memory > MAX_MEMORY:
        raise MtlsError(
            f"{what} asks for {memory // 2**20} MiB of memory for its key derivation (scrypt); "
            f"more than {MAX_MEMORY // 2**20} MiB are not used. Encrypt it again with less."
        )
    if _bcrypt_rounds(data) > MAX_BCRYPT_ROUNDS:
        raise MtlsError(
            f"{what} asks for {_bcrypt_rounds(data)} rounds of key derivation (bcrypt); "
            f"more than {MAX_BCRYPT_ROUNDS} are not done. Encrypt it again with fewer."
        )


def _rounds(data: bytes) -> t.Iterator[int]:
    for marker in _ITERATED:
        for position in _positions(data, marker):
            yield from _integers(data, position + len(marker) + 1)[:1]
    try:  # the MAC of a PKCS#12 file: PFX { version, authSafe, macData { mac, macSalt, iterations } }
        outer = der.read(data, 0, len(data))
        mac = list(der.children(data, outer))[2]
        yield _integer(data, list(der.children(data, mac))[2])
    except (ValueError, IndexError):
        return


def _scrypt_memory(data: bytes) -> t.Iterator[int]:
    for position in _positions(data, _SCRYPT):
        numbers = _integers(data, position + len(_SCRYPT))[:3]
        if len(numbers) == 3:
            yield 128 * numbers[0] * numbers[1] * max(numbers[2], 1)


def _bcrypt_rounds(data: bytes) -> int:
    if not data.startswith(_OPENSSH):
        return 0
    position, fields = len(_OPENSSH), []
    for _field in ("cipher", "kdf", "options"):
        length = int.from_bytes(data[position : position + 4], "big")
        fields.append(data[position + 4 : position + 4 + length])
        position += 4 + length
    return int.from_bytes(fields[2][-4:], "big")


def _positions(data: bytes, marker: bytes) -> t.Iterator[int]:
    position = data.find(marker)
    while position >= 0:
        yield position
        position = data.find(marker, position + 1)


def _integers(data: bytes, offset: int) -> list[int]:
    """The integers directly inside the SEQUENCE at ``offset``; none when there is no such thing."""
    try:
        parameters = der.read(data, offset, len(data))
        inside = list(der.children(data, parameters)) if parameters.tag == der.SEQUENCE else []
        return [_integer(data, element) for element in inside if element.tag == _INTEGER]
    except ValueError:
        return []


def _integer(data: bytes, element: der.Element) -> int:
    if element.tag != _INTEGER:
        raise ValueError("not an INTEGER")
    return int.from_bytes(data[element.start : element.end], "big", signed=True)
