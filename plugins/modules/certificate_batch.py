#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Issue and renew a list of leaf certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_batch
short_description: Issue, renew, check and remove leaf certificates, any number in one call
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Generates private keys, and has your own CA issue certificates for servers and clients of mutual TLS.
  - One call takes any number of certificates. Keys are generated on all cores; certificates that need no change cost
    next to nothing.
  - A certificate is re-issued only when its key, subject, alternative names, usage, CA or remaining lifetime require
    it, or when it cannot be read. The result gives the reasons for each certificate.
  - The certificates follow RFC 5280. They are version 3 with a random serial number, one extended key usage, critical
    key usage and basic constraints, subject and authority key identifiers and alternative names. They pass C(openssl
    verify -x509_strict) and the default verification of Python 3.13.
  - A re-issue keeps the key. A new key is generated only when there is none, or when it is of another type, size
    or curve than specified; the reasons then say so. A key on disk that cannot be read is never replaced, the module
    fails instead.
  - A certificate never outlives its CA. One whose lifetime was cut for that is not renewed for it, since a new one
    would not live longer.
  - Files appear whole or not at all, the key before the certificate. After a crash at any moment the next run completes
    what is missing.
attributes:
  check_mode:
    support: full
    details:
      - When the CA does not exist yet, the module predicts what it would do with it.
  diff_mode:
    support: full
    details:
      - The difference is text and holds no key material.
  idempotent:
    support: full
options:
  ca_cert:
    description: The certificate of the CA that signs.
    type: path
    required: true
  ca_key:
    description:
      - The private key of the CA that signs.
      - It may be absent, for example kept offline, while nothing must be issued.
    type: path
    required: true
  ca_key_passphrase:
    description: The passphrase of O(ca_key), if it is encrypted.
    type: str
  ca_chain:
    description:
      - Files with the certificates that follow the leaf in its chain file, in order from the CA that signs towards
        the root.
      - Without any, the chain file holds the leaf alone, which is right for a CA that the peer trusts directly.
    type: list
    elements: path
    default: []
  register:
    description:
      - A file in which every issued and every removed certificate is recorded, as one JSON object a line.
      - It is only ever appended to, and a line is on disk before the certificate that it records.
      - Serial numbers are checked against it.
    type: path
  certificates:
    description: The certificates to issue.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name used in results, messages and the register. Unique in the list.
        type: str
        required: true
      directory:
        description: Directory of its files. A missing one is created with the mode V(0700).
        type: path
        required: true
      basename:
        description:
          - The start of its files' names, C(<basename>.key), C(<basename>.crt), C(<basename>-chain.pem) and
            C(<basename>.p12).
          - The default is the value of O(certificates[].usage).
        type: str
      common_name:
        description:
          - The common name, encoded first in the subject.
          - One of more than 64 characters is not possible in X.509. For a server it is then left out, with a warning.
        type: str
      organization:
        description: The organization, encoded after the common name.
        type: str
      subject:
        description:
          - The whole subject, as a list of dictionaries with one pair each, in the order of encoding.
          - Instead of O(certificates[].common_name) and O(certificates[].organization).
        type: list
        elements: dict
      sans:
        description:
          - Subject alternative names, each as C(DNS:), C(IP:), C(URI:) or C(email:) and the value.
          - A server needs at least one.
        type: list
        elements: str
        default: []
      usage:
        description: The one purpose for which the certificate may be used.
        type: str
        choices: [server, client]
        default: client
      key_type:
        description:
          - The type of the key.
          - V(Ed25519) is for servers only, as Envoy refuses such client certificates.
        type: str
        choices: [RSA, ECDSA, Ed25519]
        default: RSA
      key_size:
        description: The number of bits of an RSA key, V(2048) to V(8192).
        type: int
        default: 2048
      curve:
        description: The curve of an ECDSA key.
        type: str
        choices: [P-256, P-384]
        default: P-256
      days:
        description: The lifetime in days, used when the certificate is issued. A change alone does not re-issue it.
        type: int
        default: 365
      renew_before:
        description: Renew when less than this many days are left.
        type: int
        default: 30
      p12:
        description:
          - Write a PKCS#12 file too, for browsers and operating systems.
          - Without this option, an existing one is left alone.
        type: dict
        suboptions:
          password:
            description: The password of the file.
            type: str
            required: true
          friendly_name:
            description: The name that programs show. The default is the value of O(certificates[].name).
            type: str
          profile:
            description:
              - V(modern) encrypts with AES-256 and SHA-256.
              - V(legacy) encrypts with 3DES and SHA-1, for old versions of macOS and Android that read nothing else.
            type: str
            choices: [modern, legacy]
            default: modern
      rekey:
        description:
          - Generate a new key and certificate on this run, and on every other run with this option.
          - The only way to replace a certificate that O(register) lists as revoked. Without it, a revoked certificate
            is left as it is, with a warning.
        type: bool
        default: false
      state:
        description:
          - With V(absent) the certificate's files are removed, and its directory if nothing else is in it. This does
            not revoke the certificate.
        type: str
        choices: [present, absent]
        default: present
  concurrency:
    description:
      - How many keys are generated at the same time. The default is the number of cores.
      - Thousands of existing certificates are compared on all cores, whatever this is.
    type: int
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
requirements:
  - cryptography >= 44.0
