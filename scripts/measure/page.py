"""Measure the page of `fst web` in Chromium; prints Markdown tables.

    fst web -o site/
    python scripts/measure/page.py site/ [--style NAME] [--runs 3] [--axe axe.min.js]

Bytes are those that a first visitor loads until the first picture is painted, as they are and with
gzip, which many servers apply. Frames go the camera's way, from a bitmap to a bitmap, by
WebAssembly at a given size. `--axe` names a file of axe-core (`npm pack axe-core`), which then
looks for barriers, in light and dark, on a wide and a narrow page. It needs playwright.
"""

import argparse
import gzip
import json
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from fst.report import table

SIZES = ((320, 240), (640, 480))
FRAMES = 12
PAGES = ((390, 844, "light"), (390, 844, "dark"), (1440, 900, "light"), (1440, 900, "dark"))
TIMEOUT_MS = 300_000
IN_PAINTING = """async ([style, width, height, frames]) => {
    const worker = new Worker("worker.js", { type: "module" });
    const ask = (kind, question, bitmaps = []) => new Promise((resolve, reject) => {
        worker.onmessage = ({ data: { id, answer, problem } }) => {
            if (problem) reject(new Error(problem));
            else if (id) resolve(answer);
        };
        worker.postMessage({ id: 1, kind, ...question }, bitmaps);
    });
    const site = await (await fetch("site.json")).json();
    const { planOf, stylesOf } = await import("./styles.js");
    const plan = planOf(site, stylesOf(site).find(({ name }) => name === style));
    const look = { strength: 1, keepColours: false, strokes: 1 };
    await ask("open", { site });
    const photograph = await (await fetch(site.examples[0])).blob();
    const times = [];
    for (let frame = 0; frame < frames; frame++) {
        const started = performance.now();
        const bitmap = await createImageBitmap(
            photograph, { resizeWidth: width, resizeHeight: height });
        const { bitmap: painted } = await ask("frame", { bitmap, style: plan, look }, [bitmap]);
        painted.close();
        times.push(performance.now() - started);
    }
    worker.terminate();
    return times.slice(2);
}"""


class _Counting(SimpleHTTPRequestHandler):
    """Sends files, and notes which."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}
    sent: list[Path] = []

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Note the file that is sent."""
        self.sent.append(Path(source.name))
        super().copyfile(source, outputfile)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(site: Path) -> Iterator[str]:
    """Serve a site on 127.0.0.1; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Counting, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def painted(page: Page, address: str) -> float:
    """Return the seconds until the page has painted its first picture."""
    started = time.perf_counter()
    page.goto(address)
    expect(page.locator("#after")).to_be_visible(timeout=TIMEOUT_MS)
    return time.perf_counter() - started


def visits(browser: Browser, address: str, runs: int) -> Iterator[tuple[str, str]]:
    """Yield what first visits and second ones cost."""
    first, second = [], []
    for _ in range(runs):
        _Counting.sent.clear()
        context = browser.new_context()
        page = context.new_page()
        first.append(painted(page, address))
        sent = list(_Counting.sent)
        second.append(painted(page, address))
        engine = page.locator("#engine").inner_text()
        context.close()
    contents = [file.read_bytes() for file in sent]
    small = sum(len(gzip.compress(content, 6)) for content in contents)
    yield "first visit, files", str(len(contents))
    yield "first visit, bytes", f"{sum(map(len, contents)) / 1e6:.2f} MB"
    yield "first visit, bytes with gzip", f"{small / 1e6:.2f} MB"
    yield "time to the first picture", f"{statistics.median(first):.1f} s"
    yield "the same at the second visit", f"{statistics.median(second):.1f} s"
    yield "engine", engine


def rates(browser: Browser, address: str, style: str) -> Iterator[tuple[str, str]]:
    """Yield frames per second at each size."""
    page = browser.new_page()
    painted(page, address)
    for width, height in SIZES:
        times = page.evaluate(IN_PAINTING, [style, width, height, FRAMES])
        typical = statistics.median(times)
        rate = f"{1000 / typical:.1f} fps ({typical:.0f} ms, fastest {min(times):.0f} ms)"
        yield f"{style}, {width}x{height}", rate
    page.close()


def barriers(browser: Browser, address: str, axe: Path) -> Iterator[tuple[str, str]]:
    """Yield what axe-core finds on each kind of page."""
    for width, height, scheme in PAGES:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        page = context.new_page()
        painted(page, address)
        page.wait_for_timeout(1500)  # the first painting has been unveiled
        page.evaluate(axe.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")["violations"]
        said = [f"{each['impact']}: {each['id']} ({len(each['nodes'])})" for each in found]
        yield f"{width}x{height}, {scheme}", ", ".join(said) or "nothing"
        context.close()


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--style", help="whose frames are timed; default: the first of one style")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--axe", type=Path)
    given = parser.parse_args()
    models = json.loads((given.site / "site.json").read_text(encoding="utf-8"))["models"]
    style = given.style or next(each["name"] for each in models if "styles" not in each)
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    with serving(given.site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        rows = [*visits(browser, address, given.runs), *rates(browser, address, style)]
        print("\n".join(table(["what", "figure"], rows)))
        if given.axe:
            found = barriers(browser, address, given.axe)
            print("\n".join(["", *table(["page", "axe-core"], found)]))
        browser.close()


if __name__ == "__main__":
    main()
