# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The TLS context with which a client of one identity connects.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import ssl
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
