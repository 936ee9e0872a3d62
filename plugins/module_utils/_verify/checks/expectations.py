# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Expectations on a response's JSON: JMESPath expressions with the value that each must have."""

from __future__ import annotations

import json
import re
import typing as t
import zlib

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import MAXIMUM_BODY

_SIMPLE_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def parse_json(body: bytes) -> t.Any:
    """Return the JSON in ``body``, also when it is compressed; None when it is none."""
    try:
        return json.loads(_decompressed(body))
    except (ValueError, RecursionError):
        return None


def _decompressed(body: bytes) -> bytes:
    """Some servers compress though nobody asked for it. No JSON begins as gzip's or zlib's data do."""
    if not body.startswith((b"\x1f\x8b", b"\x78")):
        return body
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, MAXIMUM_BODY)
    except zlib.error:
        return body


def resolve(expression: str, document: t.Any) -> t.Any:
    """Return what the JMESPath ``expression`` finds in ``document``, None when it finds nothing.

    Plain dotted names need no library. Raises MtlsError for a wrong expression or a missing library.
    """
    if _SIMPLE_PATH.fullmatch(expression):
        for name in expression.split("."):
            document = document.get(name) if isinstance(document, dict) else None
        return document
    try:
        import jmespath  # noqa: PLC0415  (needed for more than a dotted name only)
    except ImportError as exc:
        raise MtlsError(
            f"The expression {expression!r} needs the Python library jmespath on the target host. Install it there, "
            "or use a plain dotted name."
        ) from exc
    try:
        return jmespath.search(expression, document)
    except (jmespath.exceptions.JMESPathError, ValueError) as exc:
        raise MtlsError(f"{expression!r} is not a JMESPath expression: {str(exc).splitlines()[0]}.") from exc


def check_answer(body: bytes, expect: t.Mapping[str, t.Any]) -> Case:
    """MV-23: the good client's answer has the expected values."""
    document = parse_json(body)
    if document is None:
        return Case("MV-23", "expected answer", Outcome.FAILED, "the answer is not JSON")
    problems = unmet(expect, document)
    text = "; ".join(problems) or f"{len(expect)} expectations met"
    return Case("MV-23", "expected answer", Outcome.FAILED if problems else Outcome.PASSED, text)


def unmet(expect: t.Mapping[str, t.Any], document: t.Any) -> list[str]:
    """Return in words which of the expectations ``document`` does not meet."""
    found = []
    for expression, expected in expect.items():
        value = resolve(expression, document)
        if not _matches(expected, value):
            found.append(f"{expression} is {_short(value)}, expected {_short(expected)}")
    return found


def _matches(expected: t.Any, value: t.Any) -> bool:
    if expected == value and isinstance(expected, bool) == isinstance(value, bool):
        return True
    if not isinstance(expected, str) or value is None:
        return False
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if expected == text:
        return True
    try:
        return re.fullmatch(expected, text, re.DOTALL) is not None
    except re.error:
        return False


def _short(value: t.Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 160 else f"{text[:160]}..."
