# SPDX-License-Identifier: Apache-2.0
"""The seeds that a script makes are what it makes."""

import os
import subprocess

from node_lab import ROOT


def test_frame_seeds():
    done = subprocess.run([os.path.join(ROOT, "fuzz/frame-seeds")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