seealso:
  - module: kyma.mtls.certificate_chain
  - module: kyma.mtls.pki
    description: Does this and makes the CA too.
  - module: community.crypto.x509_certificate
"""

EXAMPLES = r"""
- name: Issue certificates to two clients
  kyma.mtls.certificate_batch:
    ca_cert: ~/pki/client/ca.crt
    ca_key: ~/pki/client/ca.key
    register: ~/pki/client/issued.jsonl
    certificates:
      - name: curl
        directory: ~/pki/client/clients/curl
        common_name: ML Client Curl
        organization: ML Client Org
      - name: robot
        directory: ~/pki/client/clients/robot
        subject:
          - CN: robot
          - OU: Automation
          - O: ML Client Org
        sans:
          - URI:spiffe://example.com/robot
        key_type: ECDSA
        days: 30
        renew_before: 10
  register: issued

- name: Show what was done, and why
  ansible.builtin.debug:
    var: issued.changes

- name: Issue the server's certificate
  kyma.mtls.certificate_batch:
    ca_cert: ~/pki/server/ca.crt
    ca_key: ~/pki/server/ca.key
    ca_chain:
      - ~/pki/server/ca.crt
    certificates:
      - name: gateway
        directory: ~/pki/server
        usage: server
        common_name: "*.mtls.local.kyma.dev"
        organization: ML Server Org
        sans:
          - DNS:*.mtls.local.kyma.dev
"""

RETURN = r"""
certificates:
  description: Every certificate of the list, in its order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name from the list.
      type: str
      sample: curl
    action:
      description:
        - V(issue) for a first certificate, V(reissue) for one in place of another, V(repair) when only the files made
          from it, their modes or the register were wrong, V(remove), or V(none).
      type: str
      sample: issue
    reasons:
      description: The reasons.
      type: list
      elements: str
      sample: [there is no certificate yet]
    is_new_key:
      description: Whether a new private key was made.
      type: bool
      sample: true
    is_held:
      description: Whether it is left as it is because it was revoked.
      type: bool
      sample: false
    key_path:
      description: The private key's file.
      type: str
      sample: /home/me/pki/client/clients/curl/client.key
    certificate_path:
      description: The certificate's file.
      type: str
      sample: /home/me/pki/client/clients/curl/client.crt
    chain_path:
      description: The file with the certificate and its chain.
      type: str
      sample: /home/me/pki/client/clients/curl/client-chain.pem
    p12_path:
      description: The PKCS#12 file, or null when none is specified.
      type: str
      sample: /home/me/pki/client/clients/curl/client.p12
    subject:
      description: The subject as RFC 4514 writes it. This and the following are missing where there is no certificate.
      type: str
      sample: O=ML Client Org,CN=ML Client Curl
    issuer:
      description: The issuer as RFC 4514 writes it.
      type: str
      sample: CN=ML Client Root CA,O=ML Client Org
    sans:
      description: The subject alternative names.
      type: list
      elements: str
      sample: ["URI:spiffe://example.com/robot"]
    serial_number:
      description: The serial number in lower-case hexadecimal digits, an even number of them.
      type: str
      sample: 3d5c0a2b7e9f14c6a8b0d2e4f60718293a4b5c6d
    fingerprint_sha256:
      description: The SHA-256 fingerprint in hexadecimal digits.
      type: str
      sample: 5f1c0e3a7b0d4c4e9f9f2b8f6d3a1c5e7b9d0f2a4c6e8b0d1f3a5c7e9b1d3f5a
    not_before:
      description: The start of the validity in UTC.
      type: str
      sample: "2026-11-23T12:00:00Z"
    not_after:
      description: The end of the validity in UTC.
      type: str
      sample: "2027-11-23T12:00:00Z"
    days_left:
      description: The whole days until then.
      type: int
      sample: 364
    is_clamped:
      description: Whether it expires together with its CA.
      type: bool
      sample: false
    key:
      description: Type, size and curve of the key.
      type: dict
      sample: {type: RSA, size: 2048}
