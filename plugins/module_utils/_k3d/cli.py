# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""k3d and Docker as programs of this host: found, run with a time limit, checked beforehand, failures explained."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import Mapping

Version = tuple[int, ...]
HIDDEN = "********"
QUERY_SECONDS = 60
MINIMUM_K3D: Version = (5, 8, 3)
MINIMUM_DOCKER: Version = (20, 10, 5)
MINIMUM_K3S: t.Mapping[tuple[int, int], Version] = {(1, 31): (1, 31, 7), (1, 32): (1, 32, 3)}
FIRST_K3S_WITHOUT_CGROUP_V1: Version = (1, 35, 0)
CGROUP_V1_ARGUMENT = "--kubelet-arg=fail-cgroupv1=false"
K3D_HINT = "Install it from https://k3d.io, or have the role kyma.mtls.cluster do it (cluster_install_tools)."
DOCKER_HINT = "Install Docker Engine or Docker Desktop: https://docs.docker.com/engine/install/."
INOTIFY = Path("/proc/sys/fs/inotify")
INOTIFY_LIMITS: t.Mapping[str, tuple[int, int]] = {
    "max_user_instances": (512, 1280),
    "max_user_watches": (65536, 655360),
}
# k3d forces colours, whatever NO_COLOR says; LOG_COLORS=0, which a user may have set, gives lines of another format.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(r"^(?P<level>FATA|ERRO|WARN|INFO|DEBU)\[\d+\]\s*(?P<text>.*?)\s*$")
_PLAIN_LINE = re.compile(r'^time="[^"]*" level=(?P<level>[a-z]+) msg=(?P<text>"(?:[^"\\]|\\.)*"|\S*)')
_ERRORS = frozenset({"FATA", "ERRO", "fatal", "error"})
# What k3d says after the reason, of its own cleaning up.
_AFTERMATH = re.compile(r"Rolling Back$|^Cluster creation FAILED|^docker failed to remove the container")
_TOKEN = re.compile(r"""(K3S_TOKEN=|"?k3d\.cluster\.token"?[:=]\s*"?)[^\s",\]]+""")
_K3S_TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)-k3s\d+")

_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"listen \w+ (?P<what>\S+): bind: address already in use|Bind for (?P<other>\S+?) failed: port is already",
        "the port {what} of this host is taken. Find out who listens there (ss -ltnp), or ask for another port",
    ),
    (
        r"listen \w+ (?P<what>\S+): bind: permission denied",
        "Docker may not listen on {what}, as rootless Docker may not below 1024. Ask for a higher port",
    ),
    (
        r"docker failed to pull (?:the )?image '(?P<what>[^']+)'.*toomanyrequests",
        "the image {what} cannot be pulled now: its registry limits anonymous pulls. Log in by docker login, "
        "wait, or use a mirror (registries)",
    ),
    (
        r".*docker failed to pull (?:the )?image '(?P<what>[^']+)': (?P<why>.*)",
        "the image {what} cannot be pulled: {why}. Check its name and the way to its registry",
    ),
    (r"Schema Validation failed for config file \S+: (?:- )?(?P<what>.*)", "k3d refuses the configuration: {what}"),
    (r"provided cluster name '(?P<what>[^']+)' does not match requirements", "'{what}' is not a valid name of a host"),
    (
        r"permission denied while trying to connect to the Docker (?:daemon socket|API) at (?P<what>\S+?)[.:]?(?:\s|$)",
        "this user may not use Docker at {what}. Add the user to Docker's group, or set DOCKER_HOST",
    ),
    (
        r"Cannot connect to the Docker daemon at (?P<what>\S+?)\. ",
        "Docker does not answer at {what}. Install or start it, or set DOCKER_HOST",
    ),
    (
        r"context deadline exceeded|timed out|timeout",
        "it was not ready in time. Raise timeout, or look at 'docker logs k3d-{name}-server-0'",
    ),
)


@dataclass(frozen=True)
class CommandResult:
    returncode: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


