# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A verification as metrics, in Prometheus' text format as node_exporter's textfile collector reads it.

No sample carries a timestamp (the collector drops a file that has one), points in time are Unix seconds, durations are
seconds, and a state is a set of samples of which exactly one is 1.
See https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Outcome

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

SUFFIX = ".prom"
VERDICTS = ("passed", "failed", "outage")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels: t.TypeAlias = dict[str, str]
Sample: t.TypeAlias = tuple[Labels, float]


@dataclass(frozen=True)
class Family:
    """One metric with all its samples; every one of them is a gauge."""

    name: str
    help: str
    samples: tuple[Sample, ...]


def families(report: Report) -> tuple[Family, ...]:
    """Return the metrics of ``report``. Families without a sample are left out."""
    endpoint = {"url": report.target["url"], "address": report.target["address"]}
    made = (
        Family(
            "kyma_mtls_verdict",
            "Verdict of the last verification, 1 for the state that holds.",
            tuple(_states(endpoint, report.verdict, VERDICTS)),
        ),
        Family(
            "kyma_mtls_check_state",
            "Outcome of each check of the last verification, 1 for the state that holds.",
            tuple(
                sample
                for check in report.checks
                for sample in _states(
                    {**endpoint, "check": check["id"], "title": check["title"]},
                    check["outcome"],
                    tuple(outcome.value for outcome in Outcome),
                )
            ),
        ),
        Family(
            "kyma_mtls_last_run_timestamp_seconds",
            "When the last verification started.",
            ((endpoint, _unix(report.started)),),
        ),
        Family(
            "kyma_mtls_last_run_duration_seconds",
            "How long the last verification took.",
            ((endpoint, report.duration_seconds),),
        ),
        Family(
            "kyma_mtls_handshake_duration_seconds",
            "Connection and TLS handshake of the good client, at the beginning of the last verification.",
            _present(endpoint, report.timings.get("handshake_seconds")),
        ),
        Family(
            "kyma_mtls_request_duration_seconds",
            "Request and answer of the good client after that handshake.",
            _present(endpoint, report.timings.get("request_seconds")),
        ),
        *_validity(endpoint, _certificates(report)),
        *_revocation_lists(endpoint, report),
    )
    return tuple(family for family in made if family.samples)


def to_prometheus(report: Report) -> bytes:
    """Return the metrics of ``report`` in the text format, with a final newline."""
    lines = [line for family in families(report) for line in _family_lines(family)]
    return ("\n".join(lines) + "\n").encode()


def write_metrics(report: Report, path: Path) -> str:
    """Replace the file ``path`` by the metrics of ``report``, in one step and readable by everybody; return its path.

    Raises MtlsError when the name is none that the collector reads, or when the file cannot be written.
    """
    check_path(path)
    write_atomic(path, to_prometheus(report), mode=CERTIFICATE_MODE, is_derived=True)
    return str(path)


def check_path(path: Path) -> None:
    """Raise MtlsError when node_exporter's textfile collector would not read ``path``, or it cannot be written."""
    if path.suffix != SUFFIX:
        raise MtlsError(
            f"metrics_path is {path}, but node_exporter's textfile collector reads only files whose names end in "
            f"{SUFFIX}. Give the file such a name."
        )
    if not path.parent.is_dir():
        raise MtlsError(
            f"metrics_path is {path}, but the directory {path.parent} does not exist. Create it, and start "
            f"node_exporter with --collector.textfile.directory={path.parent}."
        )


def _states(labels: Labels, state: str, states: t.Sequence[str]) -> t.Iterator[Sample]:
    for possible in states:
        yield {**labels, "state": str(possible)}, float(possible == state)


def _present(labels: Labels, value: float | None) -> tuple[Sample, ...]:
    return () if value is None else ((labels, value),)


def _certificates(report: Report) -> t.Iterator[tuple[Labels, dict[str, t.Any]]]:
    """Yield every certificate once with its place: the served chain, the clients, the client CAs."""
    for position, facts in enumerate(report.server["chain"]):
        yield {"usage": "server" if position == 0 else "server_chain"}, facts
    for facts in report.identities:
        yield {"usage": "client"}, facts
    for facts in report.client_authorities:
        yield {"usage": "client_ca"}, facts


def _validity(endpoint: Labels, certificates: t.Iterable[tuple[Labels, dict[str, t.Any]]]) -> tuple[Family, Family]:
    begins: dict[tuple[str, ...], Sample] = {}
    ends: dict[tuple[str, ...], Sample] = {}
    for place, facts in certificates:
        labels = {
            **endpoint,
            **place,
            "subject": facts["subject"],
            "serial_number": facts["serial_number"],
        }
        key = tuple(labels.values())  # the same certificate twice in one place would be a duplicate series
        begins[key] = labels, _unix(facts["not_before"])
        ends[key] = labels, _unix(facts["not_after"])
    return (
        Family(
            "kyma_mtls_certificate_not_before_timestamp_seconds",
            "Start of the validity of each certificate that the last verification saw.",
            tuple(begins.values()),
        ),
        Family(
            "kyma_mtls_certificate_not_after_timestamp_seconds",
            "End of the validity of each certificate that the last verification saw.",
            tuple(ends.values()),
        ),
    )


def _revocation_lists(endpoint: Labels, report: Report) -> tuple[Family, ...]:
    newest = {crl["issuer"]: crl for crl in sorted(report.crls, key=lambda crl: crl["this_update"])}
    lists = [({**endpoint, "issuer": issuer}, crl) for issuer, crl in newest.items()]
    return (
        Family(
            "kyma_mtls_crl_this_update_timestamp_seconds",
            "When each certificate revocation list was issued.",
            tuple((labels, _unix(crl["this_update"])) for labels, crl in lists),
        ),
        Family(
            "kyma_mtls_crl_next_update_timestamp_seconds",
            "When the next issue of each certificate revocation list is due.",
            tuple((labels, _unix(crl["next_update"])) for labels, crl in lists if crl["next_update"]),
        ),
        Family(
            "kyma_mtls_crl_revoked_certificates",
            "How many certificates each certificate revocation list has.",
            tuple((labels, float(crl["revoked"])) for labels, crl in lists),
        ),
    )


def _family_lines(family: Family) -> t.Iterator[str]:
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} gauge"
    for labels, value in family.samples:
        inside = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels.items())
        yield f"{family.name}{{{inside}}} {int(value) if value.is_integer() else value}"


def _unix(text: str) -> float:
    """Return the Unix time of a moment as RFC 3339 writes it."""
    return datetime.datetime.fromisoformat(text).timestamp()
