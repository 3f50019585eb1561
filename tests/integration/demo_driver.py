"""``cfseg demo`` with one process where it uses two.

With the address of a server of commands, only the paired training is started as the demo starts it: a process of its
own, which imports nnU-Net, with another for its augmentation.
"""

from __future__ import annotations

import sys
from typing import Any

from fixtures import warm_commands

from nnunetv2_cfseg.demo import settings

settings.PROCESSES = 1

from nnunetv2_cfseg import cli  # noqa: E402
from nnunetv2_cfseg.demo import run, steps  # noqa: E402


class WarmRunner(run.CommandRunner):
    """Lets a server of commands run all but the paired training."""

    def run(self, arguments: Any, *, environment: Any, **keywords: Any) -> None:
        """Run a command."""
        if steps.TRAINER in arguments and arguments[0] == "nnUNetv2_train":
            environment = {**environment, "nnUNet_n_proc_DA": "1"}
        else:
            arguments = ["python", "-I", warm_commands.__file__, ADDRESS, *arguments]
        super().run(arguments, environment=environment, **keywords)


if __name__ == "__main__":
    ADDRESS = sys.argv.pop(1)
    if ADDRESS:
        run.CommandRunner = WarmRunner  # type: ignore[misc]
    sys.exit(cli.main())
