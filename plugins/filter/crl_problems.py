# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say why the revocation lists of the clients' CAs have to be made anew."""

from __future__ import annotations

DOCUMENTATION = r"""
name: crl_problems
short_description: Say why revocation lists have to be made anew
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Judges the facts that M(kyma.mtls.pki_info) has read, so that M(kyma.mtls.certificate_revocation) is only run when
    there is something to do.
  - Before the first revocation there is nothing to do.
positional: _input
options:
  _input:
    description: The value RV(kyma.mtls.pki_info#module:files).
    type: dict
    required: true
  register:
    description: The register's name among the files.
    type: str
    default: issued.jsonl
  crl:
    description: The name of the file with the revocation lists.
    type: str
    default: ca.crl
  authorities:
    description: The names of the CAs' certificates. Those that do not exist do not count.
    type: list
    elements: str
    required: true
  refresh_before:
    description: The days before its next update when a list is made anew.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: The client CA is known
  kyma.mtls.pki_info:
    directory: ~/pki/client
    files: [ca.crt, ca.crl, issued.jsonl]
  register: pki

- name: What the revocation lists lack
  ansible.builtin.debug:
    msg: "{{ pki.files | kyma.mtls.crl_problems(authorities=['ca.crt'], refresh_before=10) }}"
"""

RETURN = r"""
_value:
  description: The problems in sentences; empty when there are none.
  type: list
  elements: str
"""

import typing as t
from collections.abc import Mapping, Sequence


def crl_problems(
    files: Mapping[str, t.Any],
    *,
    authorities: Sequence[str],
    refresh_before: int,
    register: str = "issued.jsonl",
    crl: str = "ca.crl",
) -> list[str]:
    """Return what the revocation lists in ``files`` lack."""
    revoked = set(files[register].get("revoked") or ())
    if not revoked:
        return []
    lists = files[crl].get("crls") or []
    if files[crl]["error"] or not lists:
        return [f"{files[crl]['path']} {'cannot be read' if files[crl]['exists'] else 'does not exist'}."]
    problems = []
    listed = {serial for one in lists for serial in one["serial_numbers"]}
    if missing := revoked - listed:
        problems.append(f"{len(missing)} of {len(revoked)} revoked certificates are in no list.")
    if len(lists) != sum(bool(files[name].get("subject")) for name in authorities):
        problems.append("There is not one list for each CA.")
    return problems + [
        f"The next update of the list of {one['issuer']} is due: {one['next_update']}."
        for one in lists
        if one["days_left"] is None or one["days_left"] < refresh_before
    ]


class FilterModule:
    """The filter plugin."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file."""
        return {"crl_problems": crl_problems}
