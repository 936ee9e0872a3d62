# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins for the release manifests of Kyma's modules, and what the managers make of them.

The CustomResourceDefinitions are of our own making: the fields that the collection uses, with the limits that Kyma and
Istio document for them. ``write`` lays the files out as a mirror of the releases has them.
"""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import yaml

from .refusals import Json

LAST_APPLIED = "operator.kyma-project.io/lastAppliedConfiguration"
# Kyma's Istio module -> Istio.
ISTIO_OF = {"1.22.1": "1.27.1", "1.26.8": "1.28.6", "1.27.4": "1.29.3", "1.29.0": "1.30.2", "1.30.0": "1.30.2"}
API_GATEWAYS = ("3.7.0", "3.9.0", "3.10.0")
LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

STRING: Json = {"type": "string"}
STATE: Json = {"type": "string", "enum": ["Processing", "Deleting", "Ready", "Error", "Warning"]}
OPEN: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _list(items: Json, **limits: t.Any) -> Json:
    return {"type": "array", "items": items, **limits}


SERVICE = _object(
    {"name": STRING, "namespace": STRING, "port": {"type": "integer", "minimum": 1, "maximum": 65535}}, "name", "port"
)
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
RULE = _object(
    {
        "methods": _list({"type": "string", "enum": METHODS}, minItems=1),
        "path": {
            "type": "string",
            "pattern": r"^((\/([A-Za-z0-9-._~!$&'()+,;=:@]|%[0-9a-fA-F]{2})*)|(\/\{\*{1,2}\}))+$|^\/\*$",
        },
        "noAuth": {"type": "boolean"},
        "jwt": _object(
            {
                "authentications": _list(
                    _object(
                        {
                            "issuer": STRING,
                            "jwksUri": STRING,
                            "fromHeaders": _list(_object({"name": STRING, "prefix": STRING}, "name")),
                            "fromParams": _list(STRING),
                        },
                        "issuer",
                        "jwksUri",
                    )
                ),
                "authorizations": _list(_object({"audiences": _list(STRING), "requiredScopes": _list(STRING)})),
            }
        ),
        "extAuth": OPEN,
        "timeout": {"type": "integer", "minimum": 1, "maximum": 3900},
        "service": SERVICE,
        "request": _object({"headers": {"type": "object", "additionalProperties": STRING}}),
    },
    "methods",
    "path",
)
API_RULE = _object(
    {
        "gateway": {"type": "string", "maxLength": 127},
        "externalGateway": {"type": "string", "maxLength": 127},
        "hosts": _list({"type": "string", "maxLength": 255}, minItems=1, maxItems=1),
        "rules": _list(RULE, minItems=1),
        "service": SERVICE,
        "timeout": {"type": "integer", "minimum": 1, "maximum": 3900},
        "corsPolicy": OPEN,
    },
    "hosts",
    "rules",
)
API_RULE_STATUS = _object({"state": STATE, "description": STRING, "lastProcessedTime": STRING}, "state")
GATEWAY = _object(
    {
        "selector": {"type": "object", "additionalProperties": STRING},
        "servers": _list(
            _object(
                {
                    "name": STRING,
                    "bind": STRING,
                    "hosts": _list(STRING),
                    "port": _object(
                        {
                            "name": STRING,
                            "number": {"type": "integer", "minimum": 0, "maximum": 4294967295},
                            "protocol": STRING,
                        },
                        "number",
                        "protocol",
                        "name",
                    ),
                    "tls": _object(
                        {
                            "mode": {
                                "type": "string",
                                "enum": [
                                    "PASSTHROUGH",
                                    "SIMPLE",
                                    "MUTUAL",
                                    "AUTO_PASSTHROUGH",
                                    "ISTIO_MUTUAL",
                                    "OPTIONAL_MUTUAL",
                                ],
                            },
                            "credentialName": STRING,
                            "credentialNames": _list(STRING, maxItems=2, minItems=1),
                            "caCertCredentialName": STRING,
                            "cipherSuites": _list(STRING),
                            "httpsRedirect": {"type": "boolean"},
                            "minProtocolVersion": {
                                "type": "string",
                                "enum": ["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"],
                            },
                            "maxProtocolVersion": {
                                "type": "string",
                                "enum": ["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"],
                            },
                            "subjectAltNames": _list(STRING),
                        }
                    ),
                },
                "port",
                "hosts",
            )
        ),
    }
)
ISTIO_SPEC = _object({"config": OPEN, "components": OPEN, "compatibilityMode": {"type": "boolean"}})
MODULE_STATUS = _object({"state": STATE, "description": STRING, "conditions": _list(OPEN)}, "state")


def definition(
    group: str, plural: str, kind: str, versions: t.Sequence[str], spec: Json, status: Json, **options: t.Any
) -> Json:
    """Return a CustomResourceDefinition; the last of ``versions`` is the stored one."""
    schema = _object(
        {"apiVersion": STRING, "kind": STRING, "metadata": {"type": "object"}, "spec": spec, "status": status}
    )
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": options.get("scope", "Namespaced"),
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[-1],
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
                for version in versions
            ],
            **({"conversion": options["conversion"]} if "conversion" in options else {}),
        },
    }


CONVERSION: Json = {
    "strategy": "Webhook",
    "webhook": {
        "conversionReviewVersions": ["v2", "v1beta1"],
        "clientConfig": {
            "service": {
                "name": "api-gateway-webhook-service",
                "namespace": "kyma-system",
                "path": "/convert",
                "port": 9443,
            }
        },
    },
}


def manager(name: str, image: str, env: Json) -> list[Json]:
    """Return the Deployment of a manager and what belongs to it."""
    labels = {"app.kubernetes.io/component": name, "control-plane": "controller-manager"}
    container = {
        "name": "manager",
        "image": image,
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    metadata = {"name": name, "namespace": "kyma-system"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": {**labels, "sidecar.istio.io/inject": "false"}},
                    "spec": {"serviceAccountName": name, "containers": [container]},
                },
            },
        },
    ]


def istio_manager(version: str) -> list[Json]:
    image = f"europe-docker.pkg.dev/kyma-project/prod/istio/releases/istio-manager:{version}"
    env = {"pilot": f"europe-docker.pkg.dev/kyma-project/prod/external/istio/pilot:{ISTIO_OF[version]}-distroless"}
    crd = definition("operator.kyma-project.io", "istios", "Istio", ["v1alpha2"], ISTIO_SPEC, MODULE_STATUS)
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "istio-system", "labels": {"namespaces.warden.kyma-project.io/validate": "enabled"}},
    }
    return [crd, *manager("istio-controller-manager", image, env), namespace]


def api_gateway_manager(version: str) -> list[Json]:
    image = f"europe-docker.pkg.dev/kyma-project/prod/api-gateway/releases/api-gateway-manager:{version}"
    operator = definition(
        "operator.kyma-project.io", "apigateways", "APIGateway", ["v1alpha1"],
        _object({"enableKymaGateway": {"type": "boolean"}}), MODULE_STATUS, scope="Cluster",
    )  # fmt: skip
    rules = definition(
        "gateway.kyma-project.io",
        "apirules",
        "APIRule",
        ["v2", "v2alpha1"],
        API_RULE,
        API_RULE_STATUS,
        conversion=CONVERSION,
    )
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "api-gateway-validating-webhook-configuration"},
        "webhooks": [
            {
                "name": "v1beta1.apirule.gateway.kyma-project.io",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    return [operator, rules, *manager("api-gateway-controller-manager", image, {}), webhook]


def installed_by_istio(tag: str) -> list[tuple[str, list[Json]]]:
    """Return what Kyma's Istio manager installs: (stored kind, objects)."""
    crds = [
        definition("networking.istio.io", "gateways", "Gateway", ["v1alpha3", "v1beta1", "v1"], GATEWAY, OPEN),
        definition(
            "networking.istio.io", "virtualservices", "VirtualService", ["v1alpha3", "v1beta1", "v1"], OPEN, OPEN
        ),
        definition("networking.istio.io", "envoyfilters", "EnvoyFilter", ["v1alpha3"], OPEN, OPEN),
        definition("security.istio.io", "authorizationpolicies", "AuthorizationPolicy", ["v1beta1", "v1"], OPEN, OPEN),
        definition(
            "security.istio.io", "requestauthentications", "RequestAuthentication", ["v1beta1", "v1"], OPEN, OPEN
        ),
    ]
    for crd in crds:
        crd["spec"]["conversion"] = {"strategy": "None"}
    labels = {"app": "istio-ingressgateway", "istio": "ingressgateway", "kyma-project.io/module": "istio"}

    def deployment(name: str) -> Json:
        template = {
            "metadata": {"labels": {"app": name, "sidecar.istio.io/inject": "false"}},
            "spec": {"containers": [{"name": "discovery", "image": f"istio/{name}:{tag}"}]},
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "istio-system", "generation": 1},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template},
        }

    ports = [
        {"name": name, "port": port, "protocol": "TCP", "targetPort": port}
        for name, port in (("http2", 80), ("https", 443))
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "istio-ingressgateway", "namespace": "istio-system", "labels": labels},
        "spec": {"type": "LoadBalancer", "selector": {"app": "istio-ingressgateway"}, "ports": ports},
    }
    return [
        ("customresourcedefinitions.apiextensions.k8s.io", crds),
        ("deployments.apps", [deployment("istiod"), deployment("istio-ingressgateway")]),
        ("services.", [service]),
    ]


