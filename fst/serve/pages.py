"""The two pages that the server writes itself: plain HTML that loads nothing."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
{body}
</html>
"""


def welcome() -> str:
    """Return the page at `/` of a server without a site."""
    return _PAGE.format(
        title="fst",
        body="<h1>fst</h1>\n<p>This server stylizes pictures: its interface is described in "
        "<a href='docs'>docs</a>. To have a page here, write one with <code>fst web -o site/</code>"
        " and start the server with <code>fst serve --site site/</code>.</p>",
    )


def reference(openapi: dict[str, Any]) -> str:
    """Return an interface's description, in OpenAPI, as a page."""
    title = escape(openapi["info"]["title"])
    lines = [f"<h1>{title}</h1>", f"<p>{escape(openapi['info']['description'])}</p>"]
    lines.append("<p>For programs: <a href='openapi.json'>openapi.json</a></p>")
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            lines.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            lines.append(f"<p>{escape(operation['description'])}</p>")
            fields = [*_parameters(operation), *_form(operation, openapi)]
            if fields:
                rows = "\n".join(f"<dt><code>{name}</code><dd>{about}" for name, about in fields)
                lines.append(f"<dl>\n{rows}\n</dl>")
            answers = operation["responses"].items()
            lines += [f"<p>{code}: {escape(about['description'])}</p>" for code, about in answers]
    return _PAGE.format(title=title, body="\n".join(lines))


def _parameters(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in operation.get("parameters", []):
        yield escape(parameter["name"]), escape(parameter.get("description", ""))


def _form(operation: dict[str, Any], openapi: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = openapi["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        for name, field in schema["properties"].items():
            default = field.get("default")
            about = "" if default in (None, "") else f" Default: {json.dumps(default)}."
            due = " Required." if name in schema["required"] else about
            yield escape(name), escape(field["description"] + due)
