"""What several test packages need."""

from __future__ import annotations

import os
from pathlib import Path

# Threads of torch that wait for each other would spin, which takes the cores from whoever else has work on them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parent.parent