changes:
  description: Name, action and reasons of the certificates that needed something.
  returned: success
  type: list
  elements: dict
  sample:
    - name: curl
      action: issue
      reasons: [there is no certificate yet]
ca:
  description: The facts of the CA certificate, and whether it and its key exist.
  returned: success
  type: dict
  sample: {subject: "CN=ML Client Root CA,O=ML Client Org", days_left: 3649}
register:
  description:
    - The register's path, its number of entries, and whether its last line was torn by a crash and has been dropped.
  returned: success
  type: dict
  sample: {path: /home/me/pki/client/issued.jsonl, entries: 2, was_torn: false}
"""

import datetime
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._pki import batch


def main() -> None:
    """Run the module."""
    module = Module(
        argument_spec={
            "ca_cert": {"type": "path", "required": True},
            "ca_key": {"type": "path", "required": True, "no_log": False},
            "ca_key_passphrase": {"type": "str", "no_log": True},
            "ca_chain": {"type": "list", "elements": "path", "default": []},
            "register": {"type": "path"},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "directory": {"type": "path", "required": True},
                    "basename": {"type": "str"},
                    "common_name": {"type": "str"},
                    "organization": {"type": "str"},
                    "subject": {"type": "list", "elements": "dict"},
                    "sans": {"type": "list", "elements": "str", "default": []},
                    "usage": {"type": "str", "choices": ["server", "client"], "default": "client"},
                    "key_type": {
                        "type": "str",
                        "choices": ["RSA", "ECDSA", "Ed25519"],
                        "default": "RSA",
                        "no_log": False,
                    },
                    "key_size": {"type": "int", "default": 2048, "no_log": False},
                    "curve": {"type": "str", "choices": ["P-256", "P-384"], "default": "P-256"},
                    "days": {"type": "int", "default": 365},
                    "renew_before": {"type": "int", "default": 30},
                    "p12": {
                        "type": "dict",
                        "options": {
                            "password": {"type": "str", "required": True, "no_log": True},
                            "friendly_name": {"type": "str"},
                            "profile": {"type": "str", "choices": ["modern", "legacy"], "default": "modern"},
                        },
                    },
                    "rekey": {"type": "bool", "default": False, "no_log": False},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "concurrency": {"type": "int"},
        },
        supports_check_mode=True,
    )
    require_cryptography(module)
    params = module.params
    options = batch.BatchOptions(
        ca_cert=Path(params["ca_cert"]),
        ca_key=Path(params["ca_key"]),
        ca_key_passphrase=params["ca_key_passphrase"],
        ca_chain=tuple(Path(path) for path in params["ca_chain"]),
        register=Path(params["register"]) if params["register"] else None,
        certificates=tuple(params["certificates"]),
        concurrency=params["concurrency"],
        check_mode=module.check_mode,
    )
    with clean_failure(module):
        result = batch.run(options, now=datetime.datetime.now(datetime.UTC))
        for note in result.pop("notes"):
            module.warn(note)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
