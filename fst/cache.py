"""Where downloads and compiled networks are kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_dir() -> Path:
    """Return the folder for downloads: `FST_CACHE`, or `fst` in the user's cache folder."""
    return Path(os.environ.get("FST_CACHE") or user_cache_path("fst", appauthor=False))


def keep_compiled() -> None:
    """Have torch keep compiled code in the cache folder instead of the temporary folder.

    To be called before torch's compiler is imported, which reads the environment then.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "compiled"))
