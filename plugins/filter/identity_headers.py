# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: identity_headers
short_description: Identity headers of an APIRule that no client can forge
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Checks request headers that are to carry the identity of a client certificate, and returns them as they belong into
    an APIRule or a VirtualService.
  - Envoy does not touch a header that the client sent itself when the configured value comes out empty. So a value that
    is empty for some client is refused with the reason.
  - The subject of a certificate may be empty too (RFC 5280 section 4.1.2.6). A value that is the subject alone
    therefore gets a space at its end, which makes it never empty; HTTP does not count that space as part of the value.
options:
  _input:
    description: Header names to Envoy format strings.
    type: dict
    required: true
  tls_mode:
    description: TLS mode of the Gateway.
    type: str
    choices: [MUTUAL, OPTIONAL_MUTUAL, SIMPLE]
    default: MUTUAL
"""

EXAMPLES = r"""
- name: Show headers that always replace what a client sends
  ansible.builtin.debug:
    msg: "{{ headers | kyma.mtls.identity_headers }}"
  vars:
    headers:
      X-CLIENT-SSL-CN: "%DOWNSTREAM_PEER_SUBJECT%"
      X-CLIENT-SSL-SAN: URI=%DOWNSTREAM_PEER_URI_SAN%
"""

RETURN = r"""
_value:
  description: The headers, safe to be used.
  type: dict
  sample: {X-CLIENT-SSL-CN: "%DOWNSTREAM_PEER_SUBJECT% "}
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import identity
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError


def identity_headers(headers: t.Mapping[str, str], tls_mode: str = "MUTUAL") -> dict[str, str]:
    """Return ``headers`` guarded; raise AnsibleFilterError when one of them could be forged."""
    try:
        identity.refuse_forgeable(headers, mode=tls_mode)
        return identity.guarded(headers)
    except MtlsError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file by name."""
        return {"identity_headers": identity_headers}
