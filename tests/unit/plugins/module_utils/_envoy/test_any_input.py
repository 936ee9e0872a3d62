# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever stands in an object, the answer is a translation or a refusal in words."""

from __future__ import annotations

import contextlib
import typing as t

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import render
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.identity import guarded, refuse_forgeable
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import (
    Json,
    make_objects,
    translated,
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """The path of everything inside ``value``."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in steps:
        yield (*path, step)
        yield from places(item, (*path, step))


def put(objects: list[Json], path: tuple[t.Any, ...], value: t.Any) -> list[Json]:
    """``objects`` with another value at ``path``."""
    target: t.Any = objects
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return objects


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(list(places(make_objects()))), value=VALUES)
def test_any_value_anywhere_is_translated_or_refused(path: tuple[t.Any, ...], value: t.Any) -> None:
    with contextlib.suppress(MtlsError):
        render.files(translated(put(make_objects(), path, value)))


@settings(max_examples=300, deadline=None)
@given(
    headers=st.dictionaries(
        st.text(max_size=6),
        st.text(alphabet="%ABC_()a ", max_size=10) | st.sampled_from(["%DOWNSTREAM_PEER_SUBJECT%", "%PATH%"]),
        max_size=3,
    )
)
def test_accepted_headers_are_never_empty(headers: dict[str, str]) -> None:
    with contextlib.suppress(MtlsError):
        refuse_forgeable(headers, mode="MUTUAL")
        for name, value in guarded(headers).items():
            assert value.replace("%DOWNSTREAM_PEER_SUBJECT%", "")
            refuse_forgeable({name: value}, mode="MUTUAL")
