# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Identity headers: what each must say about a certificate, what the workload saw, and forgeries."""

from __future__ import annotations

import functools
import hashlib
import re
import typing as t
from dataclasses import dataclass

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._identity_log import FORWARDED_CLIENT_CERT
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import rfc2253
from ansible_collections.kyma.mtls.plugins.module_utils._x509.der import certificate_parts
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import der_of, fingerprint_sha256, pem_of
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

_OPERATOR = re.compile(r"%(?P<escaped>%)|%(?P<name>[A-Z][A-Z0-9_]*)(?:\([^)]*\))?(?::\d+)?%")

# What Envoy codes in a certificate's PEM, and nothing else.
_COMPONENT = str.maketrans({"\n": "%0A", " ": "%20", "+": "%2B", "/": "%2F", "=": "%3D"})

# OBJECT IDENTIFIER 2.5.29.17, subjectAltName, as it stands in every certificate that has one.
_SAN_OID = b"\x06\x03\x55\x1d\x11"

# Apache httpd, Envoy and others write these for an empty value.
_PLACEHOLDERS = frozenset({"(null)", "-"})

Echo: t.TypeAlias = dict[str, list[str]]


@dataclass(frozen=True)
class Forgery:
    """Headers that a client invents. ``may_break``: a server may well close the connection for them."""

    name: str
    headers: tuple[tuple[str, str], ...]
    may_break: bool = False
    in_http2: bool = True


@dataclass(frozen=True)
class ExpectedHeader:
    """What a header must say: ``text``, or what a pattern matches where parts of it have several spellings.

    The groups of the pattern are printed distinguished names, whose DER comes with it. ``spellings`` makes both only
    for a value that is not the text: to compile a pattern costs more than everything else here.
    """

    text: str
    spellings: t.Callable[[], tuple[re.Pattern[str], list[bytes]]]

    def admits(self, value: str) -> bool:
        """Whether ``value`` is what it must be; for what must be empty, a placeholder of the gateway's will do."""
        if value == self.text or (not self.text and value in _PLACEHOLDERS):
            return True
        pattern, names = self.spellings()
        found = pattern.fullmatch(value)
        return found is not None and all(map(rfc2253.prints, found.groups(), names))


def expected_value(value: str, certificate: x509.Certificate | None) -> ExpectedHeader:
    """Return what the Envoy format string ``value`` must become for ``certificate``; spaces around it do not count.

    Without a certificate the peer's operators are empty. Operators that a client cannot know (the route's, the
    upstream's) match anything.
    """
    value = value.strip()
    text, position = "", 0
    for found in _OPERATOR.finditer(value):
        part = "%" if found["escaped"] else _operator_text(found["name"], certificate)
        text += value[position : found.start()] + (found[0] if part is None else part)
        position = found.end()
    return ExpectedHeader((text + value[position:]).strip(), functools.partial(_spellings, value, certificate))


def _spellings(value: str, certificate: x509.Certificate | None) -> tuple[re.Pattern[str], list[bytes]]:
    """Return what matches every spelling of the value, and the names that the groups of it must print."""
    pattern, position = "", 0
    names: list[bytes] = []
    for found in _OPERATOR.finditer(value):
        part = "%" if found["escaped"] else _operator_text(found["name"], certificate)
        pattern += re.escape(value[position : found.start()])
        name = _NAMES.get(found["name"] or "")
        if name is not None and part and certificate is not None:
            names.append(name(certificate))
            pattern += "(.*)"
        else:
            pattern += _unknown_pattern(found["name"], certificate) if part is None else re.escape(part)
        position = found.end()
    return re.compile(pattern + re.escape(value[position:]), re.DOTALL), names


# The raw DER: an object of cryptography's may hold another encoding of the name.
_NAMES: dict[str, t.Callable[[x509.Certificate], bytes]] = {
    "DOWNSTREAM_PEER_SUBJECT": lambda certificate: certificate_parts(der_of(certificate)).subject,
    "DOWNSTREAM_PEER_ISSUER": lambda certificate: certificate_parts(der_of(certificate)).issuer,
}


def _unknown_pattern(name: str, certificate: x509.Certificate | None) -> str:
    # Some write a serial number with leading zeros, some in capitals.
    if name == "DOWNSTREAM_PEER_SERIAL" and certificate is not None:
        return f"(?i:0*{certificate.serial_number:x})"
    return ".*"


