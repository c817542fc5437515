"""Hook of mkdocs: the repository's pictures, which the README shows as well, join the site.

Pages refer to them by their path in the repository, so that they also show there.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PICTURES = Path(__file__).parents[2] / ".github"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures below `.github/` as `pictures/`."""
    for picture in sorted([*PICTURES.rglob("*.jpg"), *PICTURES.rglob("*.png")]):
        name = picture.relative_to(PICTURES).as_posix()
        files.append(File.generated(config, f"pictures/{name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point to the site's copies."""
    return markdown.replace("../.github/", "pictures/")
