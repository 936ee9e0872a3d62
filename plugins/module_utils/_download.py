# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files from the network, with the proxies and the TLS trust that Ansible uses.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from http.client import HTTPException
from urllib.error import URLError

from ansible.module_utils.urls import open_url

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError


def fetch(url: str, *, timeout_seconds: int) -> bytes:
    """Return what ``url`` holds. Raises MtlsError when it cannot be had."""
    try:
        content: bytes = open_url(url, timeout=timeout_seconds, http_agent="kyma.mtls").read()
    except (URLError, HTTPException, OSError, ValueError) as exc:
        raise MtlsError(
            f"{url} cannot be fetched: {getattr(exc, 'reason', None) or exc}. Check the URL and the way to it (proxy "
            "variables are used), or name a mirror."
        ) from exc
    return content
