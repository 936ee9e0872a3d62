# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes objects to Envoy's configuration, as istiod and Kyma's API Gateway make it on a cluster.

What others use: ``translate.translate`` (objects to a ``model.Configuration``), ``render`` (a configuration and its
secrets to files), ``mesh`` (certificates of the second hop) and ``identity`` (request headers that no client forges).
Everything else is inside. Nothing here touches the disk, a process or the network.

An object is read strictly (``reading``; ``gateway``, ``apirule``, ``deployment`` and ``workload`` for their kinds):
what cannot be honoured is refused with the object's name and the field. ``listeners`` and ``routes`` are the gateway,
``sidecar`` and ``authorization`` the second hop.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
