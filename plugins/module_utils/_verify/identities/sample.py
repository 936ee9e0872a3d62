# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of a whole fleet: from the file that lists them, and as many of them as one run tries."""

from __future__ import annotations

import random
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._client_list import present_names, read_client_list

_Item = t.TypeVar("_Item")


@dataclass(frozen=True)
class Sample:
    """How many clients of a kind there are, and how many of them this run tries."""

    kind: str
    there: int
    tried: int

    def __str__(self) -> str:
        return f"{self.tried} of {self.there} {self.kind} clients"

    def to_dict(self) -> dict[str, int]:
        return {"there": self.there, "tried": self.tried}


def draw(items: t.Sequence[_Item], number: int, *, kind: str) -> tuple[list[_Item], Sample]:
    """Return ``number`` of ``items``, chosen at random for this run, in their order; 0 means all of them."""
    if not 0 < number < len(items):
        return list(items), Sample(kind, len(items), len(items))
    # Nobody who knows the earlier runs may know whom this one leaves out.
    chosen = sorted(random.SystemRandom().sample(range(len(items)), number))
    return [items[position] for position in chosen], Sample(kind, len(items), number)


def report(samples: t.Sequence[Sample]) -> dict[str, t.Any]:
    """Return what the report says of the samples; empty where every client is tried."""
    if all(sample.tried == sample.there for sample in samples):
        return {}
    shown = " and ".join(str(sample) for sample in samples if sample.there)
    return {
        **{sample.kind: sample.to_dict() for sample in samples},
        "summary": f"Tried {shown}, chosen at random for this run. clients_sample: 0 tries all.",
    }


def with_clients_of_file(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the module's parameters with the clients of ``clients_file`` among ``clients``.

    The first of them is the good client where no other one is given. Raises MtlsError naming what is wrong in the file.
    """
    if not params["clients_file"]:
        return dict(params)
    names = present_names(read_client_list(params["clients_file"]))
    folders = [f"{params['clients_directory']}/{name}" for name in names]
    found = [
        {
            "name": name,
            "cert": f"{folder}/client-chain.pem",
            "key": f"{folder}/client.key",
            "key_passphrase": None,
            "expect": "accepted",
        }
        for name, folder in zip(names, folders, strict=True)
    ]
    good = {"client_cert": params["client_cert"], "client_key": params["client_key"]}
    if found and not any(params[option] for option in ("client_cert", "client_p12", "probe_kit")):
        good = {"client_cert": found[0]["cert"], "client_key": found[0]["key"]}
    known = {good["client_cert"], *(client["cert"] for client in params["clients"] or ())}
    more = [client for client in found if client["cert"] not in known]
    return {**params, **good, "clients": [*(params["clients"] or ()), *more]}
