# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""k3d's node filters and port mappings, read as k3d reads them.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

SERVER, AGENT, LOADBALANCER = "server", "agent", "loadbalancer"
ALL_ADDRESSES = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  (compared with, never bound)

_FILTER = re.compile(
    r"(?P<group>servers?|agents?|loadbalancer|all)"
    r"(?::(?:(?P<list>\d+(?:,\d+)*)|(?P<first>\d*)-(?P<last>\d*)|(?P<star>\*)))?"
    r"(?::(?P<suffix>proxy|direct))?"
)
_PORT = re.compile(
    r"(?:(?:(?P<address>\[[0-9a-fA-F:]+\]|[0-9.]+):)?(?P<host>\d+(?:-\d+)?)?:)?"
    r"(?P<container>\d+(?:-\d+)?)(?:/(?P<protocol>tcp|udp|sctp))?"
)


@dataclass(frozen=True)
class NodeFilter:
    """One node filter, such as ``server:0`` or ``agents:*:proxy``."""

    text: str
    group: str
    indexes: tuple[int, ...] | None
    first: int
    last: int | None
    suffix: str

    def selects(self, role: str, index: int) -> bool:
        """Return whether this filter means the node with ``role`` and ``index``."""
        if self.group == "all":
            return True
        if self.group != role:
            return False
        if self.indexes is not None:
            return index in self.indexes
        return index >= self.first and (self.last is None or index <= self.last)


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

    def __str__(self) -> str:
        address = "" if self.on_all_addresses else f"{self.address}:"
        host = f"{self.host_port}:" if self.host_port else ""
        protocol = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"{address}{host}{self.container_port}{protocol}"


@dataclass(frozen=True)
class PortRequest:
    """What one entry of ``ports`` asks for."""

    text: str
    filters: tuple[NodeFilter, ...]
    mappings: tuple[Mapping, ...]

    @property
    def direct(self) -> NodeFilter | None:
        """The filter for the one node that is mapped past the load balancer, if that is what was asked for."""
        if any(one.group == LOADBALANCER for one in self.filters):
            return None
        return next((one for one in self.filters if one.suffix == "direct"), None)

    @property
    def flag(self) -> str:
        """The value of ``k3d cluster edit --port-add``."""
        return f"{self.text}@{';'.join(one.text for one in self.filters)}" if self.filters else self.text


def read_filter(text: str, *, source: str) -> NodeFilter:
    """Return the node filter that ``text`` says.

    Raises MtlsError when k3d would not understand it.
    """
    found = _FILTER.fullmatch(text)
    if found is None:
        raise MtlsError(
            f"{source} has the node filter '{text}', which k3d does not know. "
            "Write for example loadbalancer, server:*, servers:0,1 or agent:0:direct."
        )
    indexes = tuple(int(one) for one in found["list"].split(",")) if found["list"] else None
    return NodeFilter(
        text=text,
        group=found["group"] if found["group"] == "all" else found["group"].removesuffix("s"),
        indexes=indexes,
        first=int(found["first"] or 0),
        last=int(found["last"]) if found["last"] else None,
        suffix=found["suffix"] or "",
    )


def split_flag(text: str, *, source: str) -> tuple[str, tuple[str, ...]]:
    r"""Split ``VALUE@FILTER;FILTER`` as k3d's command line does; ``\@`` is a literal at sign.

    Raises MtlsError when there is more than one filter part, or an empty one.
    """
    value, *filters = [part.replace("\0", "@") for part in text.replace("\\@", "\0").split("@")]
    if len(filters) > 1 or (filters and not filters[0]) or not value:
        raise MtlsError(
            f"{source} has the entry '{text}'. Write VALUE@NODEFILTER, with several node filters separated by a "
            "semicolon; an at sign that belongs to the value is written \\@."
        )
    return value, tuple(filters[0].split(";")) if filters else ()


def read_entry(entry: t.Any, *, key: str, source: str) -> tuple[str, tuple[NodeFilter, ...]]:
    """Return value and filters of an entry, given as on k3d's command line or as in its configuration file.

    Raises MtlsError for anything else; YAML reads an unquoted ``80:80`` as a number.
    """
    if isinstance(entry, dict):
        if set(entry) - {key, "nodeFilters"} or not isinstance(entry.get(key), str):
            raise MtlsError(
                f"{source} has an entry with {', '.join(sorted(map(str, entry))) or 'nothing'}. "
                f"A mapping must have '{key}' (text) and may have 'nodeFilters'."
            )
        value, filters = entry[key], tuple(entry.get("nodeFilters") or ())
    elif isinstance(entry, str):
        value, filters = split_flag(entry, source=source)
    else:
        raise MtlsError(f"{source} has the entry {entry!r}, which is no text. Quote it: YAML reads 80:80 as a number.")
    return value, tuple(read_filter(str(one), source=source) for one in filters)


def read_ports(entries: t.Sequence[t.Any], *, source: str = "ports") -> tuple[PortRequest, ...]:
    """Return what ``entries`` ask for.

    Raises MtlsError when an entry is not a port mapping of k3d.
    """
    requests = []
    for entry in entries:
        value, filters = read_entry(entry, key="port", source=source)
        requests.append(PortRequest(text=value, filters=filters, mappings=_mappings(value, source=source)))
    return tuple(requests)


def _mappings(text: str, *, source: str) -> tuple[Mapping, ...]:
    found = _PORT.fullmatch(text)
    if found is None:
        raise MtlsError(
            f"{source} has the port mapping '{text}'. Write [ADDRESS:][HOSTPORT:]PORT[/PROTOCOL], "
            "such as 127.0.0.1:8443:443."
        )
    containers = _numbers(found["container"], source=source)
    hosts = _numbers(found["host"], source=source) if found["host"] else [0] * len(containers)
    if len(hosts) != len(containers):
        raise MtlsError(f"{source} has the port mapping '{text}', whose two ranges are not of the same length.")
    address = (found["address"] or "").strip("[]")
    protocol = found["protocol"] or "tcp"
    return tuple(Mapping(host, address, port, protocol) for host, port in zip(hosts, containers, strict=True))


def _numbers(text: str, *, source: str) -> list[int]:
    first, _dash, last = text.partition("-")
    numbers = list(range(int(first), int(last or first) + 1))
    if not numbers or numbers[0] < 1 or numbers[-1] > 65535:
        raise MtlsError(f"{source} has the port '{text}'; ports are numbers between 1 and 65535, ranges go upwards.")
    return numbers


def read_bindings(port_map: t.Any) -> frozenset[Mapping]:
    """Return the mappings in a node's ``portMappings``, where a key without protocol means TCP."""
    found = set()
    for key, bindings in (port_map or {}).items():
        port, _slash, protocol = str(key).partition("/")
        for binding in bindings or ():
            host = str(binding.get("HostPort") or "0")
            if port.isdigit() and host.isdigit():
                found.add(Mapping(int(host), str(binding.get("HostIp") or ""), int(port), protocol or "tcp"))
    return frozenset(found)
