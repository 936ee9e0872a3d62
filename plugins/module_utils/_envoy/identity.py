# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Identity headers that no client can forge.

istiod lets Envoy overwrite a header only when the new value is not empty. A value that comes out empty for some client
therefore lets that client's own header through to the workload. What can be empty was tried with Envoy 1.40.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.headers import Operator, parse
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

MODES = ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")

# A certificate may have an empty subject (RFC 5280 section 4.1.2.6, as SPIFFE has it), and an odd CA an empty name.
_GUARDED = frozenset(("DOWNSTREAM_PEER_SUBJECT", "DOWNSTREAM_PEER_ISSUER"))

# Every certificate has these; Envoy has them on resumed sessions too. It has not DOWNSTREAM_PEER_ISSUER_SERIAL and
# DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 there: a client that resumes its session could set such a header.
_OF_EVERY_CERTIFICATE = frozenset(
    (
        "DOWNSTREAM_PEER_CERT",
        "DOWNSTREAM_PEER_CERT_V_END",
        "DOWNSTREAM_PEER_CERT_V_START",
        "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
        "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
        "DOWNSTREAM_PEER_CHAIN_SERIALS",
        "DOWNSTREAM_PEER_FINGERPRINT_1",
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        "DOWNSTREAM_PEER_SERIAL",
    )
)

_OF_EVERY_CONNECTION = frozenset(
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_REMOTE_ADDRESS",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_TLS_CIPHER",
        "DOWNSTREAM_TLS_VERSION",
        "PROTOCOL",
        "START_TIME",
    )
)

# What they print is chosen by the client, whatever text stands around it.
_CHOSEN_BY_CLIENT = frozenset(
    (
        "CEL",
        "COALESCE",
        "PATH",
        "QUERY_PARAM",
        "QUERY_PARAMS",
        "REQ",
        "REQUESTED_SERVER_NAME",
        "REQUEST_HEADER",
        "STREAM_INFO_REQ",
        "TRAILER",
    )
)

_TOKEN = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")
_RESERVED = frozenset(
    (
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-request-id",
    )
)
_RESERVED_PREFIXES = (":", "proxy-", "x-envoy-", "x-forwarded-", "x-b3-")


def refuse_forgeable(headers: t.Mapping[str, str], *, mode: str) -> None:
    """Refuse identity headers that some client could set itself on a gateway with the TLS ``mode``."""
    if mode not in MODES:
        raise MtlsError(f"The TLS mode {mode} is not one of {', '.join(MODES)}.")
    seen: dict[str, str] = {}
    for name, value in headers.items():
        refusal = _HeaderError(name)
        problem = _name_problem(name)
        if problem:
            raise refusal(problem)
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise refusal(f"it is the same header as {other}; give it once.")
        pieces = parse(value, refusal=refusal)
        for piece in pieces:
            if isinstance(piece, Operator) and piece.name in _CHOSEN_BY_CLIENT:
                raise refusal(f"{piece} is what the client sends, so the client could write any identity into it.")
        if not any(isinstance(piece, str) or _is_never_empty(piece, mode) for piece in pieces):
            raise refusal(_why_empty(pieces, value, mode))


def guarded(headers: t.Mapping[str, str]) -> dict[str, str]:
    """``headers`` with a closing space where the value is nothing but a name that a certificate may leave empty.

    With the space the value is never empty, so Envoy always overwrites what the client sent; HTTP drops the space.
    """
    result = {}
    for name, value in headers.items():
        pieces = parse(value, refusal=_HeaderError(name))
        operators = [piece for piece in pieces if isinstance(piece, Operator)]
        bare = len(operators) == len(pieces) and any(operator.name in _GUARDED for operator in operators)
        result[name] = f"{value} " if bare else value
    return result


class _HeaderError:
    """Makes the error that refuses one header."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, reason: str) -> MtlsError:
        return MtlsError(f"The identity header {self._name}: {reason}", header=self._name)


def _name_problem(name: str) -> str:
    if "_" in name:
        return "servers drop headers with an underscore, or take it for a hyphen; write a hyphen."
    if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
        return "it belongs to HTTP, Envoy or Istio; choose another name, for example X-CLIENT-SSL-CN."
    if not _TOKEN.fullmatch(name):
        return "this is not the name of an HTTP header."
    return ""


def _is_never_empty(operator: Operator, mode: str) -> bool:
    """Whether ``operator`` prints something for every client, once guarded; with an argument that is not known."""
    if operator.argument is not None or operator.length is not None:
        return False
    if operator.name in _OF_EVERY_CONNECTION | _GUARDED:
        return True
    return mode == "MUTUAL" and operator.name in _OF_EVERY_CERTIFICATE


def _why_empty(pieces: t.Sequence[str | Operator], value: str, mode: str) -> str:
    if not pieces:
        return "its value is empty, so Envoy would leave alone whatever the client sends. Give it a value."
    names = [piece.name for piece in pieces if isinstance(piece, Operator)]
    certified = all(name in _OF_EVERY_CERTIFICATE for name in names)
    if certified and mode != "MUTUAL":
        case = f"a client without a certificate, which {mode} lets in"
    elif names[0] == "DOWNSTREAM_PEER_URI_SAN":
        case = "a client whose certificate has no URI subjectAltName"
    elif names[0].startswith("DOWNSTREAM_PEER_ISSUER_"):
        case = "a client that resumes an earlier TLS session"
    else:
        case = "some clients"
    label = names[0].removeprefix("DOWNSTREAM_PEER_").removesuffix("_SAN")
    return (
        f"{value} is empty for {case}, and then Envoy leaves alone whatever that client sends in the header. "
        f"Put text before it, for example {label}={value}."
    )
