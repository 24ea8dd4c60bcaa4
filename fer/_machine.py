"""Names the machine that figures belong to."""

import os
import platform
from pathlib import Path


def machine() -> dict[str, str | int | None]:
    """Returns platform, Python, processor and number of cores."""
    processor = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].split(":", 1)[1].strip() if names else processor
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": processor,
        "cores": os.cpu_count(),
    }
