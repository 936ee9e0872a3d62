# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate that is ordered from an ACME CA: the pair in use, an order that is under way, and when to renew.

The pair is in ``current``, an order in ``order``: the new key first, then what was requested, then the certificate. An
order whose certificate is there takes the place of the pair as a whole, so a run that is killed anywhere leaves the
former pair or the new one. Nothing is ordered here, and nothing is published.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import json
import shutil
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils import _http
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    KEY_MODE,
    content_if_any,
    ensure_directory,
    sync_directory,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, profile
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import san_text, time_text

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import RenewalRule

CURRENT, ORDER, FORMER = "current", "order", "former"
KEY, REQUEST, CERTIFICATE, REQUESTED = "server.key", "server.csr", "fullchain.pem", "request.json"


@dataclasses.dataclass(frozen=True)
class Request:
    """What is requested. ``terms`` are what else decides on the certificate, as the issuer and its profile."""

    sans: tuple[x509.GeneralName, ...]
    key: keys.KeySpec
    terms: t.Mapping[str, str]

    @property
    def text(self) -> dict[str, t.Any]:
        """The request, in words that can be compared."""
        return {**self.terms, "names": sorted(map(san_text, self.sans)), "key": str(self.key)}


@dataclasses.dataclass(frozen=True)
class CertificateOrder:
    """The files of one certificate, and of the order for the next one."""

    directory: Path

    def reconcile(
        self,
        state: str,
        request: Request,
        rule: RenewalRule,
        *,
        is_forced: bool,
        check_mode: bool,
        now: datetime.datetime,
        server: AcmeServer | None = None,
    ) -> dict[str, t.Any]:
        """Return the module's result.

        ``present`` completes an order and examines the pair, ``prepared`` begins an order, ``absent`` abandons it.
        """
        order = self.directory / ORDER
        if state == "absent":
            is_there = order.exists()
            if is_there and not check_mode:
                self.abandon()
            return {"changed": is_there}
        if state == "prepared":
            if server is not None:
                server.directory()  # it answers, before anything is made
            begun = {"csr": self.begin(request)} if not check_mode else {}
            return {"changed": True, "certificate_dest": str(order / CERTIFICATE), **begun}
        is_settled = _certificate(order) is not None if check_mode else self.complete()
        return {
            "changed": is_settled,
            "is_settled": is_settled,
            **self.examine(request, rule, is_forced=is_forced, now=now, server=server),
        }

    def examine(
        self,
        request: Request,
        rule: RenewalRule,
        *,
        now: datetime.datetime,
        is_forced: bool = False,
        server: AcmeServer | None = None,
    ) -> dict[str, t.Any]:
        """Say whether a new certificate has to be ordered, and why. Nothing is changed."""
        place = self._newest()
        certificate = _certificate(place)
        reasons = ["a new key and certificate are requested"] if is_forced else []
        advice = server.advice(certificate) if server is not None and certificate is not None else None
        if certificate is None:
            reasons.append("there is no certificate yet")
        else:
            reasons += _differences(_requested(place), request) or _left_out(certificate, request)
            rule = rule.within(certificate)
            if rule.is_due(certificate, now):
                reasons.append(
                    f"it expires on {time_text(certificate.not_valid_after_utc)}, within the renewal window of {rule}"
                )
            if advice is not None and advice.moment <= now:
                reasons.append(f"the CA wants it renewed between {time_text(advice.start)} and {time_text(advice.end)}")
        return {
            "replaces": advice.certificate_id if advice is not None else "",
            "certificate": str(place / CERTIFICATE) if certificate is not None else "",
            "key": str(place / KEY) if certificate is not None else "",
            "is_due": bool(reasons),
            "reasons": reasons,
            "renew_at": time_text(rule.moment(certificate)) if certificate is not None else "",
        }

    def begin(self, request: Request) -> str:
        """Begin an order with a new key, and return the request that the issuer gets (PKCS#10)."""
        place = self.directory / ORDER
        self.abandon()
        ensure_directory(place)
        key = keys.generate(request.key)
        write_atomic(place / KEY, keys.to_pem(key), mode=KEY_MODE)
        csr = (
            x509.CertificateSigningRequestBuilder()
            # Clients read the names only (RFC 9525), and profiles of public CAs leave the subject empty.
            .subject_name(x509.Name([]))
            .add_extension(x509.SubjectAlternativeName(request.sans), critical=True)
            .sign(key, certificate_builder.digest(key))
        )
        text = csr.public_bytes(Encoding.PEM)
        write_atomic(place / REQUEST, text, mode=KEY_MODE)
        write_atomic(place / REQUESTED, json.dumps(request.text, indent=1).encode(), mode=KEY_MODE)
        return text.decode()

    def abandon(self) -> None:
        """Remove an order that came to nothing."""
        if (self.directory / ORDER).exists():
            shutil.rmtree(self.directory / ORDER, ignore_errors=True)
            sync_directory(self.directory)

    def complete(self) -> bool:
        """Let an order whose certificate is there take the place of the pair; return whether there was one."""
        current, order, former = (self.directory / name for name in (CURRENT, ORDER, FORMER))
        if former.exists():
            if not current.exists() and _certificate(order) is None:
                former.rename(current)
            else:
                shutil.rmtree(former, ignore_errors=True)
        if _certificate(order) is None:
            return False
        if current.exists():
            current.rename(former)
        order.rename(current)
        sync_directory(self.directory)
        shutil.rmtree(former, ignore_errors=True)
        return True

    def _newest(self) -> Path:
        """Where the pair is, or will be when :meth:`complete` has been called."""
        places = (self.directory / name for name in (ORDER, CURRENT, FORMER))
        return next((place for place in places if _certificate(place) is not None), self.directory / CURRENT)


def request_of(sans: t.Sequence[str], key: keys.KeySpec, terms: t.Mapping[str, str]) -> Request:
    """Give the request that options make. Raises MtlsError."""
    if not sans:
        raise MtlsError("No name is requested. Set sans, for example DNS:www.example.com. Nothing was changed.")
    return Request(profile.parse_sans(sans), key, dict(terms))


def _certificate(place: Path) -> x509.Certificate | None:
    """The certificate of a pair that is whole: it can be read, and belongs to the key beside it."""
    with contextlib.suppress(MtlsError):
        chain, key = content_if_any(place / CERTIFICATE), content_if_any(place / KEY)
        if chain and key:
            found = load.load_certificates(chain, source=str(place / CERTIFICATE)).certificates[0]
            if load.key_matches(found, load.load_private_key(key, source=str(place / KEY))):
                return found
    return None


def _requested(place: Path) -> dict[str, t.Any]:
    with contextlib.suppress(MtlsError, ValueError):
        requested = json.loads(content_if_any(place / REQUESTED) or b"{}")
        return requested if isinstance(requested, dict) else {}
    return {}


def _differences(requested: t.Mapping[str, t.Any], request: Request) -> list[str]:
    return [
        f"{name} is {_words(value)}, requested was {_words(requested.get(name))}"
        for name, value in request.text.items()
        if requested.get(name) != value
    ]


def _left_out(certificate: x509.Certificate, request: Request) -> list[str]:
    """Name what was requested and is not in the certificate: it is never published, so another one must be ordered."""
    found: set[str] = set()
    with contextlib.suppress(ValueError, x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = {san_text(name).lower() for name in names}
    missing = [name for name in map(san_text, request.sans) if name.lower() not in found]
    return [f"the issuer left out {', '.join(missing)}"] if missing else []


def _words(value: t.Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "nothing")


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
