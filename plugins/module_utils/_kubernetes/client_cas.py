# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a Gateway's client CAs come from on this cluster, and that they are the right ones.

Istio looks for them in the Secret ``NAME-cacert``. When that one is not there, it takes ``cacert`` or ``ca.crt`` of the
Secret ``NAME`` (GetCaCert in pilot/pkg/credentials/kube/secrets.go). Gardener's cert-management and cert-manager write
the issuer of the server's certificate there: every certificate of that issuer then gets in as a client. Since Istio
1.28 a Gateway can name the client CAs apart from the server's certificate, by ``caCertCredentialName``: a name of its
own has no such Secret beside it, and when it is deleted the gateway keeps what it has.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import pem
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import AUTHORITY_KEYS
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import issued
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import secrets as cluster_secrets
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.kyma import istio_on_cluster
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import DesiredObject, Ref, our_fields
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_issued_by

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret
    from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.sources import SecretSource
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

Body = t.Mapping[str, t.Any]
# Where Istio's ingress gateway runs, and so where it looks for the Secrets of a Gateway.
NAMESPACE = "istio-system"
SINCE = (1, 28)
SUFFIX = "-cacert"
CONFIGMAP = "configmap://"
_GATEWAYS = "networking.istio.io/v1"


@dataclasses.dataclass(frozen=True)
class Placed:
    """The objects with their client CAs where this cluster's Istio looks for them, and the Secrets to be removed."""

    desired: tuple[DesiredObject, ...]
    superseded: tuple[Ref, ...] = ()
    warnings: tuple[str, ...] = ()


def place(
    api: Api, desired: t.Sequence[DesiredObject], sources: t.Sequence[SecretSource], *, check_only: bool = False
) -> Placed:
    """Return ``desired`` as this cluster's Istio can use it, for those of ``sources`` that replace another Secret.

    From Istio 1.28 on they stay as they are, and what they replace is removed, unless another Gateway uses it: then it
    is kept up to date. Before that, the Secret has the name of the one that it would replace.
    """
    replacing = {source.name: source for source in sources if source.replaces}
    if not replacing:
        return Placed(tuple(desired))
    version = istio_on_cluster(api)
    # In check mode, an earlier task would have installed Istio.
    if not knows_client_ca_name(version) and (version or not check_only):
        return Placed(
            tuple(_under_old_name(desired_object, replacing) for desired_object in desired),
            warnings=_unknown(version, replacing),
        )
    kept, superseded, warnings = list(desired), [], []
    for source in replacing.values():
        ref = Ref("v1", "Secret", source.replaces, source.namespace)
        ours = [
            gateway.body
            for gateway in desired
            if gateway.ref.kind == "Gateway" and source.replaces in _client_cas(gateway.body)
        ]
        body = api.get(_secret_path(source.namespace, source.replaces), what=ref.label)
        if body is None and not ours:
            continue
        others = _others(api, source.replaces, {desired_object.ref.label for desired_object in desired})
        if ours or others or others is None:
            new = cluster_secrets.ref_of_secret(source)
            kept += [
                _renamed(desired_object, source.replaces) for desired_object in desired if desired_object.ref == new
            ]
        elif our_fields(body or {}):
            superseded.append(ref)
        if others is None and not ours:
            warnings.append(
                f"{ref.label} of an earlier version is kept up to date: whether a Gateway of another namespace uses it "
                "cannot be seen without the permission to list gateways.networking.istio.io. Grant it, or delete the "
                "Secret when no Gateway uses it."
            )
    return Placed(tuple(kept), tuple(superseded), tuple(warnings))


def names_on(api: Api, sources: t.Sequence[SecretSource]) -> list[SecretSource]:
    """Return ``sources`` under the names that they have on this cluster."""
    if not any(source.replaces for source in sources) or knows_client_ca_name(istio_on_cluster(api)):
        return list(sources)
    return [dataclasses.replace(source, name=source.replaces or source.name, replaces="") for source in sources]


