# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets of Istio's ingress gateway: read from files, checked, normalised and compared with what the gateway has.

Others may call: sources.read_secrets (files to Secrets), prepare.prepare (a Secret as it is published, with what is in
it and what has to be said about it), published.refuse_older and published.missing_crl (against what the gateway has).

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
