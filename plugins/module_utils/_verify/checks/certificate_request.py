# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client CA hints of a CertificateRequest, and what they say (MV-20 to MV-22)."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.handshake_messages import (
    UNOBSERVABLE,
    observable,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

with contextlib.suppress(ImportError):  # the module's edge reports it
    from cryptography import x509

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import HandshakeFacts

_FEW = 10


def der_name_text(raw: bytes) -> str:
    """Return a DER name as RFC 4514 writes it; a name that cannot be read as its hexadecimal digits."""
    try:
        return names.name_from_der(raw).rfc4514_string() or "(empty name)"
    except PARSE_ERRORS:
        return raw.hex()


def _unseen() -> str:
    return "no handshake got that far" if observable() else UNOBSERVABLE


def check_request(seen: HandshakeFacts, version: str | None) -> Case:
    """MV-20: a CertificateRequest was in the handshake."""
    name = f"CertificateRequest in {version or 'the handshake'}"
    if seen.certificate_request is None:
        return Case("MV-20", name, Outcome.SKIPPED, _unseen())
    if seen.late_request:
        text = (
            "the server asks for a client certificate only when it has read the request: until then it takes data "
            "from anybody, and HTTP/2 forbids it (RFC 9113 section 9.2.3)"
        )
        return Case("MV-20", name, Outcome.WARNING, text)
    if seen.certificate_request:
        # Asking is no demand: only a client without a certificate proves that.
        return Case("MV-20", name, Outcome.PASSED, "the server asks for a client certificate", is_proof=False)
    return Case("MV-20", name, Outcome.FAILED, "the server does not ask for a client certificate")


def expected_client_ca_names(options: VerifyOptions) -> list[x509.Name]:
    """Return the declared client CAs; without them, at least the issuer above what the good client presents."""
    return [ca.subject for ca in options.expected_client_cas] or [options.client.chain[-1].issuer]


def check_client_ca_names(
    seen: HandshakeFacts,
    *,
    expected: t.Sequence[x509.Name],
    declared: bool,
    server_chain: t.Sequence[x509.Certificate],
) -> list[Case]:
    """MV-21 and MV-22. ``declared``: the user named all client CAs; else only the good client's issuer is known."""
    if seen.certificate_request is None or seen.client_cas is None:
        reason = _unseen() if seen.certificate_request is None else "the server asks for no client certificate"
        return [Case(check, "hints", Outcome.SKIPPED, reason) for check in ("MV-21", "MV-22")]
    if not seen.client_cas:
        text = "the server sends no CA names: clients must guess, and what it trusts cannot be seen"
        return [
            Case("MV-21", "hints", Outcome.WARNING, text),
            Case("MV-22", "hints", Outcome.SKIPPED, "the server sends no CA names"),
        ]
    hinted = {_canonical(raw): der_name_text(raw) for raw in seen.client_cas}
    return [_check_set(hinted, expected, declared=declared), _check_anchors(hinted, server_chain, expected)]


def _check_set(hinted: dict[t.Any, str], expected: t.Sequence[x509.Name], *, declared: bool) -> Case:
    expected_names = {_canonical(name.public_bytes()): name.rfc4514_string() for name in expected}
    missing = [text for name, text in expected_names.items() if name not in hinted]
    strange = [text for name, text in hinted.items() if name not in expected_names]
    listed = "; ".join(list(hinted.values())[:_FEW])
    if missing:
        return Case("MV-21", "hints", Outcome.FAILED, f"missing: {'; '.join(missing[:_FEW])} (sent: {listed})")
    if strange and declared:
        text = f"{len(strange)} more than expected: {'; '.join(strange[:_FEW])}"
        return Case("MV-21", "hints", Outcome.FAILED, text)
    if len(hinted) > _FEW:
        return Case("MV-21", "hints", Outcome.FAILED, f"{len(hinted)} CA names: this looks like a system's bundle")
    if strange:
        text = f"beside the good client's CA also: {'; '.join(strange)}; name client_ca_cert to decide"
        return Case("MV-21", "hints", Outcome.WARNING, text)
    return Case("MV-21", "hints", Outcome.PASSED, listed)


def _check_anchors(
    hinted: dict[t.Any, str], server_chain: t.Sequence[x509.Certificate], expected: t.Sequence[x509.Name]
) -> Case:
    expected_names = {_canonical(name.public_bytes()) for name in expected}
    above = {_canonical(certificate.issuer.public_bytes()): certificate.issuer for certificate in server_chain}
    shared = [hinted[name] for name in above if name in hinted and name not in expected_names]
    if shared:
        text = f"the server's own CA is trusted for clients: {'; '.join(shared)}"
        return Case("MV-22", "anchors", Outcome.FAILED, text)
    common = [hinted[name] for name in above if name in hinted]
    if common:
        text = f"clients and server have the same CA ({common[0]}): every server of it could log in as a client"
        return Case("MV-22", "anchors", Outcome.WARNING, text)
    if len(hinted) > _FEW:
        return Case("MV-22", "anchors", Outcome.FAILED, f"{len(hinted)} client CAs are trusted")
    # What a server asks for and what it trusts are two things.
    text = f"{len(hinted)} client CA{'s' if len(hinted) > 1 else ''}"
    return Case("MV-22", "anchors", Outcome.PASSED, text, is_proof=False)


def _canonical(raw: bytes) -> t.Any:
    try:
        return names.canonical_name(raw)
    except ValueError:
        return raw
