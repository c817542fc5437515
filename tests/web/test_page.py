"""The page in Chromium: what a person does, and that pictures are those of `fst stylize`."""

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, FLAGS, find_ort, serving
from PIL import Image
from samples import draw_picture

import fst
from fst.stylizing.options import Options

api = pytest.importorskip("playwright.sync_api", reason="pip install 'fst-style-transfer[test]'")
ORT = find_ort()
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and ORT), reason="needs Chromium, and FST_ORT_WEB naming dist/ of onnxruntime-web"
)
PAINTED = re.compile(r"painted at (\d+) × (\d+) in")
TIMEOUT_MS = 120_000
CLIP_SIZE = (160, 120)


@pytest.fixture(scope="module")
def folder(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of tiny models, with the runtime in place of its stub."""
    folder = tmp_path_factory.mktemp("page") / "site"
    shutil.copytree(site, folder)
    listed = json.loads((folder / "site.json").read_text())
    for file in (folder / "ort").iterdir():
        shutil.copyfile(ORT / file.name, file)
        listed["files"][f"ort/{file.name}"] = file.stat().st_size
    (folder / "site.json").write_text(json.dumps(listed))
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["api.Browser"]:
    clip = write_clip(tmp_path_factory.mktemp("clip") / "camera.y4m")
    api.expect.set_options(TIMEOUT_MS)
    with api.sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={clip}"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


@pytest.fixture(scope="module")
def visitor(browser: "api.Browser") -> Iterator["api.BrowserContext"]:
    """One who has been here before: files are cached."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    yield context
    context.close()


@pytest.fixture(scope="module")
def opened(visitor: "api.BrowserContext", address: str) -> Iterator["api.Page"]:
    """One page for many tests: opening it takes a second."""
    page = visitor.new_page()
    errors: list[object] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(address)
    painted(page)
    yield page
    page.close()
    assert not errors


@pytest.fixture
def page(opened: "api.Page") -> "api.Page":
    """A page on which nobody has changed anything but the photograph and the style."""
    opened.locator("#strength").fill("100")
    opened.locator("#strokes").fill("0")
    opened.uncheck("#keep")
    opened.select_option("#second", "")
    painted(opened)
    return opened


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for larger strokes."""
    return draw_picture(tmp_path_factory.mktemp("photo") / "photo.png", 3, 701, 660)


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_picture(tmp_path_factory.mktemp("painting") / "my_cat.png", 11, 150, 130)


def write_clip(path: Path) -> Path:
    """Write a clip for a camera: dark on the left, bright on the right."""
    width, height = CLIP_SIZE
    luma = np.full((height, width), 40, np.uint8)
    luma[:, width // 2 :] = 210
    grey = bytes([128]) * (width * height // 2)
    frame = b"FRAME\n" + luma.tobytes() + grey
    path.write_bytes(b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg\n" % CLIP_SIZE + 30 * frame)
    return path


def painted(page: "api.Page", timeout_ms: float = TIMEOUT_MS) -> None:
    api.expect(page.locator("#status")).to_have_text(PAINTED, timeout=timeout_ms)


def problem(page: "api.Page") -> str:
    """Return what the page says went wrong; it can be closed, and the page is usable."""
    api.expect(page.locator("#problem")).to_be_visible()
    said = page.locator("#problem p").inner_text()
    page.click("#problem button")
    api.expect(page.locator("#problem")).to_be_hidden()
    return said


def open_photo(page: "api.Page", path: Path) -> None:
    page.evaluate("document.getElementById('status').textContent = ''")
    page.set_input_files("#photograph", path)
    painted(page)


def choose(page: "api.Page", style: str) -> None:
    # It lies under its picture.
    page.check(f"input[name=style][value='{style}']", force=True)


def saved(page: "api.Page", format: str = "png") -> Image.Image:
    page.select_option("#format", format)
    with page.expect_download() as download:
        page.click("#save")
    return Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))


def assert_equal(picture: Image.Image, expected: Image.Image, what: str) -> None:
    if expected.mode == "RGB":  # a browser's PNG always has an alpha
        assert picture.mode == "RGB" or picture.getchannel("A").getextrema() == (255, 255)
        picture = picture.convert("RGB")
    one, other = (np.asarray(each).astype(int) for each in (picture, expected))
    assert one.shape == other.shape
    assert other[..., :3].std() > 10, "too flat to tell results apart"
    difference = np.abs(one - other)
    print(f"{what}: largest difference {difference.max()}, mean {difference.mean():.4f} of 255")
    assert difference.max() <= 2


def stylized(model: str | Path, photo: Path, **settings: float | bool) -> Image.Image:
    """Return what `fst stylize` gives."""
    with Image.open(photo) as picture:
        strokes = settings.pop("strokes", Options().strokes_in(picture.height, picture.width))
        return fst.load(model, "cpu", "fp32")(picture, strokes=strokes, **settings)


def record_words(page: "api.Page") -> Callable[[], str]:
    """Return a function that returns all that the page said since."""
    page.evaluate(
        """() => {
            window.said = "";
            window.listening?.disconnect();  // to what an earlier test wanted to know
            const status = document.getElementById("status");
            const note = () => { window.said += status.textContent + "\\n" };
            window.listening = new MutationObserver(note);
            window.listening.observe(status, { childList: true });
        }"""
    )
    return lambda: page.evaluate("window.said")


def test_it_opens_with_the_example_painted(page: "api.Page"):
    assert page.locator("#problem").is_hidden()
    titles = page.locator("#styles .title").all_inner_texts()
    assert len(titles) == 3
    assert page.locator("#styles input:checked").count() == 1
    assert page.locator("#engine").inner_text().startswith("WebAssembly")
    assert page.evaluate("crossOriginIsolated")  # without headers of the server
    shown = page.locator("#after").evaluate("it => [it.width, it.height]")
    assert shown == page.locator("#before").evaluate("it => [it.width, it.height]")


def test_a_saved_picture_is_that_of_the_command(
    page: "api.Page", tiny_half: Path, photo: Path, tmp_path: Path
):
    open_photo(page, photo)
    choose(page, "half")
    assert_equal(saved(page), stylized(tiny_half, photo), "automatic strokes")
    words = record_words(page)
    page.locator("#strength").fill("40")
    page.check("#keep")
    expected = stylized(tiny_half, photo, strength=0.4, keep_colors=True)
    assert_equal(saved(page), expected, "strength, colours kept")
    assert "Painting" not in words()  # at once, without the network
    page.locator("#strength").fill("100")
    page.uncheck("#keep")
    page.locator("#strokes").fill("-1")
    assert_equal(saved(page), stylized(tiny_half, photo, strokes=660 / 512 / 2**0.5), "finer")
    assert "Painting" in words()


def test_a_jpeg_has_the_photograph_s_size(page: "api.Page", photo: Path):
    open_photo(page, photo)
    picture = saved(page, "jpeg")
    assert picture.format == "JPEG"
    assert picture.size == (701, 660)


def test_transparency_stays(page: "api.Page", tiny_half: Path, tmp_path: Path):
    rgba = Image.open(draw_picture(tmp_path / "opaque.png", 5, 120, 90)).convert("RGBA")
    alpha = np.full((90, 120), 255, np.uint8)
    alpha[20:50, 30:80] = 0
    rgba.putalpha(Image.fromarray(alpha))
    rgba.save(tmp_path / "hole.png")
    open_photo(page, tmp_path / "hole.png")
    choose(page, "half")
    picture = saved(page)
    assert np.array_equal(np.asarray(picture)[..., 3], alpha)
    expected = np.asarray(stylized(tiny_half, tmp_path / "hole.png"))
    visible = [np.where(alpha[..., None] > 0, np.asarray(p), 0) for p in (picture, expected)]
    assert_equal(*map(Image.fromarray, visible), "with a hole")


def test_two_styles_blend(page: "api.Page", tiny_any: Path, photo: Path):
    open_photo(page, photo)
    choose(page, "sea")
    page.select_option("#second", "sky")
    page.locator("#share").fill("30")
    expected = stylized(f"{tiny_any}:sea=0.7,sky=0.3", photo)
    assert_equal(saved(page), expected, "blend")
    assert page.locator("#share").get_attribute("aria-valuetext") == "70 % The Sea, 30 % sky"


def test_each_style_is_shown_once_and_painted_by_the_network_that_does_it_best(page: "api.Page"):
    of = {
        "alone": {"name": "sea"},
        "any": {"name": "any", "styles": [{"name": "sea"}, {"name": "sky"}], "painting": "p"},
        "museum": {"name": "museum", "styles": [{"name": "sky"}, {"name": "sea"}]},
    }
    plan = """async ([models, first, second]) => {
        const { planOf, stylesOf } = await import("./styles.js");
        const styles = stylesOf({ models });
        styles.push({ name: "own", painting: true });
        const [one, other] = [first, second].map((name) => styles.find((it) => it.name === name));
        return [styles.map(({ name }) => name), planOf({ models }, one, other, 0.25)];
    }"""
    names, alone = page.evaluate(plan, [list(of.values()), "sea", ""])
    assert names == ["sea", "sky", "own"]
    assert alone == {"model": "sea"}
    _, blend = page.evaluate(plan, [list(of.values()), "sea", "sky"])
    assert blend["model"] == "museum"
    assert blend["parts"] == [{"row": 1, "share": 0.25}, {"row": 0, "share": 0.75}]
    _, painting = page.evaluate(plan, [list(of.values()), "sea", "own"])
    assert painting["model"] == "any"
    assert painting["parts"] == [{"row": 0, "share": 0.25}, {"painting": "own", "share": 0.75}]
    _, neither = page.evaluate(plan, [[of["alone"], of["museum"]], "sea", "own"])
    assert neither is None


def test_what_cannot_blend_is_not_offered(page: "api.Page"):
    choose(page, "half")
    assert page.locator("#second option:not([disabled])").all_inner_texts() == ["nothing"]


def test_a_blend_that_no_network_has_is_said(page: "api.Page"):
    choose(page, "sea")
    page.select_option("#second", "sky")
    choose(page, "half")
    api.expect(page.locator("#no-blend")).to_have_text(re.compile("No network here has both"))


def test_a_painting_of_one_s_own(page: "api.Page", tiny_any: Path, photo: Path, painting: Path):
    open_photo(page, photo)
    drop(page, "#panel", painting)
    tile = page.locator(".tile:has(:checked)")
    api.expect(tile.locator(".title")).to_have_text("my cat")
    painted(page)
    assert_equal(saved(page), stylized(f"{tiny_any}:{painting}", photo), "painting")
    page.locator("#strength").fill("150")
    expected = stylized(f"{tiny_any}:{painting}", photo, strength=1.5)
    assert_equal(saved(page), expected, "painting, stronger")
    page.locator("#strength").fill("30")
    expected = stylized(f"{tiny_any}:{painting}", photo, strength=0.3)
    assert_equal(saved(page), expected, "painting, weaker")
    page.locator("#strength").fill("100")
    page.select_option("#second", "sky")
    page.locator("#share").fill("50")
    expected = stylized(f"{tiny_any}:{painting}=0.5,sky=0.5", photo)
    assert_equal(saved(page), expected, "painting and style")


def drop(page: "api.Page", where: str, path: Path) -> None:
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            return transfer;
        }""",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event(where, "dragover", {"dataTransfer": transfer})
    api.expect(page.locator(f"{where} > .hint")).to_be_visible()
    page.dispatch_event(where, "drop", {"dataTransfer": transfer})


def test_a_photograph_is_dropped_and_compared(page: "api.Page", painting: Path, photo: Path):
    open_photo(page, painting)
    drop(page, "#stage", photo)
    api.expect(page.locator("#after")).to_have_js_property("width", 701)
    page.locator("#compare").focus()
    before = float(page.locator("#compare").input_value())
    page.keyboard.press("ArrowRight")
    assert float(page.locator("#compare").input_value()) == before + 1
    at = page.locator("#frame").evaluate("it => it.style.getPropertyValue('--at')")
    assert at == f"{before + 1:g}%"


def test_styles_are_radio_buttons(page: "api.Page"):
    chosen = page.locator("input[name=style]:checked")
    first = chosen.input_value()
    chosen.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("input[name=style]:checked").input_value() != first
    painted(page)


def test_only_the_newest_wish_counts(page: "api.Page", tiny_half: Path, photo: Path):
    open_photo(page, photo)
    choose(page, "half")
    painted(page)
    words = record_words(page)
    page.evaluate(
        """() => {
            const strokes = document.getElementById("strokes");
            for (const value of [-2, -1, 2, 3, 4, 1]) {
                strokes.value = value;
                strokes.dispatchEvent(new Event("input"));
            }
        }"""
    )
    expected = stylized(tiny_half, photo, strokes=660 / 512 * 2**0.5)
    assert_equal(saved(page), expected, "the last")
    assert words().count("Painting") == 2  # the first, which had begun, and the last


def test_address_fills_the_page_in(visitor: "api.BrowserContext", address: str):
    page = visitor.new_page()
    page.goto(f"{address}?picture=thumbnails/half.jpg&style=sky")
    painted(page)
    assert page.locator("input[name=style]:checked").input_value() == "sky"
    assert page.locator("#before").evaluate("it => it.width") == 192
    page.goto(f"{address}?picture=https://example.org/photo.jpg")
    assert "Only pictures on this site" in problem(page)
    page.close()


def huge(path: Path) -> Path:
    Image.new("1", (8000, 7000)).save(path)
    return path


def broken(path: Path) -> Path:
    path.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing of use")
    return path


def test_files_that_cannot_be_taken(page: "api.Page", painting: Path, tmp_path: Path):
    open_photo(page, painting)
    for name, make, words in (
        ("huge.png", huge, "56 megapixels; this page takes up to 50"),
        ("broken.png", broken, "broken.png cannot be read"),
        ("photo.heic", broken, "cannot read HEIC"),
        ("text.txt", broken, "text.txt is not a picture"),
    ):
        page.set_input_files("#photograph", make(tmp_path / name))
        assert words in problem(page)
    assert saved(page).size == (150, 130)  # the photograph from before is still there


def test_too_much_for_the_network_says_what_helps(page: "api.Page", tmp_path: Path):
    Image.new("RGB", (2600, 2000), "teal").save(tmp_path / "plain.png")
    open_photo(page, tmp_path / "plain.png")
    page.locator("#strokes").fill("-4")
    assert "paint 6 megapixels" in problem(page)
    page.locator("#strokes").fill("0")
    painted(page)


def test_the_camera_is_painted_recorded_and_left(page: "api.Page", tmp_path: Path):
    choose(page, "half")
    page.click("#camera")
    api.expect(page.locator("#rate")).to_have_text(re.compile(r"\d+ fps · \d+ × \d+"))
    api.expect(page.locator("#status")).to_have_text(re.compile("live"))
    page.click("#record")
    page.wait_for_timeout(1200)
    with page.expect_download() as download:
        page.click("#record")
    av = pytest.importorskip("av")
    with av.open(download.value.path()) as video:
        frames = list(video.decode(video=0))
    assert len(frames) > 1
    assert frames[0].width / frames[0].height == CLIP_SIZE[0] / CLIP_SIZE[1]
    page.evaluate("document.getElementById('status').textContent = ''")
    page.click("#still")
    painted(page)
    assert page.evaluate("document.getElementById('video').srcObject") is None
    page.locator("#strength").fill("0")
    still = np.asarray(saved(page).convert("L")).astype(int)
    left, right = np.split(still, 2, axis=1)
    assert left.mean() > right.mean() + 100, "not mirrored"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "Camera access is blocked: allow it"),
        ("NotFoundError", "There is no camera"),
    ],
)
def test_a_camera_that_does_not_open(
    visitor: "api.BrowserContext", address: str, error: str, words: str
):
    page = visitor.new_page()
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = "
        f"() => Promise.reject(new DOMException('no', '{error}'))"
    )
    page.goto(address)
    painted(page)
    page.click("#camera")
    assert words in problem(page)
    assert page.locator("#live").is_hidden()
    painted(page)
    page.close()


