# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the translation takes and what it gives."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

Json = dict[str, t.Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the local Envoy listens and keeps its files; everything else comes from the Kubernetes objects."""

    #: the address that Gateway ports are bound to
    address: str = "127.0.0.1"
    #: Gateway port number -> local port
    ports: t.Mapping[int, int]
    #: absolute path of the directory that the rendered files are written to
    directory: str
    #: absolute path of the directory of the Unix sockets; a short one, the kernel takes about 100 characters in all
    sockets: str


@dataclasses.dataclass(frozen=True)
class Credential:
    """One secret that Envoy reads through file-system SDS.

    ``name`` says what it is made of: the Gateway's ``credentialName``, or for the mesh a SPIFFE identity or ``ROOTCA``.
    """

    name: str
    kind: t.Literal["certificate", "validation"]
    #: the name of the SDS resource
    resource: str
    #: the SDS file, relative to ``Settings.directory``
    path: str


@dataclasses.dataclass(frozen=True)
class Configuration:
    """Envoy's configuration, ready to be rendered."""

    settings: Settings
    listeners: tuple[Json, ...]
    clusters: tuple[Json, ...]
    #: name -> RouteConfiguration
    routes: t.Mapping[str, Json]
    #: the Gateways' secrets, in istio-system on a cluster
    credentials: tuple[Credential, ...]
    #: SPIFFE identities of the second hop: the gateway's and the workloads'
    mesh_identities: tuple[str, ...]
    #: the secrets of the second hop: one certificate an identity (``name`` is the identity), and the root
    mesh_credentials: tuple[Credential, ...]


def safe_name(name: str) -> str:
    """``name`` where it can stand as a file name, else a readable and still unique form of it."""
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:64]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def sds_path(name: str) -> str:
    """The SDS file of the resource ``name``: alone in its directory, because Envoy re-reads on every rename there."""
    return f"sds/{safe_name(name)}/sds.json"


def rds_path(name: str) -> str:
    """The RDS file of the route configuration ``name``."""
    return f"rds/{safe_name(name)}/rds.json"
