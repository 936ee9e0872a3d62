# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificate requests signed by an issuer of cert-manager, by its CertificateRequests.

Sources: cert-manager (pkg/apis/certmanager/v1/types_certificaterequest.go). A request is immutable, and ends with one
of the conditions Ready, Denied or InvalidRequest. It is deleted when it has been read, whatever came of it.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, sentence
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import client
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.cert_manager import API_VERSION, of_issuer
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.verdict import condition_of, condition_words

Body = t.Mapping[str, t.Any]
POLL_SECONDS = 1.0
USAGES = {"client": "client auth", "server": "server auth"}


@dataclasses.dataclass
class CertificateRequests:
    """CertificateRequests of one namespace for one issuer."""

    connection: t.Mapping[str, str | None]
    namespace: str
    issuer: t.Mapping[str, str]
    timeout_seconds: float = 120
    _api: client.Api | None = dataclasses.field(default=None, repr=False)

    @property
    def title(self) -> str:
        return f"{self.issuer['kind']} {self.issuer['name']}"

    def connect(self) -> None:
        """Connect, once. Raises MtlsError when the cluster or cert-manager is not there."""
        if self._api is None:
            api = client.connect(self.connection)
            api.resource(API_VERSION, "CertificateRequest")
            self._api = api

    def submit(self, name: str, request: bytes, *, usage: str, duration_seconds: float | None) -> t.Callable[[], bytes]:
        """Submit a request as PEM, and return what waits for the certificate, with its chain if there is one, as PEM.

        Both raise MtlsError in the issuer's words; its detail ``is_refused`` says that only this request is concerned.
        """
        self.connect()
        api = t.cast("client.Api", self._api)
        collection = api.resource(API_VERSION, "CertificateRequest").path(self.namespace)
        made = api.request("POST", collection, what=f"CertificateRequest for {name}", body=self._body(
            name, request, usage=usage, duration_seconds=duration_seconds))  # fmt: skip
        path = f"{collection}/{made['metadata']['name']}"
        deadline = api.clock() + self.timeout_seconds

        def signed() -> bytes:
            try:
                return self._result(api, path, name, deadline)
            finally:
                api.delete(path, what=f"CertificateRequest for {name}", dry_run=False)

        return signed

    def _body(self, name: str, request: bytes, *, usage: str, duration_seconds: float | None) -> dict[str, t.Any]:
        label = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:40]
        spec: dict[str, t.Any] = {
            "request": base64.b64encode(request).decode(),
            "issuerRef": dict(self.issuer),
            # Without usages, cert-manager issues a certificate that is a server's too.
            "usages": ["digital signature", USAGES[usage]],
            "isCA": False,
        }
        if duration_seconds is not None:
            spec["duration"] = f"{int(duration_seconds)}s"
        return {
            "apiVersion": API_VERSION,
            "kind": "CertificateRequest",
            "metadata": {
                "generateName": f"kyma-mtls-{label or usage}-",
                "labels": {"app.kubernetes.io/managed-by": client.FIELD_MANAGER},
            },
            "spec": spec,
        }

    def _result(self, api: client.Api, path: str, name: str, deadline: float) -> bytes:
        words = "no status yet; is cert-manager running?"
        until_next = client.pauses(POLL_SECONDS)
        while True:
            body = api.get(path, what=f"CertificateRequest for {name}")
            status = (body or {}).get("status") or {}
            for kind in ("InvalidRequest", "Denied"):
                condition = condition_of(status, kind)
                if condition is not None and condition.get("status") == "True":
                    raise self._refused(name, condition)
            ready = condition_of(status, "Ready")
            if ready is not None:
                words = condition_words(ready)
                if ready.get("status") == "True" and status.get("certificate"):
                    return _decoded(status["certificate"], title=self.title)
                if ready.get("reason") in ("Failed", "Denied"):
                    raise self._refused(name, ready)
            if body is None or api.clock() >= deadline:
                issuer = " ".join(of_issuer(api, self.issuer, self.namespace))
                raise MtlsError(
                    sentence(
                        f"{self.title} has not signed the request of {name} in {self.timeout_seconds:g} s: {words}"
                    )
                    + (f" {issuer}" if issuer else "")
                )
            api.sleep(next(until_next))

    def _refused(self, name: str, condition: Body) -> MtlsError:
        return MtlsError(
            sentence(f"{self.title} refuses the request of {name}: {condition_words(condition)}")
            + " Correct the request, or the issuer.",
            is_refused=True,
        )


def _decoded(text: str, *, title: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MtlsError(f"{title} returned a certificate that is not Base64.") from exc
