# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes objects, to be applied to a cluster or served on this machine.

Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  diff_mode:
    support: full
    details:
      - Secrets appear as subjects, fingerprints and dates, never as data.
  idempotent:
    support: full
options:
  definition:
    description: Kubernetes objects. Secrets are not accepted here but in O(secrets).
    type: list
    elements: dict
    default: []
  secrets:
    description:
      - Secrets, made of files on the target host. No key passes through Ansible.
      - Validated before use. The key must match the certificate, the chain must be in order, client CAs must be CAs, a
        CRL must be signed by one of them and be fresh, and the names of the keys must be those that Istio reads.
      - Published as normalised PEM, because the gateway reads only one form of it. There is a warning when it would not
        have read a file as given.
    type: list
    elements: dict
    default: []
  accept_older_crl:
    description:
      - Whether a revocation list may replace one at the gateway that is newer or revokes more.
      - Refused by default, because revoked clients would get in again. The list of a CA that the gateway no longer
        trusts may go.
    type: bool
    default: false
requirements:
  - cryptography >= 44.0
"""