def a_cluster_has(kubernetes: str) -> list[tuple[str, Json]]:
    """Return what is in a fresh k3s: (stored kind, object)."""
    labels = {"k8s-app": "kube-dns"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "k3d-kyma-server-0"},
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "kubelet is posting ready status",
                }
            ],
            "nodeInfo": {"kubeletVersion": f"{kubernetes}+k3s1"},
        },
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "coredns", "image": "rancher/mirrored-coredns-coredns"}]},
    }
    coredns = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": "kube-system", "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
    return [("nodes.", node), ("deployments.apps", coredns)]


def generated(rule: Json) -> list[tuple[str, Json]]:
    """Return what Kyma's API Gateway makes of an APIRule: (stored kind, object)."""
    spec, metadata = rule["spec"], rule["metadata"]
    labels = {
        "apirule.gateway.kyma-project.io/name": metadata["name"],
        "apirule.gateway.kyma-project.io/namespace": metadata["namespace"],
        "kyma-project.io/module": "api-gateway",
    }
    place = {"name": f"{metadata['name']}-x7k2p", "namespace": metadata["namespace"], "labels": labels}
    service = spec.get("service") or spec["rules"][0]["service"]
    routes = []
    for one in spec["rules"]:
        headers = {"x-forwarded-host": spec["hosts"][0], **((one.get("request") or {}).get("headers") or {})}
        match = {"method": {"regex": f"^({'|'.join(one['methods'])})$"}, "uri": {"prefix": "/"}}
        target = {
            "host": f"{service['name']}.{metadata['namespace']}.svc.cluster.local",
            "port": {"number": service["port"]},
        }
        routes.append(
            {
                "match": [match],
                "route": [{"destination": target, "weight": 100}],
                "timeout": f"{one.get('timeout', 180)}s",
                "headers": {"request": {"set": headers}},
            }
        )
    virtual_service = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": place,
        "spec": {"hosts": spec["hosts"], "gateways": [spec["gateway"]], "http": routes},
    }
    return [("virtualservices.networking.istio.io", virtual_service)]


def files() -> dict[str, str]:
    """Return all stand-ins: path below the mirror -> YAML."""
    found = {}
    for version in ISTIO_OF:
        found[f"istio/releases/download/{version}/istio-manager.yaml"] = istio_manager(version)
    for version in API_GATEWAYS:
        found[f"api-gateway/releases/download/{version}/api-gateway-manager.yaml"] = api_gateway_manager(version)
    return {path: yaml.safe_dump_all(bodies, sort_keys=False) for path, bodies in found.items()}


def write(directory: Path) -> dict[str, str]:
    """Write all stand-ins below ``directory`` and return their SHA-256 digests."""
    digests = {}
    for name, text in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        digests[name] = hashlib.sha256(text.encode()).hexdigest()
    return digests
