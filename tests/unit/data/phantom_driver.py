"""The command ``cfseg`` with phantoms that are made at once, in the spawned processes too: they run this file again.

``FAKE_PIDS`` names a folder where each process leaves its id, the case's number and how many threads it may use.
``FAKE_DO`` says what befalls which case: a number and a verb.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.data.phantom import files
from nnunetv2_cfseg.data.phantom.case import PhantomCase
from nnunetv2_cfseg.data.phantom.settings import PhantomSettings
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

DEEDS = {
    "fail": lambda index: (_ for _ in ()).throw(ValueError(f"a case must not fail, and {index} does")),
    "die": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "sleep": lambda _: time.sleep(60),
}


def fake_case(settings: PhantomSettings, *, seed: int, index: int) -> PhantomCase:
    """Noise and boxes on a tilted grid; case n shows the classes of the bits of n + 1."""
    if "FAKE_PIDS" in os.environ:
        (Path(os.environ["FAKE_PIDS"]) / f"{os.getpid()}_{index}").write_text(os.environ["OMP_NUM_THREADS"])
    for deed in filter(None, os.environ.get("FAKE_DO", "").split(",")):
        which, verb = deed.split()
        if which in (str(index), "all"):
            DEEDS[verb](index)
    rng = np.random.default_rng([seed, index])
    labels = np.zeros(settings.matrix, np.uint8)
    for value in range(1, 6):
        if (index + 1) >> (value - 1) & 1:
            labels[4:7, 2 * value : 2 * value + 2, 1:9] = value
    return PhantomCase(
        image=rng.normal(40, 300, settings.matrix).astype(np.int16),
        labels=labels,
        geometry=VolumeGeometry(
            settings.matrix, settings.spacing_mm, (-12.5, 30.0, 101.25), (1.0, 0.0, 0.0, 0.0, 0.8, -0.6, 0.0, 0.6, 0.8)
        ),
        provenance={"frequencies": dict(settings.frequencies), "drawn": float(rng.uniform())},
    )


if __name__ in ("__main__", "__mp_main__"):
    files.make_case = fake_case

if __name__ == "__main__":
    sys.exit(cli.main())
