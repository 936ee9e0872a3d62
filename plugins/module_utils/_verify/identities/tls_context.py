# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The TLS context with which a client of one identity connects."""

from __future__ import annotations

import ssl
import threading
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import ClientContext

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity


def make_context(
    identity: Identity | None, *, ca_pem: str | None, verified: bool, watched: bool = True, suites: str = ""
) -> ClientContext:
    """Return the context of ``identity`` (None: without a certificate), which verifies the server by ``ca_pem`` or not.

    ``suites`` are OpenSSL's names of the cipher suites that are offered in TLS 1.2, "" for its own choice.
    Raises MtlsError when the local OpenSSL refuses the identity, the suites or the CA certificates.
    """
    client = ClientContext(watched=watched)
    context = client.ssl
    is_weak = identity is not None and identity.weak
    if is_weak or suites:
        try:
            context.set_ciphers(f"{suites or 'DEFAULT'}{':@SECLEVEL=0' if is_weak else ''}")
        except ssl.SSLError as exc:
            raise MtlsError(f"The local OpenSSL has no cipher suites {suites}.") from exc
    if verified:
        context.hostname_checks_common_name = False
        context.verify_flags |= ssl.VERIFY_X509_TRUSTED_FIRST | getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)
        try:
            if ca_pem is None:
                context.set_default_verify_paths()
            else:
                context.load_verify_locations(cadata=ca_pem)
        except ssl.SSLError as exc:
            raise MtlsError(f"The CA certificates given by ca cannot be used: OpenSSL says {exc.reason}.") from exc
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        identity.install(context)
    return client


class PassingContexts:
    """Contexts for one client after another, of which there may be thousands: one in each thread and kind of key.

    To make a context takes half as long as to give it a certificate and a key, and OpenSSL copies both into a
    connection when that is made. A certificate takes the place of the one before it, with key and chain, only where the
    keys are of one kind: OpenSSL keeps one of each kind, and would choose between them.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def lend(self, identity: Identity, *, suites: str) -> ClientContext:
        """Return a context that does not verify the server; it is the identity's until this thread asks again.

        Raises MtlsError when the local OpenSSL refuses the identity.
        """
        contexts: dict[tuple[str, str], ClientContext] = self._of_thread.__dict__.setdefault("contexts", {})
        kind = identity.certificate.public_key_algorithm_oid.dotted_string, suites
        # Out of the box while it is filled: one that was refused half-way is not used again.
        context = contexts.pop(kind, None) or make_context(
            None, ca_pem=None, verified=False, watched=False, suites=suites
        )
        identity.install(context.ssl)
        contexts[kind] = context
        return context
