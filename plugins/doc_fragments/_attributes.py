# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the modules share.

Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled by the module has not changed in between.
requirements:
  - Python >= 3.11
"""

    INFO_MODULE = r"""
attributes:
  check_mode:
    support: full
    details:
      - This action does not modify state.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
"""

    ACTIONGROUP_MTLS = r"""
attributes:
  action_group:
    description: Use C(group/kyma.mtls.mtls) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - kyma.mtls.mtls
"""

    ACTION_IN_PROCESS = r"""
attributes:
  action:
    description: Has a corresponding action plugin, so that something of it may be executed on the controller.
    support: partial
    details:
      - Where the target is the controller itself, with the same Python, the same user and no C(environment) of the
        task, the module is called in Ansible's own process, which saves starting one.
      - The variable C(kyma_mtls_in_process) decides. With V(auto), the default, that is done where it can be; with
        V(never) the module is always executed as any other.
"""

    ACTION_PROGRESS = r"""
attributes:
  action:
    description: Has a corresponding action plugin, so that something of it may be executed on the controller.
    support: partial
    details:
      - The action plugin executes the module as any other, and shows every 15 seconds what is being waited for.
"""

    ACTIONGROUP_KUBERNETES = r"""
attributes:
  action_group:
    description:
      - Use C(group/kyma.mtls.kubernetes) in C(module_defaults) to set O(kubeconfig) and O(context) for this module and
        the others that ask a cluster, and C(group/kyma.mtls.mtls) for what it shares with all modules of a play.
    support: full
    membership:
      - kyma.mtls.mtls
      - kyma.mtls.kubernetes
"""
