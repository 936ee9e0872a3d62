# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pauses between looks are short in the beginning of each wait."""

from __future__ import annotations

import collections
import itertools
import types
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import pauses
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import Ref
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.run import ApplyRun


def test_pauses_grow_to_the_longest() -> None:
    assert list(itertools.islice(pauses(2), 6)) == [0.25, 0.5, 1, 2, 2, 2]
    assert list(itertools.islice(pauses(0.1), 2)) == [0.1, 0.1]


class Server:
    """An API server on which each object is still there when it is looked at for the fifth time, and then gone."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.looks: collections.Counter[str] = collections.Counter()

    def resource(self, _api_version: str, _kind: str) -> t.Any:
        return types.SimpleNamespace(namespaced=True, path=lambda _namespace, name: f"/{name}")

    def get(self, path: str, **_options: t.Any) -> dict[str, t.Any] | None:
        self.looks[path] += 1
        return {"metadata": {}} if self.looks[path] <= 5 else None

    def delete(self, _path: str, **_options: t.Any) -> bool:
        return True

    def clock(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_each_wait_begins_with_short_pauses() -> None:
    server = Server()
    run = ApplyRun(t.cast("t.Any", server), check_only=False, timeout_seconds=60)
    run.absent([Ref("v1", "Pod", name, "test") for name in ("one", "two")], wait=True)
    # The first look is before the deletion.
    assert server.slept == [0.25, 0.5, 1, 2] * 2