def test_it_works_offline_after_a_visit(browser: "api.Browser", folder: Path):
    context = browser.new_context()
    page = context.new_page()
    with serving(folder) as address:
        page.goto(address)
        painted(page)
        loaded = page.locator("input[name=style]:checked").input_value()
    page.goto(address)  # nobody answers
    painted(page)
    other = page.locator("input[name=style]:not(:checked)").first.input_value()
    choose(page, other)
    assert "There is no connection" in problem(page)
    choose(page, loaded)
    painted(page)
    context.close()


def test_a_new_version_replaces_the_old(browser: "api.Browser", folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "site")
    context = browser.new_context()
    page = context.new_page()
    with serving(tmp_path / "site") as address:
        page.goto(address)
        painted(page)
        listed = json.loads((tmp_path / "site/site.json").read_text())
        old, listed["version"] = listed["version"], "new"
        listed["models"][0]["title"] = "Renamed"
        (tmp_path / "site/site.json").write_text(json.dumps(listed))
        page.goto(address)  # shows the old one, and fetches the new one
        painted(page)
        waiting = "async () => Boolean((await navigator.serviceWorker.getRegistration()).waiting)"
        for _ in range(100):
            if page.evaluate(waiting):
                break
            page.wait_for_timeout(100)
        page.close()
        page = context.new_page()
        page.goto(address)
        api.expect(page.locator("#styles")).to_contain_text("Renamed")
        painted(page)
        names = page.evaluate("caches.keys()")
        assert len(names) == 1
        assert old not in names[0]
    context.close()


