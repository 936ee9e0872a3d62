#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3d_cluster
short_description: Manage Kubernetes clusters in Docker with k3d
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Creates, starts, stops and deletes a k3d cluster, for development and tests.
  - Never changes an existing cluster in place. A cluster that differs from the options is refused, unless
    O(recreate=true).
  - A failed or interrupted creation leaves nothing behind, or is cleaned up by the next run.
  - The cluster's token, which k3d shows in its lists, is never part of this module's output.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The facts of the cluster before and after, without anything secret.
  idempotent:
    support: full
options:
  name:
    description: Name of the cluster. Its containers, and its context in a kubeconfig, are called C(k3d-NAME).
    type: str
    required: true
  state:
    description:
      - V(present) creates and starts a missing cluster, and leaves an existing one running or stopped.
      - V(started) creates or starts the cluster.
      - V(stopped) stops all nodes of the cluster, and creates nothing.
      - V(absent) deletes the cluster, with all that runs in it, and the file O(kubeconfig).
    type: str
    choices: [present, absent, started, stopped]
    default: present
  config:
    description:
      - k3d's configuration (kind C(Simple) of C(k3d.io/v1alpha5)), written to a file that only k3d reads.
      - Dollar signs are taken literally, other than in a file that k3d is given by hand.
      - C(options.kubeconfig) is V(false) in both its parts unless given, so that no kubeconfig but O(kubeconfig) is
        touched.
    type: dict
    suboptions:
      apiVersion:
        description: V(k3d.io/v1alpha5); may be left out.
        type: str
      kind:
        description: V(Simple); may be left out.
        type: str
      metadata:
        description: May be left out; a C(name) in it must be O(name).
        type: dict
      servers:
        description: See O(servers).
        type: int
      agents:
        description: See O(agents).
        type: int
      kubeAPI:
        description: Where the API server is reached, C(host), C(hostIP) and C(hostPort).
        type: dict
      image:
        description: See O(image).
        type: str
      network:
        description: Existing Docker network to join.
        type: str
      subnet:
        description: Subnet of a new network.
        type: str
      token:
        description: The cluster's token. k3d makes a random one by default.
        type: str
      volumes:
        description: Volumes, each with C(volume) and C(nodeFilters).
        type: list
        elements: dict
      ports:
        description: See O(ports).
        type: list
        elements: raw
      options:
        description: Options in groups C(k3d), C(k3s), C(kubeconfig) and C(runtime).
        type: dict
      env:
        description: Environment variables of nodes, each with C(envVar) and C(nodeFilters).
        type: list
        elements: dict
      registries: &registries
        description: Registries to create, to use, or to mirror others.
        type: dict
        suboptions:
          use:
            description: Registries of k3d that exist, as C(NAME:PORT).
            type: list
            elements: str
          create:
            description: A registry to create along with the cluster.
            type: dict
            suboptions:
              name:
                description: Its name.
                type: str
              host:
                description: Address of the host that it listens on.
                type: str
              hostPort:
                description: Port of the host that it listens on.
                type: str
              image:
                description: Its image.
                type: str
              proxy:
                description: Registry that it is a pull-through cache of.
                type: dict
                suboptions:
                  remoteURL:
                    description: Address of that registry.
                    type: str
                  username:
                    description: User there.
                    type: str
                  password:
                    description: Password there.
                    type: str
              volumes:
                description: Volumes of the registry.
                type: list
                elements: str
              enforcePortMatch:
                description: Whether it listens on the same port inside the network.
                type: bool
          config:
            description:
              - Text or path of a C(registries.yaml) of k3s, in which mirrors are named. It may hold passwords, so no
                output shows it.
            type: str
      hostAliases:
        description: Names for addresses, each with C(ip) and C(hostnames).
        type: list
        elements: dict
      files:
        description: Files to put into nodes, each with C(source), C(destination) and C(nodeFilters).
        type: list
        elements: dict
  image:
    description:
      - k3s image of the nodes, such as V(rancher/k3s:v1.33.7-k3s1). Without one k3d takes its own default, which
        depends on its version.
    type: str
  servers:
    description:
      - Number of server nodes. A new cluster has one by default; without this option the number is not compared.
    type: int
  agents:
    description:
      - Number of agent nodes. A new cluster has none by default; without this option the number is not compared.
    type: int
  ports:
    description:
      - Ports of the host that lead to ports of nodes, each as on k3d's command line
        (C([ADDRESS:][HOSTPORT:]PORT[/PROTOCOL][@NODEFILTER])) or as in its configuration (a mapping with C(port) and
        C(nodeFilters)). Quote them, as YAML reads C(80:80) as a number.
      - Additional ports of an existing cluster are left alone.
      - A port that is open on all addresses of the host satisfies a request for one address, with a warning.
    type: list
    elements: raw
  k3s_args:
    description:
      - Arguments for k3s, each as on k3d's command line (V(--disable=traefik@server:*)) or as in its configuration
        (a mapping with C(arg) and C(nodeFilters)). Without this option they are not compared; an empty list means that
        there are none.
    type: list
    elements: raw
  registries: *registries
  kubeconfig:
    description:
      - File for the kubeconfig of this cluster alone, readable by its owner only. A missing directory is
        created.
      - A file that holds anything else is refused and not overwritten.
      - It is written whenever the cluster runs, and removed by O(state=absent).
    type: path
  wait:
    description: Whether to wait until k3s is up, not only its containers.
    type: bool
    default: true
  timeout:
    description: Seconds that k3d may take to create or start the cluster.
    type: int
    default: 300
  recreate:
    description:
      - Whether to delete a cluster that differs from the options, with all that runs in it, and to create it again.
      - Without it, such a cluster is refused.
    type: bool
    default: false
  check_host:
    description:
      - Whether to check first that this host can run the cluster with Kyma's modules. Checked are Docker and its
        version, the k3s image and its version (which Kyma's Istio module must recognise), the cgroup version, the
        ports, and the kernel's inotify limits. Needs O(image).
      - All problems are reported together, before anything is done. Low limits are only a warning. An existing cluster
        may keep its ports.
    type: bool
    default: false
    version_added: 0.2.0
  executable:
    description: Name or path of k3d.
    type: str
    default: k3d
  directories:
    description: Directories to search for k3d before the PATH.
    type: list
    elements: path
    default: []
requirements:
  - k3d >= 5.8.3
  - Docker >= 20.10.5
notes:
  - k3d does not report a cluster's image name and most of its configuration. So the first server of a new cluster gets
    an environment variable C(KYMA_MTLS_K3D) with the image's name and digests of the rest of the configuration. For a
    cluster that was created otherwise, Docker knows the image; what is unknown is not compared, with a warning.
seealso:
  - name: k3d
    description: Its documentation, with the format of the configuration.
    link: https://k3d.io/stable/usage/configfile/
"""

EXAMPLES = r"""
- name: Create the cluster of Kyma's tutorial
  kyma.mtls.k3d_cluster:
    name: kyma
    state: started
    image: rancher/k3s:v1.33.7-k3s1
    ports:
      - "80:80@loadbalancer"
      - "443:443@loadbalancer"
    k3s_args:
      - --disable=traefik@server:*
    kubeconfig: ~/.kyma-mtls/kubeconfig
  register: cluster

- name: Create a cluster with agents and less memory from k3d's own configuration
  kyma.mtls.k3d_cluster:
    name: small
    config:
      image: rancher/k3s:v1.33.7-k3s1
      agents: 2
      kubeAPI:
        hostIP: 127.0.0.1
      options:
        runtime:
          serversMemory: 4g

- name: Stop the cluster
  kyma.mtls.k3d_cluster:
    name: kyma
    state: stopped

- name: Delete the cluster and its kubeconfig
  kyma.mtls.k3d_cluster:
    name: "{{ item }}"
    state: absent
    kubeconfig: "{{ '~/.kyma-mtls/kubeconfig' if item == 'kyma' else omit }}"
  loop: [kyma, small]
"""

RETURN = r"""
actions:
  description: The actions taken, or predicted in check mode, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["create the cluster kyma from rancher/k3s:v1.33.7-k3s1"]
cluster:
  description: The cluster afterwards. In check mode, as far as it can be predicted.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
      sample: kyma
    state:
      description: V(running), V(stopped), V(partly running) or V(absent).
      type: str
      returned: always
      sample: running
    context:
      description: Its context in a kubeconfig.
      type: str
      returned: always
      sample: k3d-kyma
    api_server:
      description: Address of its API server.
      type: str
      returned: when it exists
      sample: https://127.0.0.1:16550
    network:
      description: Its Docker network.
      type: str
      returned: when it exists
      sample: k3d-kyma
    image:
      description: Name of its k3s image, if known.
      type: str
      returned: when it exists
      sample: rancher/k3s:v1.33.7-k3s1
    servers:
      description: Number of server nodes.
      type: int
      returned: when it exists
      sample: 1
    servers_running:
      description: Number of running server nodes.
      type: int
      returned: when it exists
      sample: 1
    agents:
      description: Number of agent nodes.
      type: int
      returned: when it exists
      sample: 0
    agents_running:
      description: Number of running agent nodes.
      type: int
      returned: when it exists
      sample: 0
    has_load_balancer:
      description: Whether k3d's load balancer stands before it.
      type: bool
      returned: when it exists
      sample: true
    nodes:
      description: Names of its containers.
      type: list
      elements: str
      returned: when it exists
      sample: [k3d-kyma-server-0, k3d-kyma-serverlb]
    ports:
      description: Host ports that are mapped to it, without that of the API server.
      type: list
      elements: str
      returned: when it exists
      sample: ["80:80", "443:443"]
    k3s_args:
      description: Arguments of k3s by node, without those of k3d itself.
      type: dict
      returned: when it exists
      sample: {"k3d-kyma-server-0": ["--disable=traefik"]}
    made_by_this_collection:
      description: Whether this module created it.
      type: bool
      returned: when it exists
      sample: true
docker_version:
  description: Version of Docker.
  returned: with O(check_host)
  type: str
  sample: 28.5.2
cgroup_version:
  description: Version of Linux control groups that Docker uses.
  returned: with O(check_host)
  type: str
  sample: "2"
k3s_version:
  description: Version of Kubernetes in the image.
  returned: with O(check_host)
  type: str
  sample: 1.33.7
problems:
  description: The problems found, one sentence each.
  returned: when O(check_host) finds something
  type: list
  elements: str
  sample: ["the port 443 is taken on this host"]
kubeconfig:
  description: Path of the kubeconfig.
  returned: when O(kubeconfig) is given
  type: str
  sample: /home/me/.kyma-mtls/kubeconfig
k3d_version:
  description: Version of k3d.
  returned: success
  type: str
  sample: 5.9.0
"""

from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._k3d import cli, config, lifecycle
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure

PROXY = {"remoteURL": {"type": "str"}, "username": {"type": "str"}, "password": {"type": "str", "no_log": True}}
NEW_REGISTRY = {
    "name": {"type": "str"},
    "host": {"type": "str"},
    "hostPort": {"type": "str"},
    "image": {"type": "str"},
    "proxy": {"type": "dict", "options": PROXY},
    "volumes": {"type": "list", "elements": "str"},
    "enforcePortMatch": {"type": "bool"},
}
REGISTRIES = {
    "type": "dict",
    "options": {
        "use": {"type": "list", "elements": "str"},
        "create": {"type": "dict", "options": NEW_REGISTRY},
        "config": {"type": "str", "no_log": True},
    },
}
CONFIG = {
    "apiVersion": {"type": "str"},
    "kind": {"type": "str"},
    "metadata": {"type": "dict"},
    "servers": {"type": "int"},
    "agents": {"type": "int"},
    "kubeAPI": {"type": "dict"},
    "image": {"type": "str"},
    "network": {"type": "str"},
    "subnet": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "volumes": {"type": "list", "elements": "dict"},
    "ports": {"type": "list", "elements": "raw"},
    "options": {"type": "dict"},
    "env": {"type": "list", "elements": "dict"},
    "registries": REGISTRIES,
    "hostAliases": {"type": "list", "elements": "dict"},
    "files": {"type": "list", "elements": "dict"},
}


def main() -> None:
    module = Module(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "started", "stopped"], "default": "present"},
            "config": {"type": "dict", "options": CONFIG},
            "image": {"type": "str"},
            "servers": {"type": "int"},
            "agents": {"type": "int"},
            "ports": {"type": "list", "elements": "raw"},
            "k3s_args": {"type": "list", "elements": "raw"},
            "registries": REGISTRIES,
            "kubeconfig": {"type": "path"},
            "wait": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 300},
            "recreate": {"type": "bool", "default": False},
            "check_host": {"type": "bool", "default": False},
            "executable": {"type": "str", "default": "k3d"},
            "directories": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    described = ("name", "config", "image", "servers", "agents", "ports", "k3s_args", "registries", "wait")
    with clean_failure(module):
        spec = config.read(**{key: given[key] for key in described}, timeout_seconds=given["timeout"])
        if given["check_host"] and not spec.image:
            module.fail_json(msg="check_host needs an image: k3d's default depends on its version.")
        result = lifecycle.ensure(
            lambda: lifecycle.K3d(
                *cli.find_k3d(given["executable"], directories=given["directories"]),
                timeout_seconds=given["timeout"],
                wait=given["wait"],
                touches_default_kubeconfig=spec.touches_default_kubeconfig,
            ),
            spec,
            state=given["state"],
            recreate=given["recreate"],
            kubeconfig=Path(given["kubeconfig"]) if given["kubeconfig"] else None,
            check_only=module.check_mode,
            check_host=given["check_host"],
        )
        for warning in result.warnings:
            module.warn(warning)
        module.exit_json(**result.returned)


if __name__ == "__main__":
    main()
