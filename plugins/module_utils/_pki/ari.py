# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When an ACME CA wants a certificate renewed (ARI, RFC 9773): a question on every run, to which no answer is no harm.

community.crypto's module for it repeats the question for minutes when the CA is down.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils import _http
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it


@dataclasses.dataclass(frozen=True)
class AcmeServer:
    """An ACME server by its directory URL. Without a CA file the system's CAs are trusted."""

    url: str
    ca_file: str
    timeout_seconds: int

    def directory(self) -> dict[str, t.Any]:
        """Return the directory. Raises MtlsError when there is none."""
        found = self._fetch(self.url)
        if "newOrder" not in found:
            raise MtlsError(f"{self.url} is not the directory of an ACME server. Correct the URL.")
        return found

    def advice(self, certificate: x509.Certificate) -> Advice | None:
        """Return when ``certificate`` should be renewed; None when the CA does not say so, or cannot be asked."""
        with contextlib.suppress(MtlsError, KeyError, TypeError, ValueError, OverflowError, x509.ExtensionNotFound):
            url = self.directory()["renewalInfo"]
            name = certificate_id(certificate)
            window = self._fetch(f"{url}/{name}")["suggestedWindow"]
            start, end = (_moment(window[part]) for part in ("start", "end"))
            if start < end:  # else it is no answer (section 4.2)
                return Advice(name, start, end, certificate.serial_number)
        return None

    def _fetch(self, url: str) -> dict[str, t.Any]:
        trust = _http.TlsTrust(ca_file=self.ca_file)
        body = _http.fetch(url, trust=trust, timeout_seconds=self.timeout_seconds)
        try:
            found = _http.parse_json(body)
        except ValueError as exc:
            raise MtlsError(f"{url} does not answer with JSON. Correct the URL.") from exc
        return found if isinstance(found, dict) else {}


def _moment(text: str) -> datetime.datetime:
    """Read a time of RFC 3339, which says its zone. Raises ValueError for one without, and what fromisoformat does."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.astimezone(datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Advice:
    """The window in which the CA wants a certificate renewed, and the name that it has for it."""

    certificate_id: str
    start: datetime.datetime
    end: datetime.datetime
    serial_number: int

    @property
    def moment(self) -> datetime.datetime:
        """A moment in the window, the same on every run: section 4.2 wants the load on the CA spread."""
        return self.start + (self.end - self.start) * ((self.serial_number % 1000) / 1000)


def certificate_id(certificate: x509.Certificate) -> str:
    """The CA's name of a certificate: its authority's key and its serial number (section 4.1)."""
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    number = certificate.serial_number
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return ".".join(base64.urlsafe_b64encode(part or b"").decode().rstrip("=") for part in (authority, serial))
