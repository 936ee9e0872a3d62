# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the system keeps the CAs that its programs trust."""

from __future__ import annotations

import ssl
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

# Debian, Alpine, Arch; Red Hat, Fedora; SUSE; macOS, FreeBSD.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def path() -> Path:
    """Return the file with the CAs that the system trusts: that of OpenSSL's settings, or where systems have it.

    Raises MtlsError when there is none.
    """
    paths = ssl.get_default_verify_paths()  # SSL_CERT_FILE included
    for name in (paths.cafile, *_BUNDLES):
        if name and Path(name).is_file():
            return Path(name)
    raise MtlsError(
        "The system has no file with the CAs that it trusts. Install the package ca-certificates, or name the root CA "
        "of the issuer. Nothing was changed."
    )
