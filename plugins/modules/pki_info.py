#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at the files of a PKI."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pki_info
short_description: Look at the keys, certificates, revocation lists and registers of a PKI on disk
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Reads any number of files in one call and says what each is, what it says, and which key belongs to which
    certificate.
  - A file that is missing, damaged or unreadable is a fact of the result and no failure.
  - No key material is returned.
options:
  directory:
    description: The directory in which relative O(files) are.
    type: path
    required: true
  files:
    description:
      - The files to look at, absolute or relative to O(directory).
      - Without it, all keys, certificates, revocation lists, PKCS#12 files and registers anywhere under O(directory),
        by the endings C(.key), C(.crt), C(.pem), C(.crl), C(.p12) and C(.jsonl).
    type: list
    elements: str
  passphrase:
    description:
      - The passphrase of encrypted keys. With a wrong one, the key's fact C(error) says so.
      - Without one, an encrypted key is reported as such, and its certificate is not known.
    type: str
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
  - kyma.mtls._attributes.actiongroup_mtls
requirements:
  - cryptography >= 44.0
seealso:
  - module: kyma.mtls.certificate_batch
  - module: kyma.mtls.certificate_chain
"""

EXAMPLES = r"""
- name: The client CA is known
  kyma.mtls.pki_info:
    directory: ~/pki/client
    files:
      - ca.key
      - ca.crt
  register: pki

- name: What is there
  ansible.builtin.debug:
    msg: >-
      {{ pki.files['ca.crt'].subject | default('no CA') }},
      {{ 'with' if pki.files['ca.key'].exists else 'without' }} its key

- name: Everything under a directory is known
  kyma.mtls.pki_info:
    directory: ~/pki
  register: everything

- name: What expires within 30 days
  ansible.builtin.debug:
    msg: "{{ everything.files | dict2items | selectattr('value.days_left', 'defined')
      | selectattr('value.days_left', 'lt', 30) | map(attribute='key') }}"
"""

RETURN = r"""
files:
  description: The facts of each file, by the name that O(files) has for it.
  returned: success
  type: dict
  contains:
    path:
      description: The whole path.
      type: str
    exists:
      description: Whether there is such a file.
      type: bool
    mode:
      description: The permissions in octal digits.
      type: str
      sample: "0600"
    kind:
      description:
        - One of V(private_key), V(certificate), V(crl), V(pkcs12), V(register), V(unknown), or null for no file.
      type: str
    error:
      description: Why the file cannot be used, in words, or null.
      type: str
    matches:
      description:
        - For a key the files among those looked at whose first certificate belongs to it; for a certificate the keys.
        - Missing where the key is encrypted and no passphrase is given.
      type: list
      elements: str
    is_encrypted:
      description: Whether a key is encrypted.
      type: bool
    key:
      description: Type, size and curve of a key, or of a certificate's key.
      type: dict
      sample: {"type": "RSA", "size": 2048, "curve": null}
    subject:
      description: The subject as RFC 4514 writes it. This and the following describe a file's first certificate.
      type: str
    subject_pairs:
      description: The subject as a list of dictionaries with one pair each, in the order of encoding.
      type: list
      elements: dict
      sample: [{"O": "ML Client Org"}, {"CN": "ML Client Root CA"}]
    issuer:
      description: The issuer of a certificate or revocation list as RFC 4514 writes it.
      type: str
    sans:
      description: The subject alternative names.
      type: list
      elements: str
    serial_number:
      description: The serial number in lower-case hexadecimal digits.
      type: str
    fingerprint_sha256:
      description: The SHA-256 fingerprint in hexadecimal digits.
      type: str
    spki_sha256:
      description: The SHA-256 of the public key in hexadecimal digits.
      type: str
    not_before:
      description: The start of the validity in UTC.
      type: str
    not_after:
      description: The end of the validity in UTC.
      type: str
    days_left:
      description: The whole days until a certificate expires, or until a revocation list's next update is due.
      type: int
    is_expired:
      description: Whether it has expired.
      type: bool
    is_ca:
      description: Whether its basic constraints make it a CA.
      type: bool
    signature:
      description: The algorithm of the signature.
      type: dict
    certificates:
      description: The same facts of every certificate in the file, in its order.
      type: list
      elements: dict
    warnings:
      description: What in the file was passed over.
      type: list
      elements: str
    crls:
      description:
        - Issuer, C(last_update), C(next_update), C(days_left), the list's own C(number), how many are C(revoked) and
          their C(serial_numbers), of each revocation list.
      type: list
      elements: dict
    entries:
      description: The number of entries of a register.
      type: int
    revoked:
      description: The serial numbers that a register lists as revoked. For a revocation list, how many it holds.
      type: raw
    is_torn:
      description: Whether a register's last line was torn by a crash; the next M(kyma.mtls.certificate_batch) drops it.
      type: bool
"""

import datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._module import clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._pki import inspect


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "str"},
            "passphrase": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    require_cryptography(module)
    directory = Path(module.params["directory"])
    with clean_failure(module):
        names = module.params["files"]
        files = inspect.look(
            inspect.list_files(directory) if names is None else names,
            directory=directory,
            passphrase=module.params["passphrase"],
            now=datetime.datetime.now(datetime.UTC),
        )
        module.exit_json(changed=False, files=files)


if __name__ == "__main__":
    main()
