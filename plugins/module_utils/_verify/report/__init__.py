# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a verification, for people and for machines.

- ``result.assemble`` makes a ``result.Report`` of cases and facts, with the verdict;
- ``summary``: a table, JSON, JUnit, and whether the module fails; ``summary.write_reports`` writes all files;
- ``html`` (one page, with ``trust_picture``), ``metrics`` (Prometheus), ``next_steps`` (a curl command to try).
"""
