# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The local platform with real parts: what is applied is served, and what is refused leaves no trace."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes


@pytest.fixture(scope="module")
def shared() -> t.Iterator[runtimes.Runtime]:
    """The tutorial's gateway and httpbin, running; tests leave it as they found it."""
    with runtimes.runtime() as made:
        made.apply()
        yield made


def test_gateway_answers_with_the_identity_of_the_client(shared: runtimes.Runtime) -> None:
    answer = shared.get()
    assert answer.status == 200
    print(answer.body, shared.processes(), shared.pids())
