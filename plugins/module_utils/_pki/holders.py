# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets a certificate on a side of the PKI: the caller's list in the terms of the batch.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

Item: t.TypeAlias = t.Mapping[str, t.Any]


def items_of(
    given: t.Sequence[Item], *, usage: str, directory: Path, defaults: Item, rekey: t.Collection[str]
) -> tuple[dict[str, t.Any], ...]:
    """Return the batch's items: the server's files are in ``directory``, each client's in one of its own below.

    ``defaults`` hold for those that say nothing else; an organization only for those without a whole subject. Who has
    neither subject nor common name has its name as common name. ``rekey`` names those that get a new key.
    Raises MtlsError when it names somebody who is not there.
    """
    common = {key: value for key, value in defaults.items() if value is not None}
    items = []
    for one in given:
        own = {key: value for key, value in one.items() if value is not None}
        item = common | own | {"usage": usage, "directory": _place(usage, directory, str(own["name"]))}
        if own.get("subject"):
            item = {key: value for key, value in item.items() if key in own or key != "organization"}
        else:
            item.setdefault("common_name", own["name"])
        if own["name"] in rekey:
            item["rekey"] = True
        items.append(item)
    present = {one["name"] for one in items if one.get("state", "present") == "present"}
    if unknown := sorted(set(rekey) - present):
        raise MtlsError(
            f"A new certificate is asked for {', '.join(unknown)}, but the list of those to have one is "
            f"{', '.join(sorted(present)) or 'empty'}. Correct the names, or add them to the list."
        )
    return tuple(items)


def _place(usage: str, directory: Path, name: str) -> str:
    return str(directory / "clients" / name if usage == "client" else directory)
