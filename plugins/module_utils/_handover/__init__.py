# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients need beside their keys and certificates: a script that asks the gateway, a text, the server's CA.

What others use: ``address.read_address`` (a URL and where to connect to) and ``handover.run``. ``texts`` has the words.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
