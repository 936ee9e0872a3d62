# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A throw-away k3d cluster: created, started, stopped, deleted; what differs from an existing one is refused.

What others use: ``config.read`` (the module's options as a ``Spec``), ``cli.find_k3d`` (k3d on this host) and
``lifecycle`` (bring it to a state). Everything else is inside.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
