# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who issues the certificates of servers and clients: :class:`issuer.Issuer` is the interface to that.

* :mod:`issuer`: a CA that signs here, with a key in a file, in a token or behind a command;
* :mod:`request_issuer`: an external issuer that signs certificate requests, as :mod:`vault` or one in a cluster does;
* :mod:`order`: a certificate that is ordered from an ACME CA by other tasks; the module ``certificate_order`` calls it.
"""
