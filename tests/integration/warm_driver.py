"""``cfseg`` in a process of its own, whose commands a server runs."""

from __future__ import annotations

import sys

from fixtures.warm_commands import keep_warm

from nnunetv2_cfseg import cli

if __name__ == "__main__":
    keep_warm(sys.argv.pop(1))
    sys.exit(cli.main())
