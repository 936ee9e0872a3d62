# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hold the double against what a real API server said: ``python -m kubernetes_api.against TRANSCRIPT CRDS``.

TRANSCRIPT has one JSON object a line: ``{"scenario": ...}``, or one exchange (``method``, ``path``, ``accept``,
``content_type``, ``request``, ``status``, ``response``). CRDS is the directory with the CustomResourceDefinitions that
the real server had. Every exchange is sent to a fresh double, and the answers are compared. What the server makes up
(identifiers, versions, times, addresses) is compared by when it changes, not by its value.
"""

from __future__ import annotations

import json
import sys
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from .cluster import Cluster
from .refusals import Json
from .server import TOKEN, Server

# What the double does not have, with the reason.
NOT_PLAYED = {
    "/api?timeout": "kubectl's aggregated discovery: clients fall back to the plain one",
    "/apis?timeout": "kubectl's aggregated discovery: clients fall back to the plain one",
    "/openapi/v3": "kubectl's client-side validation; the collection has the server validate",
}
MADE_UP = frozenset({"uid", "creationTimestamp", "time", "clusterIP", "clusterIPs", "storageVersionHash"})
DISCOVERY_EXTRAS = frozenset({"shortNames", "storageVersionHash", "categories", "singularName"})


def send(server: Server, exchange: Json) -> tuple[int, t.Any]:
    url = server.url
    data = None if exchange["request"] is None else json.dumps(exchange["request"]).encode()
    request = urllib.request.Request(url + exchange["path"], data=data, method=exchange["method"])  # noqa: S310  (loopback)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    request.add_header("Accept", exchange["accept"] or "*/*")
    if exchange["content_type"]:
        request.add_header("Content-Type", exchange["content_type"])
    try:
        with urllib.request.urlopen(request, context=server.trust) as response:  # noqa: S310
            code, text = response.status, response.read().decode()
    except urllib.error.HTTPError as exc:
        code, text = exc.code, exc.read().decode()
    return code, json.loads(text.splitlines()[0] if "watch=true" in exchange["path"] else text)


class Versions:
    """Resource versions by the order in which they are first seen: equal stays equal, other stays other."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}

    def name(self, where: str, version: str) -> str:
        key = f"{where} {version}"
        number = sum(one.startswith(f"{where} ") for one in self.seen)
        return self.seen.setdefault(key, f"version {number + 1} of {where}")


def comparable(value: t.Any, versions: Versions, where: str) -> t.Any:
    """Return an answer without what the server makes up."""
    if isinstance(value, dict):
        kept = {key: comparable(one, versions, where) for key, one in value.items() if key not in MADE_UP}
        if "resourceVersion" in kept:
            kept["resourceVersion"] = versions.name(where, value["resourceVersion"])
        if isinstance(kept.get("managedFields"), list):
            kept["managedFields"] = sorted(kept["managedFields"], key=lambda one: json.dumps(one, sort_keys=True))
        return kept
    if isinstance(value, list):
        return [comparable(one, versions, where) for one in value]
    return value


def discovery(real: Json, ours: Json) -> tuple[Json, Json]:
    """Return both, reduced to what the double serves: it need not have every kind, but may not have others."""
    if "groups" in real:
        names = {one["name"] for one in ours["groups"]}
        return (
            {"groups": sorted(one["name"] for one in real["groups"] if one["name"] in names)},
            {"groups": sorted(names)},
        )

    def entries(answer: Json, names: set[str]) -> Json:
        kept = [
            {key: one for key, one in entry.items() if key not in DISCOVERY_EXTRAS}
            for entry in answer["resources"]
            if entry["name"] in names
        ]
        head = {key: value for key, value in answer.items() if key != "resources"}
        return {**head, "resources": sorted(kept, key=lambda one: one["name"])}

    names = {one["name"] for one in ours["resources"]}
    return entries(real, names), entries(ours, names)


def differences(real: t.Any, ours: t.Any, path: str = "") -> list[str]:
    """Return where two answers differ."""
    if isinstance(real, dict) and isinstance(ours, dict):
        found = []
        for key in sorted(set(real) | set(ours)):
            if key not in real:
                found.append(f"{path}.{key}: only the double has it: {ours[key]!r}")
            elif key not in ours:
                found.append(f"{path}.{key}: the double lacks it: {real[key]!r}")
            else:
                found += differences(real[key], ours[key], f"{path}.{key}")
        return found
    if isinstance(real, list) and isinstance(ours, list) and len(real) == len(ours):
        return [
            one
            for number, pair in enumerate(zip(real, ours, strict=True))
            for one in differences(*pair, f"{path}[{number}]")
        ]
    return [] if real == ours else [f"{path}: real {real!r}, double {ours!r}"]


def any_order(answer: Json) -> Json:
    """Return a refusal for several causes with the causes in a fixed order."""
    causes = (answer.get("details") or {}).get("causes") or []
    if len(causes) < 2:
        return answer
    ordered = sorted(causes, key=lambda one: (one["field"], one["message"]))
    message = answer["message"]
    for one in ordered:
        message = message.replace(f"{one['field']}: {one['message']}", "", 1)
    return {**answer, "message": message, "details": {**answer["details"], "causes": ordered}}


def compare(exchange: Json, code: int, answer: t.Any, versions: tuple[Versions, Versions]) -> list[str]:
    found = [] if code == exchange["status"] else [f"status: real {exchange['status']}, double {code}"]
    real = exchange["response"]
    real = json.loads(real.splitlines()[0]) if isinstance(real, str) else real
    if "resources" in real or "groups" in real:
        real, answer = discovery(real, answer)
    # The server goes through a Go map: its order of errors is by chance.
    real, answer = (any_order(one) for one in (real, answer))
    where = exchange["path"].partition("?")[0].removesuffix("/status")
    if "columnDefinitions" in real:
        real, answer = (
            {"columns": [column["name"] for column in one["columnDefinitions"]], "rows": one["rows"]}
            for one in (real, answer)
        )
    return found + differences(comparable(real, versions[0], where), comparable(answer, versions[1], where))


def main(transcript: Path, crds: Path) -> int:
    cluster = Cluster()
    cluster.mishaps.established_after = 0
    for name in sorted(crds.glob("*.yaml")):
        if name.name.startswith("released-") and "apirules" in name.name:
            continue
        for body in yaml.safe_load_all(name.read_text(encoding="utf-8")):
            cluster.store.create(
                cluster.store.kind_of("apiextensions.k8s.io/v1", "CustomResourceDefinition"), "", body, manager="test"
            )
    cluster.tick()
    # Only the API is compared here: in the recording no controller was running.
    cluster.parts = ()
    compared = wrong = 0
    versions = (Versions(), Versions())
    scenario = ""
    server = Server(cluster)
    with server.running():
        for line in transcript.read_text(encoding="utf-8").splitlines():
            exchange = json.loads(line)
            if "scenario" in exchange:
                scenario = exchange["scenario"]
                continue
            reason = next((why for path, why in NOT_PLAYED.items() if exchange["path"].startswith(path)), "")
            label = f"{scenario}: {exchange['method']} {exchange['path']}"
            if reason:
                print(f"not played  {label} ({reason})")
                continue
            found = compare(exchange, *send(server, exchange), versions)
            compared += 1
            wrong += bool(found)
            if found:
                print(f"DIFFERS     {label}")
                print("".join(f"              {one}\n" for one in found), end="")
    print(f"{compared} exchanges compared, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
