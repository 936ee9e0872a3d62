# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server certificate whose key stays in a Secret of the cluster: read back and checked, without its key."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import pem
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.prepare import prepare
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.secrets import secret_of
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_ca, is_issued_by

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

_CERTIFICATE = ("tls.crt", "tls.key")


@dataclasses.dataclass(frozen=True)
class IssuedCertificate:
    """The served chain as PEM, the root CA that the issuer has put beside it ("" when it has none), and facts."""

    chain: str = ""
    ca: str = ""
    facts: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read(api: Api, namespace: str, name: str, *, now: datetime.datetime) -> IssuedCertificate | None:
    """Return what Secret ``namespace``/``name`` serves, None when there is no such Secret.

    Raises MtlsError when the gateway could not serve it, naming what is wrong with it.
    """
    label = f"Secret {namespace}/{name}"
    body = api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}", what=label)
    if body is None:
        return None
    secret = secret_of(body)
    missing = [key for key in _CERTIFICATE if secret is None or not secret.data.get(key)]
    if secret is None or missing:
        raise MtlsError(
            f"{label} has no {' and no '.join(missing)}. Its issuer has not finished, or it is another Secret."
        )
    prepared = prepare(served(secret), now=now)
    chain = prepared.secret.data["tls.crt"]
    return IssuedCertificate(
        chain=chain.decode(),
        ca=_root(secret),
        facts=prepared.facts["certificate"],
        warnings=prepared.warnings,
    )


def served(secret: Secret) -> Secret:
    """Return ``secret`` with what a gateway serves of it alone: issuers write more into it."""
    return dataclasses.replace(secret, data={key: secret.data[key] for key in _CERTIFICATE if key in secret.data})


def _root(secret: Secret) -> str:
    """Return the root CA in ``ca.crt``. What is not a root there, such as an issuing intermediate, is not an anchor."""
    data = secret.data.get("ca.crt") or b""
    try:
        authorities = (
            load.load_certificates(data, source=f"{secret.label} (ca.crt)").certificates if data.strip() else ()
        )
    except MtlsError:
        return ""
    roots = [authority for authority in authorities if is_ca(authority) and is_issued_by(authority, authority)]
    return pem.text_of(*roots).decode()
