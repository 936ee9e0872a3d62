#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Bring one side of a mutual-TLS PKI to the wanted state."""

from __future__ import annotations

DOCUMENTATION = r"""
"""

EXAMPLES = r"""
"""

RETURN = r"""
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._module import clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._pki import asked, side

_STR = {"type": "str"}
_PATH = {"type": "path"}
_KEY_OPTIONS: dict[str, t.Any] = {
    "key_type": {"type": "str", "choices": ["RSA", "ECDSA", "Ed25519"], "no_log": False},
    "key_size": {"type": "int", "no_log": False},
    "curve": {"type": "str", "choices": ["P-256", "P-384"]},
}
_SUBJECT = {"type": "list", "elements": "dict"}
_LEAF: dict[str, t.Any] = _KEY_OPTIONS | {
    "organization": _STR,
    "days": {"type": "int"},
    "renew_before": {"type": "int"},
}


def argument_spec() -> dict[str, t.Any]:
    """Give the module's options."""
    return {
        "usage": {"type": "str", "choices": ["server", "client"], "required": True},
        "directory": {"type": "path", "required": True},
        "state": {
            "type": "str",
            "choices": ["present", "prepared", "switched", "finished", "revoked"],
            "default": "present",
        },
        "ca": {
            "type": "dict",
            "options": {
                "subject": _SUBJECT | {"required": True},
                "days": {"type": "int", "default": 3650},
                "key_type": _KEY_OPTIONS["key_type"] | {"default": "RSA"},
                "key_size": _KEY_OPTIONS["key_size"] | {"default": 2048},
                "curve": _KEY_OPTIONS["curve"] | {"default": "P-256"},
            },
        },
        "intermediate": {
            "type": "dict",
            "options": {"subject": _SUBJECT | {"required": True}, "days": {"type": "int", "default": 1825}},
        },
        "ca_key_passphrase": {"type": "str", "no_log": True},
        "name_constraints": {"type": "bool"},
        "permitted_names": {"type": "list", "elements": "str", "default": []},
        "provided": {
            "type": "dict",
            "options": {
                "ca": _STR,
                "ca_key": _PATH | {"no_log": False},
                "ca_key_content": {"type": "str", "no_log": True},
            },
        },
        "defaults": {"type": "dict", "options": _LEAF, "default": {}},
        "certificates": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": _LEAF
            | {
                "name": {"type": "str", "required": True},
                "common_name": _STR,
                "subject": _SUBJECT,
                "sans": {"type": "list", "elements": "str"},
                "p12": {
                    "type": "dict",
                    "options": {
                        "password": {"type": "str", "required": True, "no_log": True},
                        "friendly_name": _STR,
                        "profile": {"type": "str", "choices": ["modern", "legacy"], "default": "modern"},
                    },
                },
                "state": {"type": "str", "choices": ["present", "absent"]},
                "certificate": _STR,
                "chain": _STR,
                "key": _PATH | {"no_log": False},
                "key_content": {"type": "str", "no_log": True},
                "key_passphrase": {"type": "str", "no_log": True},
            },
        },
        "rekey": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "revoke": {"type": "list", "elements": "str", "default": []},
        "hostnames": {"type": "list", "elements": "str", "default": []},
        "include_root": {"type": "bool", "default": True},
        "grace_days": {"type": "int", "default": 0},
        "crl_days": {"type": "int", "default": 90},
        "crl_refresh_before": {"type": "int", "default": 30},
        "concurrency": {"type": "int"},
        "variable_prefix": _STR,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    require_cryptography(module)
    with clean_failure(module):
        now = datetime.datetime.now(datetime.UTC)
        wanted = asked.from_parameters(module.params, check_mode=module.check_mode, now=now)
        result = side.run(wanted, now=now)
        for note in result.pop("notes"):
            module.warn(note)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
