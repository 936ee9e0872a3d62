# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controllers of issuers in a cluster: Gardener's cert-management and DNS, and cert-manager.

They do what their sources and a run of the real cert-manager show: states, what they write back into ``spec``, back-off
after a failure, and the issuer in ``ca.crt`` of the Secret. No real controller of Gardener was at hand.
"""

from __future__ import annotations

import base64
import datetime
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from .credentials import make_pair
from .manifests import OPEN, STRING, _object, definition
from .refusals import Json

if t.TYPE_CHECKING:
    from .cluster import Cluster

GARDENER, CERT_MANAGER = "certificates.cert.gardener.cloud", "certificates.cert-manager.io"
DNS_ENTRY, DNS_PROVIDER = "dnsentries.dns.gardener.cloud", "dnsproviders.dns.gardener.cloud"
REQUEST, CLUSTER_ISSUER = "certificaterequests.cert-manager.io", "clusterissuers.cert-manager.io"
API_VERSION = "cert.gardener.cloud/v1alpha1"
RETRY = "gardener.cloud/operation"
BUNDLE = "bundles.trust.cert-manager.io"
DAYS = 90
EKUS = {"server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH}


def gardener_crds() -> list[Json]:
    certificate = _object(
        {
            "commonName": {"type": "string", "maxLength": 64},
            "dnsNames": {"type": "array", "items": STRING},
            "ipAddresses": {"type": "array", "items": STRING},
            "uris": {"type": "array", "items": STRING},
            "emailAddresses": {"type": "array", "items": STRING},
            "secretName": STRING,
            "secretRef": _object({"name": STRING, "namespace": STRING}),
            "issuerRef": _object({"name": STRING, "namespace": STRING}, "name"),
            "privateKey": _object(
                {
                    "algorithm": {"type": "string", "enum": ["RSA", "ECDSA"]},
                    "size": {"type": "integer", "enum": [256, 384, 2048, 3072, 4096]},
                }
            ),
            "renewBefore": STRING,
            "renew": {"type": "boolean"},
        }
    )
    entry = _object({"dnsName": STRING, "ttl": {"type": "integer"}, "targets": {"type": "array", "items": STRING}})
    group = "dns.gardener.cloud"
    return [
        definition("cert.gardener.cloud", "certificates", "Certificate", ["v1alpha1"], certificate, OPEN),
        definition(group, "dnsentries", "DNSEntry", ["v1alpha1"], entry, OPEN),
        definition(group, "dnsproviders", "DNSProvider", ["v1alpha1"], OPEN, OPEN),
    ]


def cert_manager_crds() -> list[Json]:
    group, versions = "cert-manager.io", ["v1"]
    return [
        definition(group, "certificates", "Certificate", versions, OPEN, OPEN),
        definition(group, "certificaterequests", "CertificateRequest", versions, OPEN, OPEN),
        definition(group, "clusterissuers", "ClusterIssuer", versions, OPEN, OPEN, scope="Cluster"),
        definition(group, "issuers", "Issuer", versions, OPEN, OPEN),
    ]


def trust_manager_crds() -> list[Json]:
    return [definition("trust.cert-manager.io", "bundles", "Bundle", ["v1alpha1"], OPEN, OPEN, scope="Cluster")]


def now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


def text_of(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Ca:
    """A root and the intermediate that issues."""

    def __init__(self, name: str) -> None:
        self.root = make_pair(f"{name} Root")
        self.issuing = make_pair(f"{name} Issuing", self.root, is_ca=True)

    @property
    def chain(self) -> bytes:
        return self.issuing.certificate_pem

    def sign(
        self,
        public_key: t.Any,
        names: t.Sequence[str],
        usages: t.Sequence[str],
        subject: x509.Name,
        lifetime: datetime.timedelta = datetime.timedelta(days=DAYS),
    ) -> bytes:
        """Return a certificate as PEM, without its chain."""
        began = now()
        builder = (
            x509.CertificateBuilder(subject_name=subject, issuer_name=self.issuing.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(began - datetime.timedelta(minutes=1))
            .not_valid_after(began + lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.issuing.key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=not list(subject)
            )
        extended = [EKUS[one] for one in usages if one in EKUS]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        return builder.sign(self.issuing.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def server(self, names: t.Sequence[str], usages: t.Sequence[str], algorithm: str) -> tuple[bytes, bytes]:
        """Return chain and key of a server."""
        key = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ECDSA" else rsa.generate_private_key(65537, 2048)
        leaf = self.sign(key.public_key(), names, usages, x509.Name([]))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
        return leaf + self.chain, key.private_bytes(encoding, form, serialization.NoEncryption())


class Controller:
    """What the controllers have in common: each works on what it has not seen in this form."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.store
        self._seen: dict[str, t.Any] = {}
        self._since: dict[str, float] = {}

    def due(self, body: Json, mark: t.Any, moment: float) -> bool:
        """Whether this form of the object, new to the controller, is old enough to be dealt with."""
        uid = body["metadata"]["uid"]
        if self._seen.get(uid) == mark:
            return False
        if self._since.get(f"{uid} {mark}") is None:
            self._since[f"{uid} {mark}"] = moment
        if moment - self._since[f"{uid} {mark}"] < self.cluster.mishaps.issuing_seconds:
            return False
        self._seen[uid] = mark
        return True

    def update(self, api_version: str, body: Json) -> Json:
        """Replace an object as a client does: fields that go or change are nobody else's any more."""
        kind = self.store.kind_of(api_version, body["kind"])
        metadata = body["metadata"]
        metadata.pop("resourceVersion", None)
        return self.store.update(
            kind, metadata["namespace"], metadata["name"], body, manager="cert-controller-manager", status=False
        )

    def put_secret(self, namespace: str, name: str, data: dict[str, bytes], **metadata: t.Any) -> None:
        """Write the Secret; what others have put into it goes, as it does in the real ones."""
        there = self.store.peek("secrets.", namespace, name) or {"metadata": {"name": name, "namespace": namespace}}
        self.store.set(
            "secrets.",
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {**there["metadata"], **metadata},
                "type": "kubernetes.io/tls",
                "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
            },
        )


