# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the local platform to a plan: files, processes, and the proof that Envoy took it up.

Order: everything is checked (the real Envoy validates a static rendering) before anything is written; files replace
their predecessors in one step each, secrets first, so that what refers to them finds them; what Envoy then refuses
after all is put back as it was. The state is recorded last: an interrupted run is simply done again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import shutil
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import render
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import sds_path
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import ensure_directory, write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import published
from ansible_collections.kyma.mtls.plugins.module_utils._local import environment as environments
from ansible_collections.kyma.mtls.plugins.module_utils._local import plan, preflight, workloads
from ansible_collections.kyma.mtls.plugins.module_utils._local.admin import Admin
from ansible_collections.kyma.mtls.plugins.module_utils._local.locking import lock
from ansible_collections.kyma.mtls.plugins.module_utils._local.mesh import MeshStore
from ansible_collections.kyma.mtls.plugins.module_utils._local.store import AppliedState, ObjectStore
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor import Supervisor
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor_files import Program

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout

ENVOY = preflight.ENVOY
# How long Envoy serves what came by a listener before it was changed.
DRAIN_SECONDS = 5
FLUSH_INTERVAL = "--file-flush-interval-msec"
# Dependencies first; the listener, which names all of them, last.
WRITE_ORDER = ("sds/", "cds/", "rds/", "lds/", "bootstrap.json")


