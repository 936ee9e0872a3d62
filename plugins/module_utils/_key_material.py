# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys where none belongs: recognised in every form in which they are handed around, and kept out of messages.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import binascii
import re
import typing as t
from collections.abc import Mapping
from pathlib import Path

HIDDEN = "(not shown)"

_SHORTEST_KEY = 40  # characters; an Ed25519 key has 64 in base64
_LONGEST_PLAIN_NAME = 128
_PART = 12  # characters in a row of a Secret that no message has by chance
_DECODINGS = 3  # a Secret's data are base64, and some encode them once more

_PEM = re.compile(r"-----\s*BEGIN[A-Z0-9 ]*PRIVATE KEY", re.IGNORECASE)
_PEM_BLOCK = re.compile(
    r"-----\s*BEGIN[A-Z0-9 ]*PRIVATE KEY.*?(?:-----\s*END[A-Z0-9 ]*-----|\Z)", re.IGNORECASE | re.DOTALL
)
_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----\s*\Z")
_BREAKS = re.compile(r"\s|\\[nrt]")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+=*")
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{40,}=*(?:(?:\s|\\[nr])+[A-Za-z0-9+/_-]{16,}=*)*")
_DER_KEY = re.compile(rb"\x30(?:[\x00-\x7f]|[\x81-\x84].{1,4}?)\x02\x01[\x00\x01\x03]", re.DOTALL)
_ENCRYPTED_KEY = re.compile(rb"\x30.{1,5}\x30.{1,3}\x06.\x2a\x86\x48\x86\xf7\x0d\x01(?:\x05|\x0c)", re.DOTALL)


def is_private_key(text: str) -> bool:
    """Whether ``text`` is a private key or a PKCS#12 file: PEM, or base64 or hexadecimal digits of PEM or DER."""
    for _number in range(_DECODINGS):
        if len(text) < _SHORTEST_KEY:
            return False
        if _PEM.search(text):
            return True
        decoded = _decoded(_BREAKS.sub("", text))
        if any(
            _DER_KEY.match(data) or _ENCRYPTED_KEY.match(data) or b"openssh-key-v1" in data[:16] for data in decoded
        ):
            return True
        text = next((data.decode() for data in decoded if data.isascii()), "")
    return False


def _decoded(text: str) -> list[bytes]:
    found = []
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}:?)+", text):
        found.append(bytes.fromhex(text.replace(":", "")))
    if _BASE64.fullmatch(text):
        digits = text.rstrip("=").translate(str.maketrans("-_", "+/"))
        digits = digits[: len(digits) // 4 * 4]  # what was cut off does not matter
        found.append(base64.b64decode(digits))
    return found


def may_be_key_material(path: str) -> bool:
    """Whether ``path`` is a private key, has one in it or is a part of one rather than the path of a file."""
    if is_private_key(path) or hide_private_keys(path) != path:
        return True
    body = _BREAKS.sub("", _END.sub("", path)).replace(":", "")
    if len(path) < _LONGEST_PLAIN_NAME or "-----BEGIN" in path or not _BASE64.fullmatch(body):
        return False
    try:
        return not Path(path).exists()
    except OSError:  # too long for a name
        return True


def hide_private_keys(message: str) -> str:
    """Return ``message`` with every private key in it taken out."""
    message = _PEM_BLOCK.sub(HIDDEN, message)
    return _BASE64_RUN.sub(lambda found: HIDDEN if is_private_key(found[0]) else found[0], message)


def hide_parts(message: str, values: t.Iterable[str]) -> str:
    """Return ``message`` without any part of the base64 ``values`` of a Secret, as they are or decoded."""
    known: set[str] = set()
    for value in values:
        for form in _forms(value):
            known.update(form[start : start + _PART] for start in range(max(len(form) - _PART + 1, 1)))
    is_hidden = bytearray(len(message))
    for length in {len(part) for part in known if part}:
        for start in range(len(message) - length + 1):
            if message[start : start + length] in known:
                is_hidden[start : start + length] = b"\1" * length
    return re.sub(
        r"\x01+", HIDDEN, "".join("\1" if gone else one for one, gone in zip(message, is_hidden, strict=True))
    )


def _forms(value: str) -> t.Iterator[str]:
    """Yield ``value`` as it may be quoted: as it is, decoded, escaped, and the body of PEM without its line breaks."""
    yield value
    try:
        raw = base64.b64decode(value)
    except (binascii.Error, ValueError):
        return
    yield raw.hex()
    text = raw.decode("utf-8", "replace")
    yield text
    yield text.replace("\n", "\\n")
    yield "".join(line for line in text.splitlines() if not line.startswith("-----"))


def strings(value: t.Any) -> t.Iterator[str]:
    """Yield every string inside ``value``, whatever lists and dictionaries it is in."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


# Options of the type dict whose values are paths.
_PATHS_BY_NAME = ("files", "optional_files")


def path_options(spec: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, str]]:
    """Yield name and value of every option in ``given`` that ``spec``, an argument spec, has as a path."""
    for name, option in spec.items():
        value = given.get(name)
        if not value:
            continue
        kind, elements = option.get("type", "str"), option.get("elements")
        if kind == "path" or elements == "path" or (kind == "dict" and name in _PATHS_BY_NAME):
            yield from ((name, string) for string in strings(value))
        elif option.get("options"):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, t.Mapping):
                    yield from ((f"{name}.{inner}", path) for inner, path in path_options(option["options"], item))
