"""Property tests say the same in every run; BGAGENT_EXPLORE=1 makes them look elsewhere each time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"bgagent-hypothesis-{os.getuid()}")
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("explore", print_blob=True)
settings.load_profile("explore" if os.environ.get("BGAGENT_EXPLORE") else "same")