@dataclasses.dataclass(frozen=True)
class LocalResult:
    """What was, or would be, done."""

    changed: bool
    actions: tuple[str, ...]
    differences: t.Mapping[str, tuple[t.Any, t.Any]]
    pending: tuple[str, ...]
    addresses: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class LocalPlatform:
    """Envoy and the workloads of one runtime."""

    def __init__(self, layout: RuntimeLayout) -> None:
        self.layout = layout
        self.environment = environments.Environment(path=layout.environment, records=layout.installed)
        self.supervisor = Supervisor(layout=layout, python=self.environment.python)
        self.store = ObjectStore(layout.objects)
        self.admin = Admin(socket=layout.admin_socket, log=layout.logs / f"{ENVOY}.log")
        self.mesh = MeshStore(layout.mesh)

    def apply(self, request: plan.LocalRequest, *, check_only: bool) -> LocalResult:
        """Bring the platform to ``request``; with ``check_only`` say what that would change.

        Raises MtlsError when it is refused or does not come up; the platform is then as it was.
        """
        if check_only and not self.layout.root.exists():
            return self._step(request, check_only=True)
        with self._locked(check_only=check_only):
            return self._step(request, check_only=check_only)

    @contextlib.contextmanager
    def _locked(self, *, check_only: bool) -> t.Iterator[None]:
        """Keep two runs on one runtime apart."""
        if check_only:
            yield
            return
        self.layout.make()
        with lock(self.layout.apply_lock):
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove what a run that was killed left half-written: it may be a key."""
        for directory in (self.layout.envoy, self.layout.mesh, self.layout.objects):
            for path in directory.rglob(".*.json.*"):
                path.unlink(missing_ok=True)
        for path in self.layout.scratch.iterdir():
            shutil.rmtree(path, ignore_errors=True)

    def _step(self, request: plan.LocalRequest, *, check_only: bool) -> LocalResult:
        now = datetime.datetime.now(tz=datetime.UTC)
        before = self.store.load()
        desired = plan.desired(request, current=before, layout=self.layout, predict=check_only, now=now)
        compared = self._compare(desired, before, request=request, check_only=check_only)
        desired = dataclasses.replace(desired, warnings=(*desired.warnings, *compared))
        differences = plan.differences(before, desired.state)
        installs = [workload for workload in desired.workloads() if not self.environment.has(workload.packages)]
        actions = [f"install {', '.join(workload.packages.summary)}" for workload in installs]
        address = desired.configuration.settings.address
        preflight.refuse_taken_ports(self.layout, self.admin, tcp_ports(desired), address=address)
        if check_only and (not self.environment.recorded(ENVOY) or desired.pending or installs):
            # Without Envoy, or without the files that the roles before this one would make, there is no more to see.
            return self._outcome(desired, actions=actions or sorted(differences), differences=differences)
        for workload in installs:
            self.environment.install(workload.packages)
        mesh = self.mesh.renewed(desired.configuration, now=now)
        files = self._files(desired, self.mesh.documents(desired.configuration, mesh))
        changed_files = self._changed(files)
        programs = self._programs(desired)
        differing = self.supervisor.programs_differ(programs)
        actions += [f"write {name}" for name in changed_files] + [f"run {name}" for name in differing]
        versions = self._versions(files)
        if not actions and not self.admin.runs(versions):
            actions.append("have Envoy load its files")
        if not check_only and actions:
            self._validate(desired, files, changed_files)
            self.mesh.save(mesh)
            self._carry_out(desired, files, changed_files, programs, versions)
        if not check_only and (actions or differences):
            self.store.save(desired.state)
        return self._outcome(desired, actions=actions, differences=differences)

    @staticmethod
    def _outcome(
        desired: plan.DesiredState, *, actions: t.Sequence[str], differences: t.Mapping[str, tuple[t.Any, t.Any]]
    ) -> LocalResult:
        settings = desired.configuration.settings
        return LocalResult(
            changed=bool(actions or differences),
            actions=tuple(actions),
            differences=differences,
            pending=desired.pending,
            warnings=desired.warnings,
            addresses=tuple(f"{settings.address}:{port}" for port in sorted(tcp_ports(desired))),
        )

    def _compare(
        self, desired: plan.DesiredState, before: AppliedState, *, request: plan.LocalRequest, check_only: bool
    ) -> list[str]:
        """Look at the client CAs that Envoy has before anything is replaced, and return what has to be said about it.

        Raises MtlsError when a revocation would be lost.
        """
        warnings = []
        for credential in desired.configuration.credentials:
            name = plan.secret_name_for(credential, state=desired.state)
            secret = desired.secrets.get(name or "")
            if credential.kind == "certificate" or secret is None:
                continue
            current = plan.secret_in(self._document(credential.path), label=secret.label)
            if current is None and secret.replaces:
                current = plan.secret_in(self._document(sds_path(secret.replaces)), label=secret.label)
            warnings += published.refuse_older(current, secret, accept=request.accept_older_crl)
            if published.missing_crl(current, secret) and before.secrets.get(secret.label, {}).get("crls"):
                warnings.append(
                    f"{secret.label}: somebody else had removed the revocation list from {credential.path}: REVOKED "
                    f"CLIENTS GOT IN. {'It would be' if check_only else 'It was'} put back."
                )
        return warnings

    def _document(self, name: str) -> t.Any:
        """Return what Envoy's file ``name`` holds, None when it cannot be read."""
        try:
            return json.loads((self.layout.envoy / name).read_bytes())
        except (OSError, ValueError):
            return None

    def _files(self, desired: plan.DesiredState, mesh: t.Mapping[str, t.Any]) -> dict[str, bytes]:
        """Return everything that belongs below envoy/: relative path -> content."""
        documents = dict(render.files(desired.configuration))
        documents.update(plan.gateway_files(desired))
        documents.update(mesh)
        files = {name: plan.file_bytes(document, name=name) for name, document in documents.items()}
        for credential in desired.configuration.credentials:
            if credential.path not in files:
                # Brought by an earlier call: Envoy's own file is its only copy here.
                try:
                    files[credential.path] = (self.layout.envoy / credential.path).read_bytes()
                except OSError as exc:
                    raise MtlsError(
                        f"The secret file of {credential.name} in {self.layout.envoy} is gone ({exc.strerror}). "
                        "Apply its Secret again (role gateway)."
                    ) from exc
        return files

    def _changed(self, files: t.Mapping[str, bytes]) -> list[str]:
        """Return the files to be written or removed, in that order."""
        order = {prefix: index for index, prefix in enumerate(WRITE_ORDER)}
        changed = [name for name, data in files.items() if not same(self.layout.envoy / name, data)]
        changed.sort(key=lambda name: (next(order[prefix] for prefix in WRITE_ORDER if name.startswith(prefix)), name))
        present = {str(path.relative_to(self.layout.envoy)) for path in self.layout.envoy.rglob("*.json")}
        return changed + sorted(present - set(files))

    def _programs(self, desired: plan.DesiredState) -> list[Program]:
        command = (
            str(self.environment.program(ENVOY)),
            *("--config-path", str(self.layout.envoy / "bootstrap.json")),
            # Envoy's shared memory is one for the whole machine; ours must not meet another gateway's.
            "--disable-hot-restart",
            *("--concurrency", "2"),
            # A Gateway that requires certificates from now on must not keep serving earlier connections.
            *("--drain-time-s", str(DRAIN_SECONDS)),
            *("--drain-strategy", "immediate"),
            *("--log-level", "warning"),
            *(FLUSH_INTERVAL, "100"),
        )
        envoy = Program(
            name=ENVOY,
            command=command,
            packages=self.environment.recorded(ENVOY),
            output_log="access",
            # A line of the access log that comes later does no harm; a gateway that is away for a second does.
            waiting_options=(FLUSH_INTERVAL,),
        )
        others = [
            workload.program(layout=self.layout, environment=self.environment) for workload in desired.workloads()
        ]
        return [envoy, *others]

    @staticmethod
    def _versions(files: t.Mapping[str, bytes]) -> dict[str, str]:
        versions = {}
        for name, data in files.items():
            document = json.loads(data)
            if "version_info" in document:
                versions[document["version_info"]] = name
        return versions

    def _validate(self, desired: plan.DesiredState, files: t.Mapping[str, bytes], changed: t.Sequence[str]) -> None:
        """Have Envoy itself check a static rendering of everything, secrets included.

        Raises MtlsError with Envoy's message when it refuses.
        """
        if not any(name in files for name in changed):
            return
        credentials = (*desired.configuration.credentials, *desired.configuration.mesh_credentials)
        secrets = {credential.resource: json.loads(files[credential.path]) for credential in credentials}
        rendering = json.dumps(render.static_bootstrap(desired.configuration, secrets)).encode()
        ensure_directory(self.layout.scratch)
        with tempfile.TemporaryDirectory(dir=self.layout.scratch) as directory:
            path = Path(directory) / "validate.json"
            write_atomic(path, rendering, mode=0o600)
            command = [str(self.environment.program(ENVOY)), "--mode", "validate", "--config-path", str(path)]
            try:
                environments.run([*command, "--log-level", "error", "--disable-hot-restart"], what="envoy", advice="")
            except MtlsError as exc:
                raise MtlsError(f"Envoy refuses the configuration made of these objects: {envoy_message(exc)}") from exc

    def _carry_out(
        self,
        desired: plan.DesiredState,
        files: t.Mapping[str, bytes],
        changed: t.Sequence[str],
        programs: t.Sequence[Program],
        versions: t.Mapping[str, str],
    ) -> None:
        restart = "bootstrap.json" in changed and (self.layout.envoy / "bootstrap.json").exists()
        log_offset = self.admin.log_size()
        programs_before = self.supervisor.configured()
        before: dict[str, bytes | None] = {}
        try:
            for name in changed:
                before[name] = self._replace(name, files.get(name))
            self.supervisor.apply(programs)
            if restart:
                self.supervisor.restart(ENVOY)
            elif not changed and not self.admin.runs(versions):
                # The files are right and Envoy has not noticed (its watch was lost): only a new process reads them.
                self.supervisor.restart(ENVOY)
            for workload in desired.workloads():
                deployment = desired.state.objects[f"Deployment_{workload.deployment.replace('/', '_')}"]
                workloads.wait_for_ready(workload, deployment, layout=self.layout)
            self.admin.wait_for(versions, log_offset=log_offset)
            if _changes_sidecars(before.get(render.LISTENERS), files[render.LISTENERS]):
                # Tokens and the identity log are theirs, and kept connections go through the former ones until they are
                # drained.
                time.sleep(DRAIN_SECONDS + 0.5)
        except MtlsError:
            # What failed first is what is reported.
            with contextlib.suppress(MtlsError):
                for name, data in before.items():
                    self._replace(name, data)
                self.supervisor.replace(programs_before)
                if restart:
                    self.supervisor.restart(ENVOY)
            raise

    def _replace(self, name: str, data: bytes | None) -> bytes | None:
        """Give one file new content (None: remove it) and return its old content (None: there was no file)."""
        path = self.layout.envoy / name
        old = path.read_bytes() if path.exists() else None
        if data is not None:
            ensure_directory(path.parent)
            write_atomic(path, data, mode=0o600)
        elif old is not None:
            path.unlink()
        return old


