# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that is reached by SSH: OpenSSH's server on loopback, with keys, a home and a Python of its own.

Where the system allows it, the server lives in a mount namespace in which neither the checkout nor anything of the
controller exists, so what works there needs nothing of them.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
import time
import typing as t
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kyma.mtls.tests.playbooks.place import without

CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
AuthenticationMethods publickey
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PidFile none
Subsystem sftp {sftp}
ForceCommand {directory}/session
"""
# What a login would set, and a home of its own. A download of packages costs no time when it is in the user's cache.
SESSION = """\
#!/bin/sh
export HOME={home} UV_CACHE_DIR={cache} PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8
cd "$HOME" && exec /bin/sh -c "${{SSH_ORIGINAL_COMMAND:-exec /bin/sh}}"
"""
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")


def sshd() -> str | None:
    """OpenSSH's server; None where it is not installed."""
    return shutil.which("sshd", path=os.pathsep.join([os.defpath, "/usr/sbin", "/usr/local/sbin"]))


@dataclass(frozen=True)
class Host:
    """A running server, and what Ansible has to know of it."""

    port: int
    home: Path
    key: Path

    def variables(self) -> dict[str, t.Any]:
        """Connection variables of an inventory."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
            "-o ControlMaster=auto -o ControlPersist=60s -o IdentitiesOnly=yes -o LogLevel=ERROR",
        }


@contextmanager
def host(directory: Path, *, port: int, cache: str, hidden: t.Sequence[Path]) -> t.Iterator[Host]:
    """Run a server below ``directory`` (its home: ``directory/home``) that does not see ``hidden``."""
    program = sshd()
    assert program is not None
    home = directory / "home"
    home.mkdir(parents=True)
    for name in ("host_key", "user_key"):
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(directory / name)]
        subprocess.run(generate, check=True)
    shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
    session = directory / "session"
    session.write_text(SESSION.format(home=shlex.quote(str(home)), cache=shlex.quote(cache)), encoding="utf-8")
    session.chmod(0o755)
    sftp = next((path for path in SFTP_SERVERS if Path(path).exists()), "internal-sftp")
    configuration = directory / "sshd_config"
    configuration.write_text(CONFIGURATION.format(port=port, directory=directory, sftp=sftp), encoding="utf-8")
    command = [*without(*hidden), program, "-D", "-e", "-f", str(configuration)]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _await_words(directory / "sshd.log", "Server listening", process)
        yield Host(port=port, home=home, key=directory / "user_key")
    finally:
        process.terminate()
        process.wait(20)


def _await_words(log: Path, words: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while words not in log.read_text(encoding="utf-8", errors="replace"):
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
        assert time.monotonic() < deadline, f"sshd is silent, see {log}"
        time.sleep(0.05)