def _operator_text(name: str, certificate: x509.Certificate | None) -> str | None:
    if certificate is None:
        return "" if name.startswith("DOWNSTREAM_PEER_") else None
    if name in _NAMES:
        return rfc2253.text(_NAMES[name](certificate))
    readers: dict[str, t.Callable[[], str]] = {
        "DOWNSTREAM_PEER_URI_SAN": lambda: ",".join(san_values(certificate, x509.UniformResourceIdentifier)),
        "DOWNSTREAM_PEER_DNS_SAN": lambda: ",".join(san_values(certificate, x509.DNSName)),
        "DOWNSTREAM_PEER_IP_SAN": lambda: ",".join(san_values(certificate, x509.IPAddress)),
        "DOWNSTREAM_PEER_EMAIL_SAN": lambda: ",".join(san_values(certificate, x509.RFC822Name)),
        "DOWNSTREAM_PEER_FINGERPRINT_256": lambda: fingerprint_sha256(certificate),
        "DOWNSTREAM_PEER_FINGERPRINT_1": lambda: hashlib.sha1(der_of(certificate), usedforsecurity=False).hexdigest(),
        "DOWNSTREAM_PEER_CERT": lambda: pem_of(certificate).translate(_COMPONENT),
    }
    reader = readers.get(name)
    return None if reader is None else reader()


def san_values(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> list[str]:
    """Return the SANs of ``kind`` as text, in their order."""
    if _SAN_OID not in der_of(certificate):
        return []  # to have cryptography parse all extensions takes a tenth of the time that a client takes
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except PARSE_ERRORS:
        return []
    return [str(name.value) for name in names if isinstance(name, kind)]


def read_echo(found: t.Any) -> Echo | None:
    """Return the headers that the workload echoed, names in lower case; None when ``found`` is not such a thing."""
    if not isinstance(found, dict):
        return None
    echo: Echo = {}
    for name, value in found.items():
        values = value if isinstance(value, list) else [value]
        echo.setdefault(str(name).lower(), []).extend(str(value) for value in values)
    return echo


def mismatches(echo: Echo, certificate: x509.Certificate | None, identity_headers: t.Mapping[str, str]) -> list[str]:
    """Return in words which identity headers do not say what ``certificate`` says (None: that there is none)."""
    found = []
    for name, value in identity_headers.items():
        values = echo.get(name.lower(), [])
        expected = expected_value(value, certificate)
        if len(values) > 1:
            found.append(f"{name} arrived {len(values)} times: {_shorten(values)}")
        elif not values and not expected.admits(""):
            found.append(f"{name} is missing, expected {_shorten(expected.text)}")
        elif values and not expected.admits(values[0].strip()):
            found.append(f"{name} is {_shorten(values[0])}, expected {_shorten(expected.text)}")
    return found


def _shorten(value: t.Any, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def forgeries(names: t.Sequence[str], marker: str) -> tuple[Forgery, ...]:
    """Return requests' headers that claim another identity by ``names``, in the spellings that servers confuse, or
    that make servers drop the true one. All claims carry ``marker``.
    """

    def claim(number: int) -> str:
        return f"CN={marker}-{number}"

    return (
        # What Connection names is for this hop only (RFC 9110 section 7.6.1): who removes it too late takes away what
        # the gateway has set. In HTTP/2 it is malformed (RFC 9113 section 8.2.2). First, because Envoy then closes the
        # connection only after a second.
        Forgery("taken away by Connection", (("Connection", ", ".join(names)),), may_break=True),
        Forgery("as configured", tuple((name, claim(1)) for name in names)),
        Forgery("as another gateway's", ((FORWARDED_CLIENT_CERT, _forwarded(claim(7))),)),
        Forgery(
            "twice, in lower and in upper case",
            tuple(pair for name in names for pair in ((name.lower(), claim(2)), (name.upper(), claim(3)))),
        ),
        Forgery("with underscores", tuple((name.replace("-", "_"), claim(4)) for name in names)),
        Forgery(
            "with spaces and an empty twin",
            tuple(pair for name in names for pair in ((name, ""), (name, f" {claim(5)} "))),
        ),
        Forgery(
            "with a space before the colon",
            tuple((f"{name} ", claim(6)) for name in names),
            may_break=True,
            in_http2=False,
        ),
    )


def _forwarded(subject: str) -> str:
    """Return X-Forwarded-Client-Cert as a gateway before this one would write it."""
    hop = "By=spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
    return f'{hop};Hash={"0" * 64};Cert="forged";Subject="{subject}";URI=spiffe://{subject.removeprefix("CN=")}'


def survivors(echo: Echo, marker: str, names: t.Sequence[str]) -> tuple[list[str], list[str]]:
    """Return where ``marker`` survived: in the headers ``names`` themselves, and in look-alikes of them."""
    protected = {name.lower() for name in names}
    canonical = {name.replace("_", "-") for name in protected}
    within, alike = [], []
    for name, values in echo.items():
        if not any(marker in value for value in values):
            continue
        if name in protected:
            within.append(name)
        elif name.replace("_", "-") in canonical:
            alike.append(name)
        else:
            within.append(name)
    return within, alike