class GardenerCertificates(Controller):
    """cert-management: Pending, then Ready, or Error with a back-off."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.ca = Ca("Garden")

    def tick(self, moment: float) -> None:
        for body in self.store.peek_all(GARDENER):
            self._reconcile(body, moment)

    def _reconcile(self, body: Json, moment: float) -> None:
        metadata, spec = body["metadata"], body["spec"]
        annotations = metadata.setdefault("annotations", {})
        if annotations.pop(RETRY, None):
            self._seen.pop(metadata["uid"], None)
            self._since = {key: at for key, at in self._since.items() if not key.startswith(metadata["uid"])}
            body = self.update(API_VERSION, body)
            self._status(body, "Pending", "")
            self.store.set(GARDENER, body)
            return
        namespace = metadata["namespace"]
        mark = metadata["generation"]
        if not self.due(body, mark, moment):
            if self._seen.get(metadata["uid"]) != mark and (body.get("status") or {}).get("state") != "Pending":
                # Of the generation before, until the controller has come so far.
                self.store.set(GARDENER, body)
            return
        refusal = self.cluster.mishaps.issuer_says
        if refusal:
            recheck = now() + datetime.timedelta(seconds=120)
            self._status(body, "Error", refusal)
            body["status"]["backoff"] = {"recheckAfter": text_of(recheck), "recheckInterval": "2m0s"}
            self.store.set(GARDENER, body)
            return
        names = [name for name in [spec.get("commonName"), *(spec.get("dnsNames") or [])] if name]
        chain, key = self.ca.server(names, ["server auth"], (spec.get("privateKey") or {}).get("algorithm", "RSA"))
        # ca.crt is the issuing intermediate.
        data = {"tls.crt": chain, "tls.key": key, "ca.crt": self.ca.chain}
        labels = {"cert.gardener.cloud/certificate": "true"}
        self.put_secret(namespace, spec["secretName"], data, labels=labels)
        # What the real one writes back is a new generation, which it has observed itself.
        spec["secretRef"] = {"name": spec["secretName"], "namespace": namespace}
        spec.pop("renew", None)
        metadata.setdefault("labels", {})["cert.gardener.cloud/hash"] = f"{metadata['generation']:08x}"
        annotations["cert.gardener.cloud/not-after"] = text_of(now() + datetime.timedelta(days=DAYS))
        body = self.update(API_VERSION, body)
        self._seen[metadata["uid"]] = body["metadata"]["generation"]
        self._status(body, "Ready", "certificate (SN 01) valid until some day")
        self.store.set(GARDENER, body)

    @staticmethod
    def _status(body: Json, state: str, message: str) -> None:
        ready = {"type": "Ready", "status": "True" if state == "Ready" else "False", "reason": state}
        body["status"] = {
            "state": state,
            "message": message,
            "observedGeneration": body["metadata"]["generation"],
            "conditions": [{**ready, "message": message, "observedGeneration": body["metadata"]["generation"]}],
        }


class GardenerDns(Controller):
    """external-dns-management: no conditions, and no state at all where no provider serves a domain."""

    def tick(self, moment: float) -> None:
        for stored in (DNS_ENTRY, DNS_PROVIDER):
            for body in self.store.peek_all(stored):
                state = self.cluster.mishaps.dns_state
                if self.due(body, (body["metadata"]["generation"], state), moment):
                    body["status"] = {"observedGeneration": body["metadata"]["generation"]}
                    if state:
                        body["status"] |= {"state": state, "message": "dns entry active" if state == "Ready" else state}
                    self.store.set(stored, body)


class CertManager(Controller):
    """cert-manager with a CA issuer: the old Ready stands for a moment after a change."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.ca = Ca("Company")

    def tick(self, moment: float) -> None:
        for body in self.store.peek_all(CERT_MANAGER):
            self._certificate(body, moment)
        for body in self.store.peek_all(REQUEST):
            self._request(body, moment)

    def _certificate(self, body: Json, moment: float) -> None:
        metadata, spec = body["metadata"], body["spec"]
        status = body.setdefault("status", {})
        generation = metadata["generation"]
        if not self.due(body, generation, moment):
            if (
                self._seen.get(metadata["uid"]) != generation
                and moment
                - min(
                    (at for key, at in self._since.items() if key == f"{metadata['uid']} {generation}"), default=moment
                )
                > self.cluster.mishaps.issuing_seconds / 4
            ):
                self._conditions(status, "Issuing", "True", "RequestChanged", "Fields on existing CertificateRequest "
                                 "resource not up to date", generation)  # fmt: skip
                self.store.set(CERT_MANAGER, body)
            return
        issuer = spec["issuerRef"]["name"]
        known = self.store.peek(CLUSTER_ISSUER, "", issuer)
        refusal = self.cluster.mishaps.issuer_says
        if known is None or refusal:
            text = (
                refusal or f'Referenced "ClusterIssuer" not found: clusterissuer.cert-manager.io "{issuer}" not found'
            )
            self._failed_request(body, text, is_final=bool(refusal))
            self._conditions(status, "Ready", "False", "DoesNotExist",
                             "Issuing certificate as Secret does not exist", generation)  # fmt: skip
            if refusal:
                status["failedIssuanceAttempts"], status["lastFailureTime"] = 1, text_of(now())
                self._conditions(status, "Issuing", "False", "Failed", "The certificate request has failed to complete "
                                 f"and will be retried: {text}", generation)  # fmt: skip
            else:
                self._conditions(status, "Issuing", "True", "DoesNotExist",
                                 "Issuing certificate as Secret does not exist", generation)  # fmt: skip
            self.store.set(CERT_MANAGER, body)
            return
        chain, key = self.ca.server(spec["dnsNames"], spec.get("usages") or [], spec["privateKey"]["algorithm"])
        data = {"tls.crt": chain, "tls.key": key, "ca.crt": self.ca.root.certificate_pem}
        self.put_secret(metadata["namespace"], spec["secretName"], data)
        status["conditions"] = []
        self._conditions(status, "Ready", "True", "Ready", "Certificate is up to date and has not expired", generation)
        status["notAfter"] = text_of(now() + datetime.timedelta(days=DAYS))
        self.store.set(CERT_MANAGER, body)

    def _failed_request(self, body: Json, text: str, *, is_final: bool) -> None:
        name = body["metadata"]["name"]
        metadata = {"name": f"{name}-1", "namespace": body["metadata"]["namespace"]}
        metadata["annotations"] = {"cert-manager.io/certificate-name": name}
        status: Json = {}
        self._conditions(status, "Ready", "False", "Failed" if is_final else "Pending", text, 1)
        request = {"apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest", "metadata": metadata}
        self.store.set(REQUEST, {**request, "spec": {}, "status": status})

    def _request(self, body: Json, moment: float) -> None:
        spec = body["spec"]
        if "request" not in spec or not self.due(body, 1, moment):
            return
        status = body.setdefault("status", {})
        self._conditions(status, "Approved", "True", "cert-manager.io", "Certificate request has been approved", 1)
        refusal = self.cluster.mishaps.issuer_says
        if refusal:
            self._conditions(status, "Ready", "False", "Failed", refusal, 1)
        else:
            asked = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
            try:
                names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                dns = names.get_values_for_type(x509.DNSName)
            except x509.ExtensionNotFound:
                dns = []
            lifetime = datetime.timedelta(seconds=int(str(spec.get("duration", "7776000s")).removesuffix("s")))
            leaf = self.ca.sign(asked.public_key(), dns, spec.get("usages") or [], asked.subject, lifetime)
            status["certificate"] = base64.b64encode(leaf + self.ca.chain).decode()
            status["ca"] = base64.b64encode(self.ca.root.certificate_pem).decode()
            self._conditions(status, "Ready", "True", "Issued", "Certificate fetched from issuer successfully", 1)
        self.store.set(REQUEST, body)

    @staticmethod
    def _conditions(status: Json, kind: str, value: str, reason: str, message: str, generation: int) -> None:
        others = [one for one in status.get("conditions") or [] if one["type"] != kind]
        made = {"type": kind, "status": value, "reason": reason, "message": message, "observedGeneration": generation}
        status["conditions"] = [*others, made]


