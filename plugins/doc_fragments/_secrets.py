# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that a module makes of files.

Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  secrets:
    description:
      - Secrets, made of files on the target host. No key passes through Ansible.
      - They are checked first. The key must belong to the certificate, the chain must be in order, client CAs must be
        CAs, a CRL must be signed by one of them and be fresh, and the names of the keys must be what Istio reads.
      - What is published is written anew from what was read, in the one form of PEM that the gateway reads. There is a
        warning when it would not have read a file as given.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      namespace:
        description: Namespace of the Secret.
        type: str
        default: istio-system
      files:
        description:
          - Key of the Secret's data to path of the file with its content.
          - Istio's ingress gateway reads C(tls.crt) with C(tls.key), C(cert) with C(key), C(cacert) with C(crl), and
            C(ca.crt) with C(ca.crl).
        type: dict
        required: true
      optional_files:
        description: Like O(secrets[].files), for files that are used only when they exist, such as a CRL.
        type: dict
        default: {}
"""