@dataclass
class Tool:
    """A program of the host; ``secrets`` are values that no message of it may show."""

    name: str
    path: str
    environment: t.Mapping[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)

    def run(self, *arguments: str, seconds: float = QUERY_SECONDS, **environment: str) -> CommandResult:
        """Run the program to its end, which it reaches in ``seconds`` or not at all.

        Raises MtlsError when it cannot be started or takes longer; what it has started itself is ended with it.
        """
        try:
            process = subprocess.Popen(  # noqa: S603  (the words are a list, nothing is expanded)
                [self.path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "LC_ALL": "C", "NO_COLOR": "1", **self.environment, **environment},
                start_new_session=True,
            )
        except OSError as exc:
            raise MtlsError(f"The program {self.path} cannot be started: {exc.strerror}.") from exc
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as exc:
            raise MtlsError(
                f"'{self.name} {' '.join(arguments[:2])}' has not ended after {seconds:.0f} seconds and was ended. "
                "See whether Docker answers (docker info), or raise timeout."
            ) from exc
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return CommandResult(process.returncode, out, err)

    def hide(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return _TOKEN.sub(rf"\g<1>{HIDDEN}", text)

    def failure(self, answer: CommandResult, *, what: str, name: str = "") -> MtlsError:
        """Return the error that says why ``what`` did not succeed."""
        text = self.hide(answer.err)
        return MtlsError(f"{what}: {cause(text, name=name)}.", rc=answer.returncode, stderr_lines=complaints(text))


def find_tool(name: str, *, what: str, hint: str, directories: t.Sequence[str] = ()) -> Tool:
    """Return the program ``name``, which may be a path; ``directories`` are looked in before the PATH.

    Raises MtlsError with ``hint`` when there is none.
    """
    path = shutil.which(name, path=os.pathsep.join([*directories, os.environ.get("PATH", os.defpath)]))
    if path is None:
        raise MtlsError(f"{what} ({name}) is not installed on this host, or not in the PATH. {hint}")
    return Tool(name=what, path=path)


def complaints(text: str) -> list[str]:
    """Return the errors among what k3d printed, without its clock and colours; all lines when it printed none."""
    lines = [line.strip() for line in _COLOUR.sub("", text).splitlines() if line.strip()]
    errors = [words for level, words in map(_level_and_words, lines) if level in _ERRORS]
    return errors or lines


def _level_and_words(line: str) -> tuple[str, str]:
    if found := _LINE.match(line):
        return found["level"], found["text"]
    if found := _PLAIN_LINE.match(line):
        words = found["text"]
        with contextlib.suppress(ValueError):
            words = str(json.loads(words))
        return found["level"], words
    return "", line


def cause(text: str, *, name: str = "") -> str:
    """Return in one clause why k3d failed, from what it printed."""
    lines = complaints(text)
    for pattern, words in _CAUSES:
        for line in lines:
            found = re.search(pattern, line)
            if found:
                parts = {key: value for key, value in found.groupdict().items() if value}
                return words.format(**{"what": parts.get("other", ""), "why": "", "name": name, **parts}).rstrip(".")
    reasons = [line for line in lines if not _AFTERMATH.search(line)] or lines
    return "; ".join(line.rstrip(".!") for line in reasons[-2:]) or "it said nothing about the reason"


def read_version(text: str) -> Version | None:
    """Return the first version in ``text`` that has three numbers, None when there is none."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(group) for group in found.groups()) if found else None


def show(version: Version) -> str:
    return ".".join(str(number) for number in version)


def find_k3d(executable: str = "k3d", *, directories: t.Sequence[str] = ()) -> tuple[Tool, Version]:
    """Return k3d on this host and its version. Raises MtlsError when it is missing or too old."""
    tool = find_tool(executable, what="k3d", hint=K3D_HINT, directories=directories)
    answer = tool.run("version", "-o", "json")
    text = ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(answer.out)["k3d"])
    # Old ones know no JSON here.
    version = read_version(text or tool.run("version").out.partition("\n")[0])
    if version is None:
        raise MtlsError(f"The version of {tool.path} is unknown: it is not k3d, or broken. {K3D_HINT}")
    if version < MINIMUM_K3D:
        raise MtlsError(
            f"k3d is {show(version)} ({tool.path}), but {show(MINIMUM_K3D)} or later is needed: older ones do not work "
            f"with current Docker versions. {K3D_HINT}"
        )
    return tool, version


def k3s_version(image: str) -> Version:
    """Return the Kubernetes version of a k3s image that Kyma's modules can run on.

    Raises MtlsError when its tag is not that of a final release, or too old.
    """
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = _K3S_TAG.fullmatch(tag)
    if found is None:
        raise MtlsError(
            f"The k3s image {image} has the tag '{tag}', which is not that of a final release, such as v1.33.7-k3s1. "
            "Kyma's Istio module recognises k3s by such a version only, and puts its CNI plugin where no pod finds it "
            "otherwise."
        )
    version = tuple(int(group) for group in found.groups())
    minimum = MINIMUM_K3S.get((version[0], version[1]), min(MINIMUM_K3S.values()))
    if version < minimum:
        raise MtlsError(
            f"The k3s image {image} is too old: in it Kyma's Istio module puts its CNI plugin where no pod finds it. "
            f"Take v{show(minimum)}-k3s1 or later."
        )
    return version


@dataclass
class HostCheck:
    """What was found of this host; ``problems`` make a cluster impossible, ``warnings`` do not."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)


def check_docker(host: HostCheck) -> None:
    """Note what speaks against the Docker of this host."""
    try:
        answer = find_tool("docker", what="Docker", hint=DOCKER_HINT).run("info", "--format", "{{json .}}")
        found: t.Any = None
        with contextlib.suppress(ValueError):
            found = json.loads(answer.out)
        # Depending on its version, its command fails or shows empty fields when the daemon does not answer.
        if not isinstance(found, dict) or not found.get("ServerVersion"):
            errors = found.get("ServerErrors") if isinstance(found, dict) else None
            text = "\n".join(str(error) for error in errors) if isinstance(errors, list) else answer.err
            raise MtlsError(f"Docker cannot be used: {cause(text + chr(10))}.")
    except MtlsError as exc:
        host.problems.append(str(exc).rstrip("."))
        return
    host.facts["docker_version"] = str(found["ServerVersion"])
    host.facts["cgroup_version"] = str(found.get("CgroupVersion") or "")
    version = read_version(host.facts["docker_version"])
    if version is not None and version < MINIMUM_DOCKER:
        text = host.facts["docker_version"]
        host.problems.append(f"Docker is {text}, but k3d needs {show(MINIMUM_DOCKER)} or later")


def check_image(host: HostCheck, image: str, arguments: t.Sequence[str]) -> None:
    """Note what speaks against a k3s image for Kyma's modules."""
    try:
        version = k3s_version(image)
    except MtlsError as exc:
        host.problems.append(str(exc).rstrip("."))
        return
    host.facts["k3s_version"] = show(version)
    refuses = version >= FIRST_K3S_WITHOUT_CGROUP_V1 and CGROUP_V1_ARGUMENT not in arguments
    if refuses and host.facts.get("cgroup_version") == "1":
        host.problems.append(
            f"the k3s image {image} does not start on cgroup version 1, which Docker has here. Take an image before "
            f"v{show(FIRST_K3S_WITHOUT_CGROUP_V1)}, boot with cgroup version 2, or add the k3s argument "
            f"{CGROUP_V1_ARGUMENT}@server:*"
        )


def check_ports(host: HostCheck, ports: t.Iterable[Mapping]) -> None:
    """Note which of ``ports`` another program has."""
    if os.environ.get("DOCKER_HOST", "").startswith(("tcp://", "ssh://", "http://", "https://")):
        # Docker is on another machine, whose ports cannot be looked at from here.
        return
    host.problems += [
        f"the port {port.host_port} is taken on this host (see who listens: ss -ltnp, on macOS "
        f"lsof -nP -iTCP:{port.host_port}); stop that, or ask for another port"
        for port in ports
        if port.host_port and is_taken(port)
    ]


def check_inotify(host: HostCheck, directory: Path = INOTIFY) -> None:
    """Warn of the kernel's limits, where there are any (not on macOS)."""
    for name, (least, good) in INOTIFY_LIMITS.items():
        with contextlib.suppress(OSError, ValueError):
            limit = int((directory / name).read_text(encoding="ascii"))
            if limit < least:
                host.warnings.append(
                    f"fs.inotify.{name} is {limit}; pods may fail with 'too many open files'. "
                    f"Raise it: sysctl -w fs.inotify.{name}={good}"
                )


def is_taken(mapping: Mapping) -> bool:
    """Return whether somebody listens where ``mapping`` shall; Docker will do it with more rights than this process."""
    kind = socket.SOCK_DGRAM if mapping.protocol == "udp" else socket.SOCK_STREAM
    address = mapping.address or "0.0.0.0"  # noqa: S104  (bound for a moment, as Docker will do)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as probe:
        # As Docker's proxy does; else connections in TIME_WAIT would look like a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, mapping.host_port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError as exc:
            return exc.errno == errno.EADDRINUSE or (exc.errno == errno.EACCES and _answers(mapping, family))
    return False


def _answers(mapping: Mapping, family: int) -> bool:
    """Return whether a connection is accepted: all that a user without rights for low ports can find out."""
    loopback = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    address = loopback if mapping.on_all_addresses else mapping.address
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return mapping.protocol == "tcp" and probe.connect_ex((address, mapping.host_port)) == 0
