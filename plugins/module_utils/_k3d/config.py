# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of a cluster: k3d's own format, and what of it can be compared with a cluster that exists.

k3d tells neither the image's name nor most options of a cluster. So the first server gets an environment variable with
the image's name and a digest of each further part. A cluster with this mark was made by this collection.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

SERVER, AGENT, LOADBALANCER = "server", "agent", "loadbalancer"
ALL_ADDRESSES = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  (compared with, never bound)
MARK = "KYMA_MTLS_K3D"
API_VERSION = "k3d.io/v1alpha5"
# k3d replaces $NAME in its configuration by variables of its environment: this one stands for the dollar sign.
DOLLAR = "KYMA_MTLS_DOLLAR"

_FILTER = re.compile(
    r"(servers?|agents?|all|loadbalancer)(?::(?:(\d+(?:,\d+)*)|(\d*)-(\d*)|\*))?(?::(?:proxy|direct))?"
)
_PORT = re.compile(
    r"(?:(?:(?P<address>\[[0-9a-fA-F:]+\]|[0-9.]+):)?(?P<host>\d+(?:-\d+)?)?:)?"
    r"(?P<container>\d+(?:-\d+)?)(?:/(?P<protocol>tcp|udp|sctp))?"
)
# What has a digest in the mark: all but what k3d tells, and how a cluster is created rather than what it is.
_COMPARED = frozenset({"apiVersion", "kind", "metadata", "servers", "agents", "image", "ports"})
_HOW = {"k3d": frozenset({"wait", "timeout", "disableRollback"}), "k3s": frozenset({"extraArgs"})}


@dataclass(frozen=True, order=True)
class Mapping:
    """A port of the host that leads to a port of a node; ``host_port`` 0 means any free one."""

    host_port: int
    address: str
    container_port: int
    protocol: str

    @property
    def on_all_addresses(self) -> bool:
        return self.address in ALL_ADDRESSES

    def fulfils(self, requested: Mapping) -> bool:
        """Whether this gives what is asked for; all addresses contain the one that is asked for."""
        return (
            (self.container_port, self.protocol) == (requested.container_port, requested.protocol)
            and requested.host_port in (0, self.host_port)
            and (self.on_all_addresses or self.address == requested.address)
        )

    def __str__(self) -> str:
        address = "" if self.on_all_addresses else f"{self.address}:"
        host = f"{self.host_port}:" if self.host_port else ""
        protocol = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"{address}{host}{self.container_port}{protocol}"


@dataclass(frozen=True)
class Argument:
    """An argument for k3s and the nodes that get it; no filter means every node."""

    value: str
    filters: tuple[str, ...]

    def is_for(self, role: str, index: int) -> bool:
        return not self.filters or any(_selects(node_filter, role, index) for node_filter in self.filters)


@dataclass(frozen=True)
class Mark:
    """What a cluster was made from, as far as k3d itself does not tell."""

    image: str
    parts: t.Mapping[str, str]


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster as it shall be: ``config`` is the whole Simple configuration, the rest is read from it."""

    name: str
    config: t.Mapping[str, t.Any]
    ports: tuple[Mapping, ...]
    arguments: tuple[Argument, ...] | None
    mark: Mark

    @property
    def image(self) -> str | None:
        return self.config.get("image")

    def count(self, role: str) -> int | None:
        """Return the number of nodes with ``role``, None when none is given."""
        return self.config.get(f"{role}s")

    @property
    def touches_default_kubeconfig(self) -> bool:
        """Whether k3d is asked to keep the user's own kubeconfig."""
        return bool(_section(_section(self.config, "options"), "kubeconfig").get("updateDefaultKubeconfig"))

    @property
    def secrets(self) -> set[str]:
        """Values of the configuration that no output may show."""
        proxy = _section(_section(_section(self.config, "registries"), "create"), "proxy")
        return {str(secret) for secret in (self.config.get("token"), proxy.get("password")) if secret}

    def render(self) -> bytes:
        """Return k3d's configuration file: JSON, which is YAML. ``ENVIRONMENT`` has to go with it."""
        return json.dumps(self.config, indent=2, sort_keys=True).replace("$", f"${{{DOLLAR}}}").encode() + b"\n"


