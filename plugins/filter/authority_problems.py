# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say what keeps a CA on disk from being the one that is wanted."""

from __future__ import annotations

DOCUMENTATION = r"""
name: authority_problems
short_description: Say what keeps a CA on disk from being the one that is wanted
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Judges the facts that M(kyma.mtls.pki_info) has read. A missing key or certificate is no problem, as they can be
    made or be kept offline; one that is damaged or another than wanted is.
positional: _input
options:
  _input:
    description: The value RV(kyma.mtls.pki_info#module:files).
    type: dict
    required: true
  basename:
    description: The start of the names of the CA's two files, which end in C(.key) and C(.crt).
    type: str
    required: true
  title:
    description: What the CA is called in messages.
    type: str
    required: true
  subject_variable:
    description: The variable that says which subject is wanted, for messages.
    type: str
    required: true
  key_variables:
    description: The start of the names of the variables that say which key is wanted, for messages.
    type: str
    required: true
  subject:
    description: The subject wanted, as a list of dictionaries with one pair each in the order of encoding.
    type: list
    elements: dict
    required: true
  key:
    description: The key wanted, as C(RSA 2048), C(ECDSA P-256) or C(Ed25519).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: The CA is known
  kyma.mtls.pki_info:
    directory: ~/pki/server
    files: [ca.key, ca.crt]
  register: pki

- name: The CA is the one that is wanted
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ pki.files | kyma.mtls.authority_problems(basename='ca', title='server root CA',
      subject_variable='server_pki_ca_subject', subject=[{'O': 'ML Server Org'}, {'CN': 'ML Server Root CA'}],
      key_variables='server_pki_ca_key', key='RSA 2048') }}"
"""

RETURN = r"""
_value:
  description: The problems in sentences, with what to do; empty when there are none.
  type: list
  elements: str
"""

import json
import typing as t
from collections.abc import Mapping, Sequence

_NEVER = "A CA is never replaced by itself; nothing was changed."


def authority_problems(
    files: Mapping[str, t.Any],
    *,
    basename: str,
    title: str,
    subject_variable: str,
    subject: Sequence[Mapping[str, t.Any]],
    key_variables: str,
    key: str,
) -> list[str]:
    """Return the problems of the CA in ``files``."""
    key_file, certificate = files[f"{basename}.key"], files[f"{basename}.crt"]
    damaged = [
        f"The {title} is damaged: {one['error']} Restore {one['path']} from a backup. {_NEVER}"
        for one in (key_file, certificate)
        if one["error"]
    ]
    if damaged:
        return damaged
    orphans = sorted(one["path"] for name, one in files.items() if one["exists"] and name.partition(".")[0] != basename)
    if basename == "ca" and orphans and not certificate["exists"]:
        return [
            f"The certificate {certificate['path']} of the {title} is missing, but what belongs to it is there: "
            f"{', '.join(orphans)}. Restore it from a backup; a served chain or a bundle of trusted CAs ends with a "
            f"copy of it. {_NEVER} Or move {_directory(certificate['path'])} away to start over with a new CA."
        ]
    problems = []
    if certificate["exists"]:
        name = f"{certificate['subject']} (SHA-256 {certificate['fingerprint_sha256']})"
        where = f"The certificate {certificate['path']} of the {title}, {name},"
        if "matches" in key_file and f"{basename}.crt" not in key_file["matches"]:
            problems.append(
                f"{where} does not belong to the key {key_file['path']}. Put back the pair that belongs together. "
                f"{_NEVER}"
            )
        if not certificate["is_ca"]:
            problems.append(f"{where} is not that of a CA. Put a CA certificate in its place.")
        if certificate["is_expired"]:
            problems.append(f"{where} expired on {certificate['not_after']}. Put a valid one in its place.")
        wanted = [{name: str(value) for name, value in pair.items()} for pair in subject]
        if certificate["subject_pairs"] != wanted:
            problems.append(
                f"{where} has the subject {_text(certificate['subject_pairs'])}, but {subject_variable} asks for "
                f"{_text(wanted)}. {_NEVER} {_choice(subject_variable, certificate['path'])}"
            )
    facts = certificate.get("key") or key_file.get("key")
    if facts and (found := _key_text(facts)) != key:
        names = f"{key_variables}_type, {key_variables}_size and {key_variables.removesuffix('key')}curve"
        problems.append(
            f"The {title}'s key in {key_file['path']} is {found}, but the variables ask for {key}. {_NEVER} "
            + _choice(names, key_file["path"])
        )
    return problems


def _choice(variables: str, path: str) -> str:
    return (
        f"Set {variables} to what is there, or move {_directory(path)} away to start over with a new CA that every "
        "peer must then be given."
    )


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _key_text(facts: Mapping[str, t.Any]) -> str:
    detail = facts.get("size") or facts.get("curve")
    return f"{facts['type']} {detail}" if detail else str(facts["type"])


def _text(pairs: Sequence[Mapping[str, t.Any]]) -> str:
    return json.dumps([dict(pair) for pair in pairs], ensure_ascii=False)


class FilterModule:
    """The filter plugin."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file."""
        return {"authority_problems": authority_problems}
