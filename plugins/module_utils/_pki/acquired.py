# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate that an external issuer makes of our request: the pair in use, and an order that is under way.

The pair is in ``current``, an order in ``order``: the new key first, then what was asked for, then the certificate. An
order whose certificate is there takes the place of the pair as a whole, so a run that is killed anywhere leaves the
former pair or the new one. Nothing here talks to an issuer, and nothing is published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    KEY_MODE,
    content_if_any,
    ensure_directory,
    sync_directory,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, subject_names
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import san_text, time_text

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import datetime

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.ari import AcmeServer
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.renewal import RenewalRule

CURRENT, ORDER, FORMER = "current", "order", "former"
KEY, REQUEST, CERTIFICATE, ASKED = "server.key", "server.csr", "fullchain.pem", "request.json"


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for. ``terms`` are what else decides on the certificate, as the issuer and its profile."""

    sans: tuple[x509.GeneralName, ...]
    key: keys.KeySpec
    terms: t.Mapping[str, str]

    @property
    def text(self) -> dict[str, t.Any]:
        """The request, in words that can be compared."""
        return {**self.terms, "names": sorted(map(san_text, self.sans)), "key": str(self.key)}


@dataclasses.dataclass(frozen=True)
class Acquired:
    """The files of one certificate."""

    directory: Path

    def bring_to(
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
        """Return the module's result: ``present`` settles and examines, ``prepared`` begins, ``absent`` abandons."""
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
        is_settled = _certificate(order) is not None if check_mode else self.settle()
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
            reasons += _differences(_asked(place), request) or _left_out(certificate, request)
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
        write_atomic(place / ASKED, json.dumps(request.text, indent=1).encode(), mode=KEY_MODE)
        return text.decode()

    def abandon(self) -> None:
        """Remove an order that came to nothing."""
        if (self.directory / ORDER).exists():
            shutil.rmtree(self.directory / ORDER, ignore_errors=True)
            sync_directory(self.directory)

    def settle(self) -> bool:
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
        """Where the pair is, or will be when :meth:`settle` has been called."""
        places = (self.directory / name for name in (ORDER, CURRENT, FORMER))
        return next((place for place in places if _certificate(place) is not None), self.directory / CURRENT)


def request_of(sans: t.Sequence[str], key: keys.KeySpec, terms: t.Mapping[str, str]) -> Request:
    """Give the request that options make. Raises MtlsError."""
    if not sans:
        raise MtlsError("No name is requested. Set sans, for example DNS:www.example.com. Nothing was changed.")
    return Request(subject_names.parse_sans(sans), key, dict(terms))


def _certificate(place: Path) -> x509.Certificate | None:
    """The certificate of a pair that is whole: it can be read, and belongs to the key beside it."""
    with contextlib.suppress(MtlsError):
        chain, key = content_if_any(place / CERTIFICATE), content_if_any(place / KEY)
        if chain and key:
            found = load.load_certificates(chain, source=str(place / CERTIFICATE)).certificates[0]
            if load.key_matches(found, load.load_private_key(key, source=str(place / KEY))):
                return found
    return None


def _asked(place: Path) -> dict[str, t.Any]:
    with contextlib.suppress(MtlsError, ValueError):
        asked = json.loads(content_if_any(place / ASKED) or b"{}")
        return asked if isinstance(asked, dict) else {}
    return {}


def _differences(asked: t.Mapping[str, t.Any], request: Request) -> list[str]:
    return [
        f"{name} is {_words(value)}, requested was {_words(asked.get(name))}"
        for name, value in request.text.items()
        if asked.get(name) != value
    ]


def _left_out(certificate: x509.Certificate, request: Request) -> list[str]:
    """Name what was asked for and is not in the certificate: it is never published, so another one must be ordered."""
    found: set[str] = set()
    with contextlib.suppress(ValueError, x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = {san_text(name).lower() for name in names}
    missing = [name for name in map(san_text, request.sans) if name.lower() not in found]
    return [f"the issuer left out {', '.join(missing)}"] if missing else []


def _words(value: t.Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "nothing")
