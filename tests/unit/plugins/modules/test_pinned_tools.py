# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tools of a release that is served on loopback."""

from __future__ import annotations

import functools
import hashlib
import http.server
import stat
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.install import (
    Platform,
    Tool,
    find_checksum,
    install,
    this_platform,
)
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import Host, Result

CONTENT = b"#!/bin/sh\necho a tool\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ALL = dict.fromkeys(("linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"), SHA256)


class Release(t.NamedTuple):
    files: Path
    url: str
    asked: list[str]
    host: Host

    @property
    def directory(self) -> Path:
        return self.host.home / "bin"

    def run(self, *, check: bool = False, **tool: t.Any) -> Result:
        whole = {"name": "k3d", "url": f"{self.url}/v1/k3d-{{os}}-{{arch}}", "sha256": ALL, **tool}
        return self.host.run("pinned_tools", check=check, name=None, directory=str(self.directory), tools=[whole])


@pytest.fixture
def release(tmp_path):
    files = tmp_path / "release"
    (files / "v1").mkdir(parents=True)
    names = [f"k3d-{platform}" for platform in ALL]
    for name in names:
        (files / "v1" / name).write_bytes(CONTENT)
    lines = [f"{SHA256}  _dist/{name}\n" for name in names] + [f"{'0' * 64}  _dist/k3d-windows-amd64.exe\n"]
    (files / "v1" / "checksums.txt").write_text("".join(lines))
    (files / "v1" / "alone.sha256").write_text(SHA256)
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *arguments: object) -> None:
            asked.append(str(arguments[0]).split()[1])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=files)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Release(files, f"http://127.0.0.1:{server.server_address[1]}", asked, Host(tmp_path))
        server.shutdown()


def test_a_tool_is_installed_once_and_not_fetched_again(release):
    assert release.run(check=True)["installed"] == ["k3d"]
    assert not release.directory.exists()
    assert release.asked == []
    result = release.run()
    assert (result["changed"], result["installed"]) == (True, ["k3d"])
    assert (release.directory / "k3d").read_bytes() == CONTENT
    assert stat.S_IMODE((release.directory / "k3d").stat().st_mode) == 0o755
    assert len(release.asked) == 1
    assert release.run()["changed"] is False
    assert release.run(check=True)["changed"] is False
    assert len(release.asked) == 1


def test_a_changed_or_unusable_file_is_put_right(release):
    release.run()
    for damage in (lambda path: path.write_bytes(b"older"), lambda path: path.chmod(0o644)):
        damage(release.directory / "k3d")
        assert release.run()["changed"] is True
        assert release.run()["changed"] is False


def test_another_digest_is_refused_and_the_old_tool_stays(release):
    release.directory.mkdir()
    (release.directory / "k3d").write_bytes(b"older")
    result = release.run(sha256=dict.fromkeys(ALL, "f" * 64))
    assert f"has the SHA-256 {SHA256}, but {'f' * 64} is expected. It was not installed" in result["msg"]
    assert (release.directory / "k3d").read_bytes() == b"older"


@pytest.mark.parametrize("name", ["checksums.txt", "alone.sha256"])
def test_without_a_given_digest_the_releases_own_is_used_with_a_warning(release, name):
    options = {"sha256": {}, "checksums_url": f"{release.url}/v1/{name}"}
    assert release.run(check=True, **options)["changed"] is True
    result = release.run(**options)
    assert result["changed"] is True
    assert "verified by the checksums of its own release only" in result.words
    assert release.run(**options)["changed"] is False
    assert release.run(check=True, **options)["changed"] is False


def test_a_release_that_is_not_what_its_checksums_say_is_refused(release):
    for path in (release.files / "v1").glob("k3d-*"):
        path.write_bytes(b"damaged")
    assert "It was not installed" in release.run(sha256={}, checksums_url=f"{release.url}/v1/checksums.txt")["msg"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sha256": {}}, "There is no SHA-256 of k3d"),
        ({"sha256": {}, "checksums_url": "{url}/v1/k3d-linux-amd64"}, "has no SHA-256 of k3d-"),
        ({"sha256": {}, "checksums_url": "{url}/v2/checksums.txt"}, "cannot be fetched: "),
        ({"url": "{url}/v2/k3d"}, "/v2/k3d cannot be fetched"),
        ({"url": f"http://127.0.0.1:{free_port()}/k3d"}, "Connection refused"),
        ({"sha256": dict.fromkeys(ALL, "1234")}, "not 64 hexadecimal digits"),
    ],
)
def test_what_cannot_be_verified_is_not_installed(release, options, words):
    filled = {
        key: value.replace("{url}", release.url) if isinstance(value, str) else value for key, value in options.items()
    }
    assert words in release.run(**filled)["msg"]
    assert not release.directory.exists()


def test_platforms_are_named_as_in_releases():
    assert str(this_platform("Linux", "x86_64")) == "linux-amd64"
    assert str(this_platform("Linux", "aarch64")) == "linux-arm64"
    assert str(this_platform("Darwin", "arm64")) == "darwin-arm64"
    for system, machine in (("Linux", "riscv64"), ("FreeBSD", "amd64")):
        with pytest.raises(MtlsError, match="released for Linux and macOS"):
            this_platform(system, machine)


def test_checksums_are_found_whatever_stands_before_the_name():
    digest = "a" * 64
    assert find_checksum(f"{digest}  _dist/k3d-linux-amd64\n", "k3d-linux-amd64") == digest
    assert find_checksum(f"{digest} *k3d-linux-amd64\n", "k3d-linux-amd64") == digest
    assert find_checksum(f"{digest}  k3d-linux-amd64.exe\nnonsense\n", "k3d-linux-amd64") == ""
    assert find_checksum("nonsense  k3d-linux-amd64\n", "k3d-linux-amd64") == ""
    assert find_checksum(f"{digest.upper()}\n", "k3d-linux-amd64") == digest


def test_a_tool_of_another_architecture_is_asked_for_by_its_name(tmp_path):
    asked = []

    def fetch(url):
        asked.append(url)
        return CONTENT

    tool = Tool("kubectl", "https://example.org/bin/{os}/{arch}/kubectl", {"darwin-arm64": SHA256})
    assert install(tmp_path, tool, platform=Platform("darwin", "arm64"), fetch=fetch, check_only=False)
    assert asked == ["https://example.org/bin/darwin/arm64/kubectl"]
