# Copyright: The Shoal authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description: Where the controller is. The environment variable E(SHOAL_URL) is used where it is not set.
    type: str
    default: http://127.0.0.1:8080
  token:
    description: Bearer token. The environment variable E(SHOAL_TOKEN) is used where it is not set.
    type: str
  validate_certs:
    description: Whether the certificate of the controller is verified.
    type: bool
    default: true
  ca_path:
    description: File with the roots that the certificate is verified by, in PEM.
    type: path
"""
