# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CAs above the certificates: which there are, which are trusted, and what they have revoked.

* :mod:`authority`: CAs that are created here; :mod:`supplied_ca`: one that is not;
* :mod:`rotation`: from one CA to the next, and from or to an external issuer;
* :mod:`trust_bundle`: the CAs that the gateway trusts;
* :mod:`revocation`: revocation lists that are signed here; :mod:`external_crl`: those that are fetched.
"""
