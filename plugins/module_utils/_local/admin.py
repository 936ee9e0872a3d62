# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Envoy's admin interface says of the configuration that it really runs.

Every resource file carries a version made of its content. Envoy reports the version of the last content that it
accepted, so equality proves that what is on disk is what is served; a counter of updates would not.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import unix_http

ACCEPT_SECONDS = 20.0
POLL_SECONDS = 0.03
VERSION_STATISTIC = re.compile(r'^(?P<name>.+)\.version_text: "(?P<version>[^"]*)"$', re.MULTILINE)
REJECTION = re.compile(r"config(?: update)? rejected: (?P<reason>.+)")


def versioned(document: t.Mapping[str, t.Any], *, name: str) -> dict[str, t.Any]:
    """Return the xDS discovery response ``name`` with a version that is made of its resources."""
    return {"version_info": version_of(document, name=name), **document}


def version_of(document: t.Mapping[str, t.Any], *, name: str) -> str:
    """Return the version of the xDS discovery response ``name``: 32 hexadecimal digits.

    The name is part of it because no listeners and no clusters look the same.
    """
    canonical = json.dumps([name, document["resources"]], sort_keys=True).encode()
    return hashlib.sha256(canonical).hexdigest()[:32]


class Admin:
    """The admin interface of the local Envoy, on its Unix socket."""

    def __init__(self, *, socket: Path, log: Path) -> None:
        self.socket = socket
        self.log = log

    def accepted_versions(self) -> frozenset[str] | None:
        """Return the versions of everything that Envoy accepted last; None when it does not answer."""
        try:
            body = unix_http.get(self.socket, "/stats?type=TextReadouts&filter=version_text").decode()
        except (OSError, http.client.HTTPException):
            return None
        return frozenset(match["version"] for match in VERSION_STATISTIC.finditer(body))

    def listens_on(self) -> frozenset[str]:
        """Return the TCP addresses (``host:port``) that the running Envoy listens on; empty when it does not answer."""
        try:
            body = unix_http.get(self.socket, "/listeners?format=json")
        except (OSError, http.client.HTTPException):
            return frozenset()
        found = set()
        for status in json.loads(body).get("listener_statuses", []):
            address = status.get("local_address", {}).get("socket_address")
            if address:
                found.add(f"{address['address']}:{address['port_value']}")
        return frozenset(found)

    def runs(self, versions: t.Collection[str]) -> bool:
        """Whether Envoy accepted every one of ``versions``."""
        accepted = self.accepted_versions()
        return accepted is not None and accepted.issuperset(versions)

    def wait_for(self, versions: t.Mapping[str, str], *, log_offset: int, seconds: float = ACCEPT_SECONDS) -> None:
        """Wait until Envoy accepted ``versions`` (version -> what it is, for the error).

        Raises MtlsError with Envoy's reason as soon as it rejects something, or with what is missing after ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while True:
            accepted = self.accepted_versions()
            if accepted is not None and accepted.issuperset(versions):
                return
            reason = self.rejection(since=log_offset)
            if reason:
                raise MtlsError(f"Envoy refused the configuration: {reason} See {self.log}.")
            if time.monotonic() > deadline:
                if accepted is None:
                    raise MtlsError(
                        f"Envoy does not answer on {self.socket} after {seconds:.0f} seconds. See {self.log}."
                    )
                missing = sorted(what for version, what in versions.items() if version not in accepted)
                raise MtlsError(
                    f"Envoy did not load {', '.join(missing)} within {seconds:.0f} seconds. See {self.log}."
                )
            time.sleep(POLL_SECONDS)

    def log_size(self) -> int:
        """Return the size of Envoy's log, the offset from which to look for what it says next."""
        try:
            return self.log.stat().st_size
        except OSError:
            return 0

    def rejection(self, *, since: int) -> str:
        """Return the last reason for a rejection in the log from offset ``since`` on; empty when there is none."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(since)
                text = stream.read().decode(errors="replace")
        except OSError:
            return ""
        found = [match["reason"].strip() for match in REJECTION.finditer(text)]
        return f"{found[-1].rstrip('.')}." if found else ""
