# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person can do next: where the files are, and a command to try by hand."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._curl import curl

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import VerifyTarget


def curl_command(params: t.Mapping[str, t.Any], target: VerifyTarget) -> str:
    """Return a curl command that makes the good client's request; it can be pasted into a shell as it is."""
    return curl(
        target.url,
        options=["--fail"],
        connect_to=target.place if params["connect_to"] else "",
        ca=params["ca"][0] if len(params["ca"] or ()) == 1 else "",
        p12=params["client_p12"] or "",
        certificate=params["client_cert"] or "",
        key=params["client_key"] or params["client_cert"] or "",
        method=params["method"],
    )


def directions(params: t.Mapping[str, t.Any], target: VerifyTarget, reports: t.Mapping[str, str]) -> list[str]:
    """Return lines for a person: address, files, reports, a command."""
    lines = [f"URL:                 {target.url} (reached at {target.place})"]
    if params["client_p12"]:
        lines.append(f"Client's PKCS#12:    {params['client_p12']}")
    else:
        lines.append(f"Client certificate:  {params['client_cert']}")
        lines.append(f"Client key:          {params['client_key'] or params['client_cert']}")
    lines += [f"Server's CA:         {path}" for path in params["ca"] or ()]
    if "html" in reports:
        lines.append(f"Report:              {reports['html']}")
    lines += ["Try it:", curl_command(params, target)]
    return lines
