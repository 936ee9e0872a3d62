# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""X-Forwarded-Client-Cert: what a workload reads there about the client.

Envoy writes one element for each hop, separated by commas: first the gateway's, about the client, then the sidecar's,
about the gateway. Libraries read the first element, or the one that has a certificate.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._identity_log import FORWARDED_CLIENT_CERT
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.identity_headers import (
    Echo,
    expected_value,
    san_values,
)

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

#: the value of identity_source with which a workload reads this header
SOURCE = "xfcc"
_PAIR = re.compile(r'(?P<name>[A-Za-z]+)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^;,"]*))(?P<end>[;,]|$)')
_VALUES = {
    "Hash": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
    "Cert": "%DOWNSTREAM_PEER_CERT%",
    "Subject": "%DOWNSTREAM_PEER_SUBJECT%",
}
_OF_A_CLIENT = ("Cert", "Chain")
Element: t.TypeAlias = dict[str, list[str]]


def escaped(text: str) -> str:
    """Return ``text`` as Envoy writes it between quotation marks."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def parse(value: str) -> list[Element] | None:
    """Return the elements of the header's ``value``; None when it is malformed."""
    elements: list[Element] = [{}]
    position = 0
    while position < len(value):
        found = _PAIR.match(value, position)
        if found is None:
            return None
        text = re.sub(r"\\(.)", r"\1", found["quoted"]) if found["quoted"] is not None else found["plain"]
        elements[-1].setdefault(found["name"].capitalize(), []).append(text)
        if found["end"] == ",":
            elements.append({})
        position = found.end()
    return elements


def mismatches(echo: Echo, certificate: x509.Certificate | None) -> list[str]:
    """Return in words how the header differs from what ``certificate`` says (None: that there is none)."""
    name = FORWARDED_CLIENT_CERT
    values = echo.get(name.lower(), [])
    if len(values) > 1:
        return [f"{name} arrived {len(values)} times"]
    elements = parse(values[0]) if values else []
    if elements is None:
        return [f"{name} is malformed: {values[0][:120]!r}"]
    if certificate is not None and not elements:
        return [f"{name} is missing"]
    about = elements[:1] if certificate is not None else []
    found = [
        f"element {number} of {name} has a {field} too, so a workload may take it for the client's"
        for number, element in enumerate(elements, 1)
        if element not in about
        for field in _OF_A_CLIENT
        if field in element
    ]
    return found + (_differences(about[0], certificate) if certificate is not None else [])


def _differences(element: Element, certificate: x509.Certificate) -> list[str]:
    found = []
    for field, operator in _VALUES.items():
        given, expected = element.get(field, []), expected_value(operator, certificate)
        if len(given) != 1 or not expected.admits(given[0].strip()):
            if field == "Cert" and not given:
                found.append("the client's element has no Cert, which many libraries need")
                continue
            found.append(f"{field} in X-Forwarded-Client-Cert is {given[:2]!r}, expected {expected.text[:120]!r}")
    for field, kind in (("Uri", x509.UniformResourceIdentifier), ("Dns", x509.DNSName)):
        names = san_values(certificate, kind)
        if element.get(field, []) != names and (element.get(field) or names) != [""]:
            found.append(
                f"{field.upper()} in X-Forwarded-Client-Cert is {element.get(field, [])!r}, expected {names!r}"
            )
    return found