class TrustManager(Controller):
    """trust-manager with sources in line: one ConfigMap of the Bundle's name in each namespace that is selected."""

    def tick(self, moment: float) -> None:
        for body in self.store.peek_all(BUNDLE):
            generation = body["metadata"]["generation"]
            if not self.due(body, generation, moment):
                continue
            spec, name = body["spec"], body["metadata"]["name"]
            pem = "".join(source["inLine"] for source in spec["sources"])
            wanted = ((spec["target"].get("namespaceSelector") or {}).get("matchLabels") or {}).items()
            for namespace in self.store.peek_all("namespaces."):
                labels = {"kubernetes.io/metadata.name": namespace["metadata"]["name"]}
                labels |= namespace["metadata"].get("labels") or {}
                if wanted <= labels.items():
                    place = {"name": name, "namespace": namespace["metadata"]["name"]}
                    there = self.store.peek("configmaps.", place["namespace"], name) or {"metadata": place}
                    # What others have put into it stays.
                    data = {**(there.get("data") or {}), spec["target"]["configMap"]["key"]: pem}
                    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": there["metadata"], "data": data}
                    self.store.set("configmaps.", made)
            message = "Successfully synced Bundle to all namespaces"
            synced = {"type": "Synced", "status": "True", "reason": "Synced", "message": message}
            body["status"] = {"conditions": [{**synced, "observedGeneration": generation}]}
            self.store.set(BUNDLE, body)
