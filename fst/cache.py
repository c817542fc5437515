"""Where downloads and compiled networks are kept."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder for downloads: `FST_CACHE`, or `fst` in the user's cache folder."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FST_CACHE") or Path(user_cache) / "fst")
