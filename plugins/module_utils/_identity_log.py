# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The line of Envoy's access log with the identity headers that went to a workload.

Only requests with ``NONCE_HEADER`` get one, so that no other client's identity is logged. It has the headers that the
gateway sets, and no other: no path, no cookie, no token.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

NONCE_HEADER = "X-Kyma-Mtls-Verify"
FORWARDED_CLIENT_CERT = "X-Forwarded-Client-Cert"


def logged_headers(identity_headers: t.Iterable[str]) -> tuple[str, ...]:
    """Return the headers that a line has: the identity headers, and their look-alikes with underscores."""
    names = dict.fromkeys(name.lower() for name in (*identity_headers, FORWARDED_CLIENT_CERT))
    return tuple(dict.fromkeys((*names, *(name.replace("-", "_") for name in names))))