def knows_client_ca_name(version: str) -> bool:
    """Whether Istio ``version`` honours caCertCredentialName; not when the version is not known."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= SINCE


def check(api: Api, desired: t.Sequence[DesiredObject], *, now: datetime.datetime) -> list[str]:
    """Look at what each Gateway of ``desired`` takes from the cluster, and return what has to be said about it.

    Raises MtlsError when the gateway would take the issuer of the server's certificate for the clients' CA, and when it
    could not serve the certificate that is there.
    """
    given = {
        desired_object.ref.name
        for desired_object in desired
        if desired_object.ref.kind == "Secret" and desired_object.ref.namespace == NAMESPACE
    }
    warnings: list[str] = []
    for desired_object in desired:
        if desired_object.ref.kind != "Gateway" or not desired_object.ref.api_version.startswith(
            "networking.istio.io/"
        ):
            continue
        gateway = desired_object.ref.label
        try:
            for credential in _client_cas(desired_object.body):
                warnings += _check(api, gateway, credential, given=given)
            for credential in _server_credentials(desired_object.body):
                if credential not in given and issued.read(api, NAMESPACE, credential, now=now) is None:
                    warnings.append(
                        f"{gateway} takes the server's certificate from Secret {NAMESPACE}/{credential}, which is not "
                        "there: nobody can connect until it is."
                    )
        except ApiError as exc:
            if exc.status != 403:
                raise
            warnings.append(f"{gateway}: what it takes from Secrets of the cluster was not checked: {exc}")
    return list(dict.fromkeys(warnings))


def _check(api: Api, gateway: str, credential: str, *, given: t.Collection[str]) -> list[str]:
    if credential.startswith(CONFIGMAP):
        return _check_configmap(api, gateway, credential)
    base = credential.removesuffix(SUFFIX)
    name = base + SUFFIX
    server_secret = None
    if base not in given:
        body = api.get(_secret_path(NAMESPACE, base), what=f"Secret {NAMESPACE}/{base}")
        server_secret = cluster_secrets.secret_of(body) if body is not None else None
    issuer = _own_issuer(server_secret) if server_secret is not None else None
    is_there = name in given or api.get(_secret_path(NAMESPACE, name), what=f"Secret {NAMESPACE}/{name}") is not None
    if issuer is not None and not is_there:
        raise MtlsError(
            f"{gateway} would let in every client with a certificate of {issuer}: it takes its client CAs from Secret "
            f"{NAMESPACE}/{name}, which is not there, so Istio takes them from Secret {NAMESPACE}/{base}, which holds "
            f"the issuer of the server's certificate. Give {name} in secrets, or name another one by "
            "caCertCredentialName (Istio 1.28 or later)."
        )
    if issuer is not None:
        return [
            f"{gateway} takes its client CAs from Secret {NAMESPACE}/{name}. Whoever deletes it lets in every client "
            f"with a certificate of {issuer}, because Secret {NAMESPACE}/{base} holds the issuer of the server's "
            "certificate. With Istio 1.28 or later, name the client CAs by caCertCredentialName (role gateway: "
            "gateway_client_ca_credential)."
        ]
    if not is_there and base not in given and (server_secret is None or server_secret.authorities() is None):
        return [f"{gateway} needs Secret {NAMESPACE}/{name}, which is not there: nobody gets in until it is."]
    return []


def _check_configmap(api: Api, gateway: str, credential: str) -> list[str]:
    namespace, _slash, name = credential.removeprefix(CONFIGMAP).partition("/")
    label = f"ConfigMap {namespace}/{name}"
    body = api.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}", what=label)
    data = (body or {}).get("data") or {}
    keys = next((pair for pair in AUTHORITY_KEYS if data.get(pair[0])), None)
    if keys is None:
        missing = "is not there" if body is None else "has neither cacert nor ca.crt"
        return [f"{gateway} takes its client CAs from {label}, which {missing}: nobody gets in until it is."]
    # What cannot be read, the gateway cannot either.
    if not pem.read(data[keys[0]].encode(), source=label, what=keys[0]).certificates:
        raise MtlsError(f"{gateway} takes its client CAs from {label}, in which {keys[0]} holds no certificate.")
    return []


def _own_issuer(secret: Secret) -> str | None:
    """Return the name of the CA in ``secret`` that issued a certificate of the chain there, None when none did."""
    served, authorities = secret.data.get("tls.crt") or secret.data.get("cert"), secret.authorities()
    if served is None or authorities is None:
        return None
    chain, roots = _certificates(served), _certificates(authorities[0])
    return next(
        (describe.label(root) for root in roots if any(is_issued_by(certificate, root) for certificate in chain)), None
    )


def _certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates in ``data``; what cannot be read there, the gateway does not have."""
    try:
        return pem.read(data, source="", what="").certificates
    except MtlsError:
        return ()


