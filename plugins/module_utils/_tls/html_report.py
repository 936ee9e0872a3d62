# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""placeholder"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.verify import Report


def to_html(report: Report) -> bytes:
    """Return one page."""
    return f"<!doctype html><title>{report.verdict}</title>".encode()
