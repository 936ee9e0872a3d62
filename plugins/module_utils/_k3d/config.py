# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration that k3d is given, and the mark that a cluster carries to tell what it was made from.

k3d writes nothing back that tells a cluster's whole configuration: of images it lists identifiers, of most options
nothing at all. So the first server gets an environment variable with the image's name and a digest of each further
part. A cluster with this mark is one that this collection made.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import copy
import hashlib
import json
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.ports import (
    NodeFilter,
    PortRequest,
    read_entry,
    read_ports,
)

MARK = "KYMA_MTLS_K3D"
API_VERSION = "k3d.io/v1alpha5"
# k3d replaces every $NAME in its configuration file and has no way to write a dollar sign. A name that stands for it
# has: the replacement is not looked at again.
DOLLAR = "KYMA_MTLS_DOLLAR"

# Parts of the configuration that are compared one by one, or that say how to create and not what.
_COMPARED = frozenset({"apiVersion", "kind", "metadata", "servers", "agents", "image", "ports"})
_HOW = {"k3d": frozenset({"wait", "timeout", "disableRollback"}), "k3s": frozenset({"extraArgs"})}


@dataclass(frozen=True)
class Argument:
    """An argument for k3s and the nodes that get it; no filter means every node."""

    value: str
    filters: tuple[NodeFilter, ...]

    def is_for(self, role: str, index: int) -> bool:
        return not self.filters or any(one.selects(role, index) for one in self.filters)


@dataclass(frozen=True)
class Mark:
    """What a cluster was made from, as far as k3d itself does not tell."""

    image: str
    parts: t.Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """A cluster as it shall be: ``config`` is the whole Simple configuration, the rest is read from it."""

    name: str
    config: t.Mapping[str, t.Any]
    image: str | None
    servers: int | None
    agents: int | None
    ports: tuple[PortRequest, ...]
    arguments: tuple[Argument, ...] | None
    mark: Mark

    @property
    def needs_load_balancer(self) -> bool:
        return not _section(_section(self.config, "options"), "k3d").get("disableLoadbalancer", False)

    @property
    def touches_default_kubeconfig(self) -> bool:
        """Whether k3d is asked to keep the user's own kubeconfig."""
        return bool(_section(_section(self.config, "options"), "kubeconfig").get("updateDefaultKubeconfig"))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values of the configuration that no output may show."""
        proxy = _section(_section(_section(self.config, "registries"), "create"), "proxy")
        return tuple(str(one) for one in (self.config.get("token"), proxy.get("password")) if one)


def wanted(
    name: str,
    *,
    config: t.Mapping[str, t.Any] | None = None,
    image: str | None = None,
    servers: int | None = None,
    agents: int | None = None,
    ports: t.Sequence[t.Any] | None = None,
    k3s_args: t.Sequence[t.Any] | None = None,
    registries: t.Mapping[str, t.Any] | None = None,
    wait: bool = True,
    timeout_seconds: int = 300,
) -> Wanted:
    """Return the cluster that the module's options describe; an option wins over the same part of ``config``.

    Raises MtlsError when they contradict each other or k3d would not understand them.
    """
    whole: dict[str, t.Any] = without_none(copy.deepcopy(dict(config or {})))
    _check_identity(name, whole)
    whole.update({"apiVersion": API_VERSION, "kind": "Simple", "metadata": {"name": name}})
    for key, value in (("image", image), ("servers", servers), ("agents", agents), ("registries", registries)):
        if value is not None:
            whole[key] = without_none(value)
    requests = read_ports(whole.get("ports") or [] if ports is None else ports)
    if requests:
        whole["ports"] = [_filtered("port", one.text, one.filters) for one in requests]
    options = whole.setdefault("options", {})
    _check_options(options)
    entries = _section(options, "k3s").get("extraArgs") if k3s_args is None else k3s_args
    arguments = None if entries is None else tuple(_argument(one) for one in entries)
    if arguments is not None:
        options.setdefault("k3s", {})["extraArgs"] = [_filtered("arg", one.value, one.filters) for one in arguments]
    options.setdefault("k3d", {}).update({"wait": wait, "timeout": f"{timeout_seconds}s"})
    # Unless it was asked for, nobody's kubeconfig is touched.
    options["kubeconfig"] = {
        "updateDefaultKubeconfig": False,
        "switchCurrentContext": False,
        **_section(options, "kubeconfig"),
    }
    mark = Mark(image=str(whole.get("image") or ""), parts=_digests(whole))
    whole["env"] = [*(whole.get("env") or []), {"envVar": f"{MARK}={mark_text(mark)}", "nodeFilters": ["server:0"]}]
    return Wanted(
        name=name,
        config=whole,
        image=whole.get("image"),
        servers=whole.get("servers"),
        agents=whole.get("agents"),
        ports=requests,
        arguments=arguments,
        mark=mark,
    )


def render(config: t.Mapping[str, t.Any]) -> bytes:
    """Return the text of k3d's configuration file: JSON, which is YAML. ``environment`` has to go with it."""
    return json.dumps(config, indent=2, sort_keys=True).replace("$", f"${{{DOLLAR}}}").encode() + b"\n"