ENVIRONMENT: t.Mapping[str, str] = {DOLLAR: "$"}


def read(
    name: str,
    *,
    config: t.Mapping[str, t.Any] | None = None,
    ports: t.Sequence[t.Any] | None = None,
    k3s_args: t.Sequence[t.Any] | None = None,
    wait: bool = True,
    timeout_seconds: int = 300,
    **parts: t.Any,
) -> ClusterSpec:
    """Return the cluster that the module's options describe; an option wins over the same part of ``config``.

    ``parts`` are image, servers, agents and registries. Raises MtlsError when something contradicts or cannot be read.
    """
    whole: dict[str, t.Any] = without_none(copy.deepcopy(dict(config or {})))
    _check_identity(name, whole)
    whole.update({"apiVersion": API_VERSION, "kind": "Simple", "metadata": {"name": name}})
    whole.update({key: without_none(value) for key, value in parts.items() if value is not None})
    entries = [
        _entry(entry, key="port", source="ports") for entry in (whole.get("ports") or [] if ports is None else ports)
    ]
    if entries:
        whole["ports"] = [_filtered("port", value, filters) for value, filters in entries]
    options = whole.setdefault("options", {})
    _check_options(options)
    given = _section(options, "k3s").get("extraArgs") if k3s_args is None else k3s_args
    arguments = (
        None if given is None else tuple(Argument(*_entry(entry, key="arg", source="k3s_args")) for entry in given)
    )
    if arguments is not None:
        options.setdefault("k3s", {})["extraArgs"] = [
            _filtered("arg", argument.value, argument.filters) for argument in arguments
        ]
    options.setdefault("k3d", {}).update({"wait": wait, "timeout": f"{timeout_seconds}s"})
    # Unless it was asked for, nobody's kubeconfig is touched.
    own = {"updateDefaultKubeconfig": False, "switchCurrentContext": False}
    options["kubeconfig"] = {**own, **_section(options, "kubeconfig")}
    mark = Mark(image=str(whole.get("image") or ""), parts=_digests(whole))
    whole["env"] = [*(whole.get("env") or []), {"envVar": f"{MARK}={mark_text(mark)}", "nodeFilters": ["server:0"]}]
    mappings = tuple(mapping for value, _filters in entries for mapping in read_mappings(value))
    return ClusterSpec(name=name, config=whole, ports=mappings, arguments=arguments, mark=mark)


def mark_text(mark: Mark) -> str:
    return json.dumps({"image": mark.image, "parts": mark.parts}, sort_keys=True, separators=(",", ":"))


