# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects on a cluster: apply them in the order that Kyma needs, and wait until they are ready.

What others use: ``client.connect``, then ``task.execute`` (apply or delete objects and wait), ``access.check``
(version, permissions, nodes), ``kyma`` and ``releases`` (Kyma's modules), ``address`` and ``forward`` (the way to the
gateway) and ``status.look``. Everything else is inside.

The connection is that of kubernetes.core: kubeconfig, contexts, tokens, proxies, ``K8S_AUTH_*``. Three things are our
own, because kubernetes.core does them otherwise. Discovery costs one request an API version and is never cached on
disk, so a kind whose CRD was just applied is found. Applying is one GET and one PATCH an object; a conflict of field
ownership is decided by who declares the object, and never shown with a Secret's data. Waiting knows Kyma's states.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