def _changes_sidecars(before: bytes | None, after: bytes) -> bool:
    """Whether listeners of workloads that run already are others now."""
    old, new = _sidecars(before or b""), _sidecars(after)
    return any(old[name] != new[name] for name in old.keys() & new.keys())


def _sidecars(listeners: bytes) -> dict[str, t.Any]:
    """Return the listeners of workloads by name; none of a file that somebody damaged."""
    try:
        found = json.loads(listeners)["resources"]
        return {listener["name"]: listener for listener in found if "pipe" in listener["address"]}
    except (ValueError, KeyError, TypeError):
        return {}


def tcp_ports(desired: plan.DesiredState) -> set[int]:
    """Return the local TCP ports that the configuration listens on."""
    found = set()
    for listener in desired.configuration.listeners:
        address = listener["address"].get("socket_address")
        if address:
            found.add(int(address["port_value"]))
    return found


def same(path: Path, data: bytes) -> bool:
    """Whether the file holds exactly ``data``, and nobody else may read it."""
    try:
        return path.read_bytes() == data and not path.stat().st_mode & 0o077
    except OSError:
        return False


def envoy_message(exc: MtlsError) -> str:
    """Return the line in which Envoy's validator says what it does not like."""
    lines = [line for line in str(exc).splitlines() if "error" in line.lower() or "unable" in line.lower()]
    return lines[-1].strip() if lines else str(exc)