def run_in_worker(context: "api.BrowserContext", folder: Path, script: str) -> None:
    """Have a script run before the page's worker."""
    body = f"{script};\n{(folder / 'worker.js').read_text()}"
    context.route(
        "**/worker.js", lambda route: route.fulfill(body=body, content_type="text/javascript")
    )


def test_without_simd_it_says_so(browser: "api.Browser", address: str, folder: Path):
    context = browser.new_context(service_workers="block")
    run_in_worker(context, folder, "WebAssembly.validate = () => false")
    page = context.new_page()
    page.goto(address)
    assert "lacks WebAssembly with SIMD" in problem(page)
    context.close()


def test_webassembly_takes_over_where_webgpu_fails(
    browser: "api.Browser", address: str, folder: Path
):
    context = browser.new_context(service_workers="block")
    adapter = (
        "{ requestAdapter: async () => ({ requestDevice: async () => { throw Error('no') } }) }"
    )
    run_in_worker(
        context, folder, f"Object.defineProperty(navigator, 'gpu', {{ value: {adapter} }})"
    )
    page = context.new_page()
    page.goto(address)
    painted(page)
    assert page.locator("#engine").inner_text() == "WebAssembly"
    context.close()


def test_it_has_threads_where_the_server_isolates_it_already(browser: "api.Browser", folder: Path):
    """As `fst serve --site` does: headers that the service worker only repeated would not count."""
    from fst.serve.headers import FOR_SITE

    context = browser.new_context()
    page = context.new_page()
    with serving(folder, FOR_SITE) as address:
        page.goto(address)
        painted(page)
        page.reload()  # now by the service worker
        painted(page)
        assert page.evaluate("navigator.serviceWorker.controller !== null")
        assert page.evaluate("crossOriginIsolated")
        context.close()


def test_webgpu_paints_the_same(
    browser: "api.Browser", address: str, tiny_half: Path, painting: Path
):
    flags = [*FLAGS, "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    with_gpu = browser.browser_type.launch(executable_path=CHROMIUM, args=flags)
    page = with_gpu.new_page()
    page.goto(address)
    painted(page, 5 * TIMEOUT_MS)  # a GPU in software, if it is one
    engine = page.locator("#engine").inner_text()
    if engine == "WebGPU":
        open_photo(page, painting)
        choose(page, "half")
        assert_equal(saved(page), stylized(tiny_half, painting), "WebGPU")
    with_gpu.close()
    if engine != "WebGPU":
        pytest.skip("this Chromium has no WebGPU in software")