def environment() -> dict[str, str]:
    """Return the variables that k3d needs to read a rendered configuration."""
    return {DOLLAR: "$"}


def mark_text(mark: Mark) -> str:
    return json.dumps({"image": mark.image, "parts": mark.parts}, sort_keys=True, separators=(",", ":"))


def read_mark(text: str) -> Mark | None:
    """Return the mark that ``text`` says, None when it is not one."""
    try:
        found = json.loads(text)
        return Mark(image=str(found["image"]), parts={str(key): str(one) for key, one in found["parts"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def without_none(value: t.Any) -> t.Any:
    """Return ``value`` without the keys that Ansible fills with nothing."""
    if isinstance(value, dict):
        return {key: without_none(one) for key, one in value.items() if one is not None}
    return [without_none(one) for one in value] if isinstance(value, list) else value


def _check_identity(name: str, config: t.Mapping[str, t.Any]) -> None:
    given = {
        "apiVersion": (config.get("apiVersion"), API_VERSION),
        "kind": (config.get("kind"), "Simple"),
        "metadata.name": (_section(config, "metadata").get("name"), name),
    }
    for key, (value, expected) in given.items():
        if value is not None and value != expected:
            raise MtlsError(f"config has {key} '{value}', but it has to be '{expected}'. Leave it out, or correct it.")


def _check_options(options: t.Any) -> None:
    sections = [options, *(options.values() if isinstance(options, dict) else ())]
    if not all(isinstance(one, dict) for one in sections):
        raise MtlsError("config has options that are no mappings. Write options as k3d's configuration file has them.")


def _section(config: t.Mapping[str, t.Any], key: str) -> t.Mapping[str, t.Any]:
    found = config.get(key)
    return found if isinstance(found, dict) else {}


def _filtered(key: str, value: str, filters: tuple[NodeFilter, ...]) -> dict[str, t.Any]:
    return {key: value, "nodeFilters": [one.text for one in filters]} if filters else {key: value}


def _argument(entry: t.Any) -> Argument:
    value, filters = read_entry(entry, key="arg", source="k3s_args")
    return Argument(value=value, filters=filters)


def _digests(config: t.Mapping[str, t.Any]) -> dict[str, str]:
    parts = {key: value for key, value in config.items() if key not in _COMPARED and key != "options"}
    for key, section in _section(config, "options").items():
        if key == "kubeconfig":
            continue
        rest = {one: value for one, value in (section or {}).items() if one not in _HOW.get(key, frozenset())}
        parts[f"options.{key}"] = rest
    return {key: _digest(value) for key, value in sorted(parts.items()) if value not in (None, {}, [], "")}


def _digest(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
