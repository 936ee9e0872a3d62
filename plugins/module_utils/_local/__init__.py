# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The platform ``local``: Envoy and the workloads as supervised processes of one runtime directory.

What others use: ``paths.RuntimeLayout`` (where everything is), ``runtime`` (install, start, stop, remove),
``apply.LocalPlatform`` (bring it to the given objects) and ``status`` (what runs, listens and expires). Everything else
is inside.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
