# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CA certificates in the trust stores of a system and of browsers, and out of them again.

What others use: ``trust.run``. ``stores`` has the two kinds of store. Certificates are only told apart here, not looked
into, so the standard library will do: the module also runs as root, under whatever Python root has.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
