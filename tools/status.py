# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""make status: what of the site in MTLS_HOME runs, where it listens, what expires when, what was verified last.

Reads only, and changes nothing. Exits with 1 when something is not well. For a site on a cluster, the playbook
kyma.mtls.status does it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".build/collections"))

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError  # noqa: E402  (after the path is set)
from ansible_collections.kyma.mtls.plugins.module_utils._local import status  # noqa: E402


def main() -> int:
    if os.environ.get("PLATFORM", "local") != "local":
        play = str(ROOT / "tools/play")
        os.execv(play, [play, "status", *sys.argv[1:]])  # noqa: S606  (the project's own script)
    found = status.look(os.environ.get("MTLS_HOME") or str(ROOT / ".kyma-mtls"))
    if not found.home.is_dir():
        print(f"There is no site in {found.home}: make site sets one up.")
        return 1
    print("\n".join(status.lines(found)))
    return 1 if found.problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MtlsError as exc:
        sys.exit(f"make: {exc}")