def _client_cas(gateway: Body) -> t.Iterator[str]:
    """Return where each server of ``gateway`` takes its client CAs from: the name of a Secret, or a ConfigMap."""
    for tls in _tls_settings(gateway):
        if tls.get("mode") not in ("MUTUAL", "OPTIONAL_MUTUAL"):
            continue
        first = next(iter(_credentials(tls)), None)
        named = tls.get("caCertCredentialName") or (f"{first}{SUFFIX}" if first else None)
        if named:
            yield str(named)


def _server_credentials(gateway: Body) -> list[str]:
    """Return the names of the Secrets with the certificates that ``gateway`` serves."""
    return list(dict.fromkeys(name for tls in _tls_settings(gateway) for name in _credentials(tls)))


def _credentials(tls: Body) -> list[str]:
    named = tls.get("credentialName")
    return [str(name) for name in ([named] if named else tls.get("credentialNames") or [])]


def _tls_settings(gateway: Body) -> t.Iterator[Body]:
    spec = gateway.get("spec")
    servers = spec.get("servers") if isinstance(spec, dict) else None
    for server in servers or []:
        yield (server.get("tls") if isinstance(server, dict) else None) or {}


def _others(api: Api, name: str, ours: t.Collection[str]) -> list[str] | None:
    """Return the Gateways but ``ours`` with their client CAs in Secret ``name``, None when they cannot be seen."""
    try:
        listed = api.request("GET", f"/apis/{_GATEWAYS}/gateways", what="all Gateways").get("items") or []
    except ApiError as exc:
        if exc.status == 403:
            return None
        if exc.status != 404:
            raise
        listed = []
    labelled = {f"Gateway {body['metadata']['namespace']}/{body['metadata']['name']}": body for body in listed}
    return [label for label, body in labelled.items() if label not in ours and name in _client_cas(body)]


def _under_old_name(desired_object: DesiredObject, replacing: t.Mapping[str, SecretSource]) -> DesiredObject:
    if desired_object.ref.kind == "Secret" and desired_object.ref.name in replacing:
        return _renamed(desired_object, replacing[desired_object.ref.name].replaces)
    if desired_object.ref.kind != "Gateway" or not set(_client_cas(desired_object.body)) & set(replacing):
        return desired_object
    body = copy.deepcopy(dict(desired_object.body))
    for server in body["spec"]["servers"]:
        if (server.get("tls") or {}).get("caCertCredentialName") in replacing:
            del server["tls"]["caCertCredentialName"]
    return dataclasses.replace(desired_object, body=body)


def _renamed(desired_object: DesiredObject, name: str) -> DesiredObject:
    body = {**desired_object.body, "metadata": {**desired_object.body["metadata"], "name": name}}
    return dataclasses.replace(desired_object, ref=dataclasses.replace(desired_object.ref, name=name), body=body)


def _unknown(version: str, replacing: t.Mapping[str, SecretSource]) -> tuple[str, ...]:
    if version:
        return ()
    names = ", ".join(sorted(source.replaces for source in replacing.values()))
    return (
        f"The version of Istio is unknown (Deployment {NAMESPACE}/istiod, Istio kyma-system/default), so the "
        f"client CAs are in Secret {names}, as before Istio 1.28.",
    )


def _secret_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"
