#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_order
short_description: Prepare the order of a certificate from an external issuer, and keep the result
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Decides whether a certificate must be ordered, and why. Creates the key and the certificate request. Keeps what the
    issuer returned, in one step.
  - It orders nothing. The tasks between O(state=prepared) and the next O(state=present) do that, and write the
    certificate to RV(certificate_dest). A run that is killed at any point leaves the former pair or the new one.
  - Nothing is published. M(kyma.mtls.pki) validates and publishes the pair.
options:
  directory:
    description: Directory of the key, the request and the certificate. Created with mode V(0700).
    type: path
    required: true
  sans:
    description: Names to request, each as C(DNS:), C(IP:), C(URI:) or C(email:) and the value.
    type: list
    elements: str
    required: true
  key_type:
    description: Type of the key.
    type: str
    choices: [RSA, ECDSA, Ed25519]
    default: RSA
  key_size:
    description: Size of an RSA key in bits.
    type: int
    default: 2048
  curve:
    description: Curve of an ECDSA key.
    type: str
    choices: [P-256, P-384]
    default: P-256
  terms:
    description:
      - What else decides on the certificate, as text, such as the issuer and its profile.
      - A certificate that was ordered on other terms, with another key or for other names is ordered again.
    type: dict
    default: {}
  renew_before:
    description: Order a new certificate when less than this many days are left. Wins over O(renew_before_percentage).
    type: int
  renew_before_percentage:
    description: Order a new certificate when less than this share of its lifetime is left.
    type: int
    default: 33
  acme_server:
    description:
      - ACME server to ask when it wants the certificate renewed (ARI, RFC 9773). Without an answer, nothing changes.
      - With O(state=prepared), it must answer before anything is created.
    type: dict
    suboptions:
      url:
        description: Directory URL.
        type: str
        required: true
      ca_file:
        description: CA certificates by which it is trusted. The default is those of the system.
        type: path
      timeout:
        description: Seconds to wait for an answer.
        type: int
        default: 10
  force:
    description: Order a new certificate in any case.
    type: bool
    default: false
  state:
    description:
      - V(present) keeps the certificate of a finished order, and returns whether a new one is due.
      - V(prepared) creates a new key and its certificate request. The files in use stay.
      - V(absent) removes the files of a failed order.
    type: str
    choices: [present, prepared, absent]
    default: present
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - O(state=prepared) creates a new key every time.
requirements:
  - cryptography >= 44.0
seealso:
  - module: kyma.mtls.pki
  - module: community.crypto.acme_certificate_order_create
"""

EXAMPLES = r"""
- name: Check whether the certificate of the shop must be ordered
  kyma.mtls.certificate_order:
    directory: ~/shop/acquired
    sans:
      - DNS:shop.example.com
    terms:
      issuer: https://acme.example.com/directory
  register: shop

- name: Make the key and the request for it
  kyma.mtls.certificate_order:
    directory: ~/shop/acquired
    sans:
      - DNS:shop.example.com
    terms:
      issuer: https://acme.example.com/directory
    state: prepared
  register: requested
  when: shop.is_due
"""

RETURN = r"""
is_settled:
  description: Whether the pair of an order that an earlier run had left took its place.
  returned: with O(state=present)
  type: bool
  sample: false
is_due:
  description: Whether a new certificate must be ordered.
  returned: with O(state=present)
  type: bool
  sample: true
reasons:
  description: Why.
  returned: with O(state=present)
  type: list
  elements: str
  sample: [there is no certificate yet]
certificate:
  description: File with the certificate and its chain, or empty when there is none.
  returned: with O(state=present)
  type: str
  sample: /home/me/shop/acquired/current/fullchain.pem
key:
  description: File with its key, or empty when there is none.
  returned: with O(state=present)
  type: str
  sample: /home/me/shop/acquired/current/server.key
renew_at:
  description: From when on a new one is due, or empty.
  returned: with O(state=present)
  type: str
  sample: "2027-01-30T12:00:00Z"
replaces:
  description: The CA's name of the certificate that a new one would replace (RFC 9773), or empty.
  returned: with O(state=present)
  type: str
  sample: aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE
csr:
  description: The request for the issuer (PKCS#10, PEM).
  returned: with O(state=prepared), but not in check mode
  type: str
  sample: "-----BEGIN CERTIFICATE REQUEST-----..."
certificate_dest:
  description: Where to write the issuer's certificate and its chain.
  returned: with O(state=prepared)
  type: str
  sample: /home/me/shop/acquired/order/fullchain.pem
"""

import datetime
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import order
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import RenewalRule, renewal_rule


def argument_spec() -> dict[str, t.Any]:
    """Give the module's options."""
    return {
        "directory": {"type": "path", "required": True},
        "sans": {"type": "list", "elements": "str", "required": True},
        "key_type": {"type": "str", "choices": ["RSA", "ECDSA", "Ed25519"], "default": "RSA", "no_log": False},
        "key_size": {"type": "int", "default": 2048, "no_log": False},
        "curve": {"type": "str", "choices": ["P-256", "P-384"], "default": "P-256"},
        "terms": {"type": "dict", "default": {}},
        "renew_before": {"type": "int"},
        "renew_before_percentage": {"type": "int", "default": 33},
        "acme_server": {
            "type": "dict",
            "options": {
                "url": {"type": "str", "required": True},
                "ca_file": {"type": "path"},
                "timeout": {"type": "int", "default": 10},
            },
        },
        "force": {"type": "bool", "default": False},
        "state": {"type": "str", "choices": ["present", "prepared", "absent"], "default": "present"},
    }


def main() -> None:
    """Run the module."""
    module = Module(argument_spec=argument_spec(), supports_check_mode=True)
    require_cryptography(module)
    with clean_failure(module):
        given = module.params
        key = keys.specified(given["key_type"], size=given["key_size"], curve=given["curve"])
        request = order.request_of(given["sans"], key, given["terms"])
        server = given["acme_server"]
        rule = renewal_rule(given["renew_before"], given["renew_before_percentage"], default=RenewalRule())
        result = order.CertificateOrder(Path(given["directory"])).reconcile(
            given["state"],
            request,
            rule,
            is_forced=given["force"],
            check_mode=module.check_mode,
            now=datetime.datetime.now(datetime.UTC),
            server=order.AcmeServer(server["url"], server["ca_file"] or "", server["timeout"]) if server else None,
        )
        module.exit_json(**result)


if __name__ == "__main__":
    main()
