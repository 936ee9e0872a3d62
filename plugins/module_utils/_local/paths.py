# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the local platform keeps what: one directory, and nothing outside it but its sockets on a long path."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import PRIVATE_DIRECTORY_MODE, ensure_directory

# sockaddr_un holds 104 bytes on macOS, 108 on Linux; the longest name below, with supervisor's ".PID" suffix for
# the socket that it renames into place, needs 60 of them at most.
SOCKET_PATH_BYTES = 100
SOCKET_NAME_BYTES = 60
TEMPORARY = Path("/tmp")  # noqa: S108  (a directory below it is made private, and refused when it is somebody else's)


@dataclasses.dataclass(frozen=True)
class RuntimeLayout:
    """The paths of one local runtime; ``root`` is absolute."""

    root: Path

    @classmethod
    def at(cls, path: str) -> RuntimeLayout:
        """Return the layout at ``path``, absolute and without symbolic links.

        A supervised process does not share our current directory, and one directory by two names is one runtime.
        """
        return cls(root=Path(path).expanduser().resolve())

    @property
    def environment(self) -> Path:
        """The virtual environment with supervisor, Envoy and the workloads."""
        return self.root / "venv"

    @property
    def installed(self) -> Path:
        """Records of what was installed completely into the environment."""
        return self.environment / "kyma-mtls"

    @property
    def supervisor(self) -> Path:
        return self.root / "supervisor"

    @property
    def supervisor_configuration(self) -> Path:
        return self.supervisor / "supervisord.conf"

    @property
    def programs(self) -> Path:
        return self.supervisor / "programs"

    @property
    def launcher(self) -> Path:
        return self.supervisor / "launch.py"

    @property
    def apply_lock(self) -> Path:
        """Held by the run that changes something."""
        return self.root / "apply.lock"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def mesh(self) -> Path:
        return self.root / "mesh"

    @property
    def envoy(self) -> Path:
        return self.root / "envoy"

    @property
    def scratch(self) -> Path:
        return self.root / "tmp"

    @property
    def sockets(self) -> Path:
        """Beside everything else where the path is short enough for a Unix socket, else a private temporary place.

        That does not follow TMPDIR: the next call may come from another shell, and has to find the same sockets.
        """
        inside = self.root / "sockets"
        if len(os.fsencode(inside)) + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return TEMPORARY / f"kyma-mtls-{os.getuid()}-{digest}"

    @property
    def supervisor_socket(self) -> Path:
        return self.sockets / "supervisor.sock"

    @property
    def admin_socket(self) -> Path:
        return self.sockets / "admin.sock"

    def directories(self) -> tuple[Path, ...]:
        """Everything that exists before a process starts, parents first."""
        return (
            self.root,
            self.supervisor,
            self.programs,
            self.locks,
            self.logs,
            self.objects,
            self.mesh,
            self.envoy,
            self.scratch,
            self.sockets,
        )

    def make(self) -> bool:
        """Make the directories, private to this user; return whether anything changed.

        Raises MtlsError when a directory cannot be made, or when the socket directory belongs to somebody else.
        """
        self._refuse_foreign_sockets()
        changed = [ensure_directory(directory, mode=PRIVATE_DIRECTORY_MODE) for directory in self.directories()]
        # Again: below the system's temporary directory somebody else may have been faster.
        self._refuse_foreign_sockets()
        return any(changed)

    def _refuse_foreign_sockets(self) -> None:
        try:
            status = self.sockets.lstat()
        except OSError:
            return
        if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid():
            raise MtlsError(
                f"The socket directory {self.sockets} belongs to somebody else or is a symbolic link. "
                "Remove it, or choose a shorter mtls_home, so that the sockets find room below it."
            )
