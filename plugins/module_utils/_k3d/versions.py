# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions that work together, and how they are read.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

Version = tuple[int, ...]

# Older ones cannot talk to Docker 29, which wants API 1.44 (k3d 5.8.3 has Docker's SDK 27).
MINIMUM_K3D: Version = (5, 8, 3)
# k3d's own minimum.
MINIMUM_DOCKER: Version = (20, 10, 5)
# Kyma's Istio module puts the CNI plugin where k3s's container image has looked for it only since these (k3d #1572).
MINIMUM_K3S: t.Mapping[tuple[int, int], Version] = {(1, 31): (1, 31, 7), (1, 32): (1, 32, 3)}
# The kubelet of Kubernetes 1.35 and later refuses cgroup version 1.
FIRST_K3S_WITHOUT_CGROUP_V1: Version = (1, 35, 0)
CGROUP_V1_ARGUMENT = "--kubelet-arg=fail-cgroupv1=false"

_K3S_TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)-k3s\d+")


def read_version(text: str) -> Version | None:
    """Return the first version in ``text`` that has three numbers, None when there is none."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(one) for one in found.groups()) if found else None


def show(version: Version) -> str:
    return ".".join(str(one) for one in version)


def k3s_version(image: str) -> Version:
    """Return the Kubernetes version of a k3s image that Kyma's modules can run on.

    Raises MtlsError when its tag is not that of a final release, or too old.
    """
    name = image.partition("@")[0]
    tag = name.rpartition("/")[2].partition(":")[2]
    found = _K3S_TAG.fullmatch(tag)
    if found is None:
        raise MtlsError(
            f"The k3s image {image} has the tag '{tag}', which is not that of a final release, such as v1.33.7-k3s1. "
            "Kyma's Istio module recognises k3s by such a version only, and puts its CNI plugin where no pod finds it "
            "otherwise."
        )
    version = tuple(int(one) for one in found.groups())
    minimum = MINIMUM_K3S.get((version[0], version[1]), min(MINIMUM_K3S.values()))
    if version < minimum:
        raise MtlsError(
            f"The k3s image {image} is too old: in it Kyma's Istio module puts its CNI plugin where no pod finds it. "
            f"Take v{show(minimum)}-k3s1 or later."
        )
    return version
