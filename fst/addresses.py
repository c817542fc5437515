"""Addresses of the web: not taken where a file is expected."""

import re
from pathlib import Path

from fst.errors import UserError

_ADDRESS = re.compile(r"(^|[:,=])(https?|ftps?|sftp|s3|gs|file):/", re.IGNORECASE)


def refuse_address(given: str) -> None:
    """Raise UserError if an address is given, also behind a model's name, as in any:https://..."""
    if _ADDRESS.search(given) and not Path(given).exists():
        raise UserError(f"{given} is an address, not a file: download it and give the file's path")
