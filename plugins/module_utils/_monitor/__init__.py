# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifications that run by themselves: schedules, and the process of a pod.

- ``schedule.read_interval``: an interval as calendar expression of systemd, as cron fields and in seconds.
- ``runs.look``: the last runs on this host, and the next one.
- ``serve``: runs a command again and again, and serves the metrics that it writes (a program, ``python -m ...serve``).

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
