# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Deployment, of which the local platform plays the Pods: what routing needs of it, and nothing more."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.reading import DNS_NAME, Field, KubernetesObject


@dataclasses.dataclass(frozen=True)
class Deployment:
    """A Deployment by what its Pods are: their labels, ports and service account."""

    resource: KubernetesObject
    labels: t.Mapping[str, str]
    #: the field that names it, or the Pod's spec where the default applies
    account_field: Field
    service_account: str
    #: container port names -> numbers
    ports: t.Mapping[str, int]

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.resource.namespace

    @property
    def name(self) -> str:
        """The name."""
        return self.resource.name

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return self.resource.key

    def __str__(self) -> str:
        return str(self.resource)


def read_deployment(resource: KubernetesObject) -> Deployment:
    """The Deployment in ``resource``."""
    spec = _needed(resource.body, "spec")
    replicas = spec.part("replicas")
    if replicas is not None and replicas.number(0, 2**31 - 1) == 0:
        raise replicas.refusal("0 replicas cannot answer.")
    template = _needed(spec, "template")
    pod = _needed(template, "spec")
    metadata = template.part("metadata")
    labels = metadata.part("labels") if metadata is not None else None
    account = pod.part("serviceAccountName")
    return Deployment(
        resource=resource,
        labels={} if labels is None else {name: field.value for name, field in labels.pairs().items()},
        account_field=account or pod,
        service_account="default" if account is None else account.text(DNS_NAME, form="the name of a ServiceAccount"),
        ports=_named_ports(pod.part("containers")),
    )


def _needed(item: Field, name: str) -> Field:
    found = item.part(name)
    if found is None:
        raise item.refusal(f"{name} is required.")
    return found


def _named_ports(containers: Field | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for container in containers.items(minimum=0) if containers is not None else ():
        ports = container.part("ports")
        for port in ports.items(minimum=0) if ports is not None else ():
            name = port.part("name")
            if name is not None:
                found[name.text()] = _needed(port, "containerPort").number(1, 65535)
    return found
