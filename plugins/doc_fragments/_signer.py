# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a CA's key is, when it is not a file.

Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    # The suboptions are the same in both: a fragment cannot lend options to a module under other names, and a string
    # that is put together is not checked by ansible-test.
    PKI = r"""
options:
  ca_key:
    type: dict
    version_added: 0.2.0
    suboptions: &signer
      pkcs11:
        description: A key in a PKCS#11 token - a hardware security module, a smart card, SoftHSM. Needs python-pkcs11.
        type: dict
        suboptions:
          module:
            description: The PKCS#11 module, a shared library of the token's software.
            type: path
            required: true
          token:
            description: The label of the token.
            type: str
            required: true
          serial:
            description: The serial number of the token, where several have that label.
            type: str
          label:
            description: The label of the private key. The public key has the same label or id.
            type: str
            required: true
          id:
            description: The id of the private key in hexadecimal, where several have that label.
            type: str
          pin:
            description: The user PIN. A wrong one is tried once in a run.
            type: str
      command:
        description:
          - A command that signs, as a list, with any key management service. It gets the digest on its standard input
            (SHA-256, for a P-384 key SHA-384), and writes the signature to its standard output, as it is or in base64.
          - An RSA signature is PKCS#1 v1.5. An ECDSA signature is DER, or C(r) and C(s) one after the other.
        type: list
        elements: str
      public_key:
        description: The public key of the command's key, as PEM or as the path of a file. Required with a command.
        type: str
      timeout:
        description: The seconds that one run of the command may take.
        type: int
        default: 30
  intermediate_key:
    type: dict
    version_added: 0.2.0
    suboptions: *signer
  previous_ca_keys:
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
    suboptions: *signer
requirements:
  - python-pkcs11, for keys in a PKCS#11 token only
"""

    TEST_IDENTITIES = r"""
options:
  client_ca_cert:
    type: list
    elements: path
  client_ca_key_passphrase:
    description: The passphrase of O(client_ca_key).
    type: str
  client_ca_signer:
    type: dict
    version_added: 0.2.0
    suboptions: &signer
      pkcs11:
        description: A key in a PKCS#11 token - a hardware security module, a smart card, SoftHSM. Needs python-pkcs11.
        type: dict
        suboptions:
          module:
            description: The PKCS#11 module, a shared library of the token's software.
            type: path
            required: true
          token:
            description: The label of the token.
            type: str
            required: true
          serial:
            description: The serial number of the token, where several have that label.
            type: str
          label:
            description: The label of the private key. The public key has the same label or id.
            type: str
            required: true
          id:
            description: The id of the private key in hexadecimal, where several have that label.
            type: str
          pin:
            description: The user PIN. A wrong one is tried once in a run.
            type: str
      command:
        description:
          - A command that signs, as a list, with any key management service. It gets the digest on its standard input
            (SHA-256, for a P-384 key SHA-384), and writes the signature to its standard output, as it is or in base64.
          - An RSA signature is PKCS#1 v1.5. An ECDSA signature is DER, or C(r) and C(s) one after the other.
        type: list
        elements: str
      public_key:
        description: The public key of the command's key, as PEM or as the path of a file. Required with a command.
        type: str
      timeout:
        description: The seconds that one run of the command may take.
        type: int
        default: 30
  server_ca_key_passphrase:
    description: The passphrase of O(server_ca_key).
    type: str
  server_ca_signer:
    type: dict
    version_added: 0.2.0
    suboptions: *signer
requirements:
  - python-pkcs11, for keys in a PKCS#11 token only
"""
