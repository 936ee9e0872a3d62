# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small part of the fuzzing, with fixed seeds; the long runs are ``tools/fuzz``."""

from __future__ import annotations

import os

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.fuzz import __main__ as fuzz
from ansible_collections.kyma.mtls.tests.fuzz import seeds, targets

COUNT = int(os.environ.get("KYMA_MTLS_FUZZ", "2000"))


@pytest.mark.parametrize("target", [one.name for one in targets.TARGETS])
def test_damaged_input_is_answered_or_refused_in_words(target):
    share = next(one.share for one in targets.TARGETS if one.name == target)
    tally, failures = fuzz.fuzz(count=max(50, COUNT * share // 100), seed=7, names=[target])
    assert not failures, failures[0]
    assert tally[f"{target} answered"] > 0
    assert target == "server" or tally[f"{target} refused"] > 0


# The options of a chain are drawn from its input, and some of them refuse a good one.
@pytest.mark.parametrize("target", [one for one in targets.TARGETS if one.name != "chain"], ids=lambda one: one.name)
def test_every_seed_is_good_input(target):
    for data in target.seeds():
        target.run(data)


def failing(error: BaseException) -> targets.Target:
    def run(_data: bytes) -> None:
        raise error

    return targets.Target("failing", 100, lambda: [b"seed"], run)


@pytest.mark.parametrize(
    "error", [KeyError(5), RecursionError(), MtlsError(""), MtlsError(f"got {seeds.chains()[0].end.key_pem()}")]
)
def test_what_is_no_answer_fails_the_run(error, monkeypatch, capsys):
    monkeypatch.setattr(targets, "TARGETS", (failing(error),))
    assert fuzz.main(["--count", "3"]) == 1
    assert "3 failures" in capsys.readouterr().out


def test_a_hang_fails_the_run(monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)

    def hang(_data: bytes) -> None:
        while True:
            pass

    monkeypatch.setattr(targets, "TARGETS", (targets.Target("hanging", 100, lambda: [b"seed"], hang),))
    assert fuzz.main(["--count", "1"]) == 1
    assert "more than 0.1 seconds" in capsys.readouterr().out