def read_mark(text: str) -> Mark | None:
    """Return the mark that ``text`` says, None when it is not one."""
    try:
        found = json.loads(text)
        return Mark(image=str(found["image"]), parts={str(key): str(part) for key, part in found["parts"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def without_none(value: t.Any) -> t.Any:
    """Return ``value`` without the keys that Ansible fills with nothing."""
    if isinstance(value, dict):
        return {key: without_none(part) for key, part in value.items() if part is not None}
    return [without_none(part) for part in value] if isinstance(value, list) else value


def read_mappings(text: str) -> tuple[Mapping, ...]:
    """Return what a port mapping asks for. Raises MtlsError when it is none."""
    found = _PORT.fullmatch(text)
    if found is None:
        raise MtlsError(
            f"ports has the port mapping '{text}'. "
            "Write [ADDRESS:][HOSTPORT:]PORT[/PROTOCOL], such as 127.0.0.1:8443:443."
        )
    containers = _numbers(found["container"])
    hosts = _numbers(found["host"]) if found["host"] else [0] * len(containers)
    if len(hosts) != len(containers):
        raise MtlsError(f"ports has the port mapping '{text}', whose two ranges are not of the same length.")
    address, protocol = (found["address"] or "").strip("[]"), found["protocol"] or "tcp"
    return tuple(Mapping(host, address, port, protocol) for host, port in zip(hosts, containers, strict=True))


def _numbers(text: str) -> list[int]:
    first, _dash, last = text.partition("-")
    numbers = list(range(int(first), int(last or first) + 1))
    if not numbers or numbers[0] < 1 or numbers[-1] > 65535:
        raise MtlsError(f"ports has the port '{text}'; ports are numbers between 1 and 65535, ranges go upwards.")
    return numbers


def _entry(entry: t.Any, *, key: str, source: str) -> tuple[str, tuple[str, ...]]:
    r"""Return value and node filters of an entry, given as on k3d's command line or as in its configuration.

    On the command line it is ``VALUE@FILTER;FILTER``, where ``\@`` is a literal at sign.
    """
    if isinstance(entry, dict):
        if set(entry) - {key, "nodeFilters"} or not isinstance(entry.get(key), str):
            raise MtlsError(
                f"{source} has an entry with {', '.join(sorted(map(str, entry))) or 'nothing'}. "
                f"A mapping must have '{key}' (text) and may have 'nodeFilters'."
            )
        return entry[key], tuple(str(node_filter) for node_filter in entry.get("nodeFilters") or ())
    if not isinstance(entry, str):
        raise MtlsError(f"{source} has the entry {entry!r}, which is not text. Quote it: YAML reads 80:80 as a number.")
    value, *filters = [part.replace("\0", "@") for part in entry.replace("\\@", "\0").split("@")]
    if len(filters) > 1 or (filters and not filters[0]) or not value:
        raise MtlsError(
            f"{source} has the entry '{entry}'. Write VALUE@NODEFILTER, with several node filters separated by a "
            "semicolon; an at sign that belongs to the value is written \\@."
        )
    return value, tuple(filters[0].split(";")) if filters else ()


def _filtered(key: str, value: str, filters: tuple[str, ...]) -> dict[str, t.Any]:
    return {key: value, "nodeFilters": list(filters)} if filters else {key: value}


def _selects(text: str, role: str, index: int) -> bool:
    """Whether a node filter means the node with ``role`` and ``index``; k3d itself refuses what is none."""
    found = _FILTER.fullmatch(text)
    if found is None or found[1].removesuffix("s") not in (role, "all"):
        return False
    if found[2]:
        return index in [int(number) for number in found[2].split(",")]
    return index >= int(found[3] or 0) and (not found[4] or index <= int(found[4]))


def _check_identity(name: str, config: t.Mapping[str, t.Any]) -> None:
    given = {
        "apiVersion": (config.get("apiVersion"), API_VERSION),
        "kind": (config.get("kind"), "Simple"),
        "metadata.name": (_section(config, "metadata").get("name"), name),
    }
    for key, (value, expected) in given.items():
        if value is not None and value != expected:
            raise MtlsError(f"config has {key} '{value}', but it must be '{expected}'. Leave it out, or correct it.")


def _check_options(options: t.Any) -> None:
    sections = [options, *(options.values() if isinstance(options, dict) else ())]
    if not all(isinstance(section, dict) for section in sections):
        raise MtlsError("config has options that are not mappings. Write options as k3d's configuration file has them.")


def _section(config: t.Mapping[str, t.Any], key: str) -> t.Mapping[str, t.Any]:
    found = config.get(key)
    return found if isinstance(found, dict) else {}


def _digests(config: t.Mapping[str, t.Any]) -> dict[str, str]:
    parts = {key: value for key, value in config.items() if key not in _COMPARED and key != "options"}
    for key, section in _section(config, "options").items():
        if key != "kubeconfig":
            how = _HOW.get(key, frozenset())
            parts[f"options.{key}"] = {one: value for one, value in section.items() if one not in how}
    return {key: _digest(value) for key, value in sorted(parts.items()) if value not in (None, {}, [], "")}


def _digest(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
