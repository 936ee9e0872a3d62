# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cryptography raises for content that is not what it claims to be: it parses lazily, so anywhere."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

# KeyError: a TLS feature that cryptography has no name for. MemoryError: a key derivation that asks for too much.
PARSE_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    RuntimeError,
)

try:
    from cryptography import x509
    from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
except ImportError:
    pass  # the module's edge reports it
else:
    PARSE_ERRORS = (
        *PARSE_ERRORS,
        InternalError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.AttributeNotFound,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    )
# What asking for one extension raises: it is not there, or not readable.
EXTENSION_ERRORS = PARSE_ERRORS
with contextlib.suppress(NameError):
    EXTENSION_ERRORS = (*PARSE_ERRORS, x509.ExtensionNotFound)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text without its final dot, for use inside a sentence."""
    if isinstance(error, KeyError):
        return f"unknown value {error}"
    if type(error).__name__ in {"InternalError", "PanicException"}:  # their texts speak to cryptography's authors
        return "the library cryptography fails on it"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def is_parse_error(error: BaseException) -> bool:
    """Whether ``error`` is what cryptography raises for foreign content, a panic of its Rust code included.

    A panic is no Exception and its class cannot be imported, so no ``except`` clause can name it.
    """
    return isinstance(error, PARSE_ERRORS) or type(error).__name__ == "PanicException"


@contextlib.contextmanager
def reading(what: str, advice: str = "") -> t.Iterator[None]:
    """Turn whatever cryptography raises inside the block into a refusal that names ``what``."""
    try:
        yield
    except BaseException as exc:
        if not is_parse_error(exc):
            raise
        raise MtlsError(f"{what} cannot be read: {first_line(exc)}. {advice}".rstrip()) from exc
