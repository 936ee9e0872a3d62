# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person can do next: where the files are, and a command to try by hand.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import shlex
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Target


def curl_command(params: t.Mapping[str, t.Any], target: Target) -> str:
    """Return a curl command that makes the good client's request; it can be pasted into a shell as it is."""
    words = ["curl", "--fail"]
    if params["connect_to"]:
        words += ["--connect-to", f"{_bracketed(target.host)}:{target.port}:{target.place}"]
    if len(params["ca"] or ()) == 1:
        words += ["--cacert", params["ca"][0]]
    if params["client_p12"]:
        # curl asks for the password; a command line is no place for it.
        words += ["--cert-type", "P12", "--cert", _escaped(params["client_p12"])]
    else:
        words += ["--cert", _escaped(params["client_cert"]), "--key", params["client_key"] or params["client_cert"]]
    if params["method"] != "GET":
        words += ["--request", params["method"]]
    return f"{shlex.join(words)} '{target.url}'"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _escaped(path: str) -> str:
    """curl takes what follows a colon in --cert for a passphrase."""
    return path.replace("\\", "\\\\").replace(":", "\\:")


def directions(params: t.Mapping[str, t.Any], target: Target, reports: t.Mapping[str, str]) -> list[str]:
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
