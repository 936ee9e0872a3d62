# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An issuer in a cluster that signs certificate requests, such as cert-manager's.

Who talks to the cluster is given by whoever calls: this package knows no cluster.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuer import RequestRefusedError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.request_issuer import SignedRequest

try:
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.certificate_spec import CertificateSpec


class ClusterRequests(t.Protocol):
    """What signs in the cluster."""

    @property
    def title(self) -> str:
        """What the issuer is called in messages."""

    def connect(self) -> None:
        """Connect. Raises MtlsError when nothing will be signed."""

    def sign(self, name: str, request: bytes, *, usage: str, duration_seconds: float | None) -> bytes:
        """Return a certificate for a request, both as PEM. Raises MtlsError in the issuer's words."""


@dataclasses.dataclass(frozen=True)
class ClusterSigner:
    """A :class:`request_issuer.RequestSigner`. Its CA is given: an issuer names it only beside a certificate."""

    requests: ClusterRequests
    ca: bytes

    @property
    def title(self) -> str:
        return self.requests.title

    def prepare(self) -> None:
        self.requests.connect()

    def authorities(self) -> bytes:
        return self.ca

    def sign(self, spec: CertificateSpec, request: x509.CertificateSigningRequest) -> SignedRequest:
        seconds = spec.lifetime.total_seconds() if spec.lifetime is not None else None
        pem = request.public_bytes(Encoding.PEM)
        try:
            return SignedRequest(self.requests.sign(spec.name, pem, usage=spec.usage, duration_seconds=seconds))
        except MtlsError as exc:
            if exc.details.get("is_refused"):
                raise RequestRefusedError(str(exc)) from exc
            raise

    def revoke(self, serial_number: int, *, name: str) -> None:  # noqa: ARG002  (nothing is revoked)
        raise MtlsError(
            f"{self.title} does not revoke certificates, so {name} cannot be shut out before its certificate ends. Use "
            "short lifetimes, or have the CA's owner revoke it and set client_pki_provided_crl_url."
        )

    def usage_advice(self, usage: str) -> str:
        return f"the request names the usage {usage} auth alone; configure {self.title} so that it adds no other"

    def close(self) -> None:
        """There is nothing to end."""
