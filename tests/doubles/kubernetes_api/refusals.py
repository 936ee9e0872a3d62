# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refusals of the API server: a Status object with an HTTP status."""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]


class RefusalError(Exception):
    """A request that the API server does not carry out."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        if details is not None:
            self.status["details"] = details


def success(details: Json) -> Json:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def not_found(plural: str, group: str, name: str) -> RefusalError:
    full = f"{plural}.{group}" if group else plural
    details = {"name": name, "group": group, "kind": plural} if group else {"name": name, "kind": plural}
    return RefusalError(404, "NotFound", f'{full} "{name}" not found', details)


def no_such_path() -> RefusalError:
    return RefusalError(404, "NotFound", "the server could not find the requested resource", {})


def invalid(kind: str, group: str, name: str, causes: t.Sequence[Json]) -> RefusalError:
    parts = [f"{one['field']}: {one['message']}" for one in causes]
    text = parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"
    full = f"{kind}.{group}" if group else kind
    details: Json = {"name": name, "group": group, "kind": kind} if group else {"name": name, "kind": kind}
    return RefusalError(422, "Invalid", f'{full} "{name}" is invalid: {text}', {**details, "causes": list(causes)})


def conflict(conflicts: t.Sequence[tuple[str, str]]) -> RefusalError:
    """``conflicts``: (manager, path) of fields that others own with other values."""
    number = len(conflicts)
    if number == 1:
        text = f'conflict with "{conflicts[0][0]}": {conflicts[0][1]}'
    else:
        managers = dict.fromkeys(manager for manager, _path in conflicts)
        text = "conflicts " + "\n".join(
            f'with "{manager}":\n' + "\n".join(f"- {path}" for owner, path in conflicts if owner == manager)
            for manager in managers
        )
    return RefusalError(
        409,
        "Conflict",
        f"Apply failed with {number} conflict{'s' if number > 1 else ''}: {text}",
        {
            "causes": [
                {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": path}
                for manager, path in conflicts
            ]
        },
    )
