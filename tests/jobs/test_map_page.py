"""The page of a map in a real browser: mouse, keys, colours, what is announced and what loaded."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from embedder.vectors import normalise
from jobs.map_page import render_page
from jobs.map_points import MapPoints, MapSense, MapUse
from jobs.map_style import PAPER, STYLES

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no chromium and chromedriver on the PATH"
    ),
]

N_SENSES, SIDE = 8, 6
SIZE = (1200, 800)


def make_points(n: int) -> tuple[MapPoints, np.ndarray]:
    """A map whose n uses lie on a grid, a sense a row, with texts that look like HTML."""
    columns = -(-n // N_SENSES)
    uses = tuple(
        MapUse(
            sense=i // columns,
            confidence=0.3 if i == 0 else 0.9,
            before=f"<b onclick='alert(1)'>{i}</b> & the ",
            word="bank",
            after=f" <img src=x onerror=alert(1)> of </script> number {i}.",
            document=f"d{i}",
            metadata={"title": f"<i>Title {i}</i>", "year": 2000 + i},
        )
        for i in range(n)
    )
    senses = tuple(
        MapSense(name=f"bank/{k + 1}", n_uses=columns, share=columns / n, words=("river", "<u>"))
        for k in range(N_SENSES)
    )
    rows = normalise(np.ones((n, 4), dtype=np.float32))
    points = MapPoints(
        word="bank", senses=senses, uses=uses, rows=rows, centroids=rows[:1], n_uses=n + 1000
    )
    number = np.arange(n)
    plane = np.stack([number % columns / (columns - 1), number // columns / (N_SENSES - 1)], axis=1)
    return points, plane


class Page:
    """A page in the browser, and what a person sees of it."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def open(self, path: Path, scheme: str = "light") -> None:
        """Open a file, in a light or dark scheme, with nothing in the logs before."""
        self.scheme(scheme)
        for kind in ("browser", "performance"):
            self.browser.get_log(kind)
        self.browser.get(path.as_uri())
        self.settle()

    def scheme(self, scheme: str) -> None:
        """Switch between light and dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def settle(self) -> None:
        """Wait until two frames have been drawn."""
        self.browser.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        )

    def at(self, name: str) -> WebElement:
        """An element by its id."""
        return self.browser.find_element(By.ID, name)

    def text(self, name: str) -> str:
        """All text in an element, seen or not."""
        return str(self.at(name).get_property("textContent"))

    def pixels(self) -> np.ndarray:
        """The points as they are drawn, RGBA, shape (height, width, 4)."""
        import matplotlib.image

        url = self.browser.execute_script(
            "return document.getElementById('points').toDataURL('image/png')"
        )
        content = base64.b64decode(url.partition(",")[2])
        read = matplotlib.image.imread(io.BytesIO(content), format="png")
        return (read * 255).round().astype(int)

    def place_of(self, colour: str, which: int = 0) -> tuple[int, int]:
        """The middle of one of the points of a colour, from left to right, on the map."""
        is_there = self.is_drawn(colour)
        columns = np.flatnonzero(is_there.any(axis=0))
        runs = np.split(columns, np.flatnonzero(np.diff(columns) > 4) + 1)
        x = round(runs[which].mean())
        y = round(np.flatnonzero(is_there[:, runs[which]].any(axis=1)).mean())
        return x, y

    def is_drawn(self, colour: str) -> np.ndarray:
        """Which pixels have a colour, shape (height, width)."""
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        found: np.ndarray = (self.pixels() == [*wanted, 255]).all(axis=2)
        return found

    def mouse(self, x: int, y: int) -> ActionChains:
        """Actions that begin with moving the mouse to a place on the map."""
        area = self.at("map")
        half_width, half_height = area.size["width"] // 2, area.size["height"] // 2
        return ActionChains(self.browser, duration=0).move_to_element_with_offset(
            area, x - half_width, y - half_height
        )

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        actions = ActionChains(self.browser, duration=0)
        for key in keys:
            actions.send_keys(key)
        actions.perform()
        self.settle()

    def kept(self) -> list[str]:
        """Texts of the uses that are kept, the latest first."""
        items = self.browser.find_elements(By.CSS_SELECTOR, "#kept > li .sentence")
        return [item.text for item in items]

    def shown(self) -> int:
        """Number of the use in the tooltip."""
        assert self.at("tooltip").is_displayed()
        sentence = self.browser.find_element(By.CSS_SELECTOR, "#tooltip .sentence").text
        return int(sentence.rpartition(" ")[2].rstrip("."))


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    flags = ["headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"]
    for flag in [*flags, f"window-size={SIZE[0]},{SIZE[1]}"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with 48 uses."""
    path = tmp_path_factory.mktemp("map") / "bank.html"
    path.write_bytes(render_page(*make_points(N_SENSES * SIDE)))
    return path


@pytest.fixture
def page(browser: webdriver.Chrome, file: Path) -> Iterator[Page]:
    """The page, freshly opened in light; afterwards no error was logged and nothing was loaded."""
    opened = Page(browser)
    opened.open(file)
    yield opened
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    urls = {params["request"]["url"] for params in requests}
    assert urls <= {file.as_uri(), "data:,"}, urls


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_sense_is_drawn_in_its_colour(page: Page, scheme: str) -> None:
    """Each sense has as many points of its colour as uses, on the paper of the scheme."""
    page.scheme(scheme)
    page.settle()
    for place, style in enumerate(STYLES):
        is_there = page.is_drawn(getattr(style, scheme))
        columns = np.flatnonzero(is_there.any(axis=0))
        assert (np.diff(columns) > 4).sum() == SIDE - 1, place
    paper = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    wanted = PAPER[scheme == "dark"]
    assert paper == f"rgb({', '.join(str(int(wanted[i : i + 2], 16)) for i in (1, 3, 5))})"


@pytest.mark.parametrize(("sense", "column"), [(0, 0), (2, 3), (7, 5)])
def test_pointing_shows_the_use(page: Page, sense: int, column: int) -> None:
    """The tooltip has the sense, the sentence as it was written, the word marked, the metadata."""
    page.mouse(*page.place_of(STYLES[sense].light, column)).perform()
    tooltip, i = page.at("tooltip"), sense * SIDE + column
    assert page.shown() == i
    sentence = tooltip.find_element(By.CLASS_NAME, "sentence").text
    assert sentence == (
        f"<b onclick='alert(1)'>{i}</b> & the bank <img src=x onerror=alert(1)> of </script> "
        f"number {i}."
    )
    assert tooltip.find_element(By.TAG_NAME, "mark").text == "bank"
    assert f"bank/{sense + 1}" in tooltip.text
    assert ("not sure: 30 %" in tooltip.text) == (i == 0)
    assert f"title <i>Title {i}</i> · year {2000 + i}" in tooltip.text
    area, box = page.at("map").rect, tooltip.rect
    assert area["x"] <= box["x"] and box["x"] + box["width"] <= area["x"] + area["width"]
    assert area["y"] <= box["y"] and box["y"] + box["height"] <= area["y"] + area["height"]
    page.mouse(page.at("map").size["width"] // 2, 8).perform()
    assert not tooltip.is_displayed()


def test_a_click_keeps_and_lets_go(page: Page) -> None:
    """A click keeps a use, the latest on top; another click, or its button, lets it go."""
    first, second = (page.place_of(STYLES[k].light, k) for k in (0, 1))
    page.mouse(*first).click().perform()
    page.mouse(*second).click().perform()
    assert [text.rpartition(" ")[2] for text in page.kept()] == ["7.", "0."]
    assert not page.at("none-kept").is_displayed()
    page.mouse(*first).click().perform()
    assert [text.rpartition(" ")[2] for text in page.kept()] == ["7."]
    page.browser.find_element(By.CSS_SELECTOR, "#kept .release").click()
    assert page.kept() == []
    assert page.at("none-kept").is_displayed()
    assert page.text("live") == "Number 1 let go. 0 kept."


def test_arrows_walk_over_the_grid(page: Page) -> None:
    """From the middle each arrow goes to the neighbour in its direction and says what is there."""
    page.press(Keys.TAB)
    assert page.browser.switch_to.active_element.get_attribute("id") == "map"
    page.press(Keys.ARROW_DOWN)
    at = page.shown()
    steps = ((Keys.ARROW_RIGHT, 1), (Keys.ARROW_DOWN, SIDE), (Keys.ARROW_LEFT, -1))
    for key, step in (*steps, (Keys.ARROW_UP, -SIDE)):
        page.press(key)
        assert page.shown() == at + step
        at += step
        said = page.text("live")
        assert f"bank/{at // SIDE + 1}. " in said
        assert f"number {at}." in said
    page.press(*[Keys.ARROW_LEFT] * SIDE, *[Keys.ARROW_UP] * N_SENSES)
    assert page.shown() == 0
    assert page.text("live") == "No use lies farther that way."


def test_keys_keep_and_let_go(page: Page) -> None:
    """Enter keeps, Escape lets go, then hides the tooltip, then lets go of the latest."""
    page.press(Keys.TAB, Keys.ARROW_RIGHT, Keys.ENTER, Keys.ARROW_RIGHT, Keys.ENTER)
    assert len(page.kept()) == 2
    assert page.text("live") == "Kept as number 2."
    page.press(Keys.ESCAPE)
    assert len(page.kept()) == 1
    assert page.text("live") == "Number 2 let go. 1 kept."
    page.press(Keys.ESCAPE)
    assert not page.at("tooltip").is_displayed()
    page.press(Keys.ESCAPE)
    assert page.kept() == []


def test_the_focus_can_be_seen(page: Page) -> None:
    """The map shows that it has the focus of the keyboard, and the current point has a ring."""
    shadow = "return getComputedStyle(document.getElementById('map')).boxShadow"
    marks = "return document.getElementById('marks').toDataURL()"
    nothing = page.browser.execute_script(marks)
    assert page.browser.execute_script(shadow) == "none"
    page.press(Keys.TAB, Keys.ARROW_RIGHT)
    assert "inset" in page.browser.execute_script(shadow)
    assert page.browser.execute_script(marks) != nothing


def test_the_legend_toggles_senses(page: Page) -> None:
    """A sense that is switched off is not drawn and cannot be pointed at, until it is on again."""
    buttons = page.browser.find_elements(By.CSS_SELECTOR, "#legend button")
    assert len(buttons) == N_SENSES
    assert buttons[1].text.split() == ["bank/2", "13", "%", "6", "river,", "<u>"]
    place = page.place_of(STYLES[1].light, 2)
    buttons[1].send_keys(Keys.SPACE)
    page.settle()
    assert buttons[1].get_attribute("aria-pressed") == "false"
    assert not page.is_drawn(STYLES[1].light).any()
    page.mouse(*place).perform()
    assert not page.at("tooltip").is_displayed()
    buttons[1].click()
    page.mouse(*place).perform()
    page.settle()
    assert buttons[1].get_attribute("aria-pressed") == "true"
    assert page.shown() == SIDE + 2


def test_zoom(page: Page) -> None:
    """Zooming in moves neighbours apart, by key and by button, and the whole map comes back."""
    before = page.pixels()
    page.press(Keys.TAB, "+", "+")
    assert not np.array_equal(page.pixels(), before)
    page.at("whole").click()
    page.settle()
    assert np.array_equal(page.pixels(), before)


def test_what_screen_readers_are_told(page: Page) -> None:
    """The map has a name, a role and a description, and the count says that it is a sample."""
    area = page.at("map")
    assert area.accessible_name == "bank"
    assert area.aria_role == "application"
    assert "Enter keeps a use" in page.text("keys")
    assert page.text("count").startswith("48 of 1,048 uses shown, drawn at random · 8 senses.")
    legend = page.browser.find_element(By.CSS_SELECTOR, "#legend button")
    assert legend.accessible_name == "bank/1: 13 %, 6 uses, river, <u>"


def test_no_script_of_others_runs(page: Page) -> None:
    """Texts stay texts: the page has no element of theirs, and the policy stops what is added."""
    page.press(Keys.TAB, Keys.ARROW_RIGHT, Keys.ENTER)
    assert not page.browser.find_elements(By.CSS_SELECTOR, "img, i i, u, [onclick], [onerror]")
    is_stopped = page.browser.execute_script(
        "try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true }"
    )
    assert is_stopped
    page.browser.get_log("browser")  # which has told of it


@pytest.mark.parametrize("width", [400, 1600])
def test_any_width(page: Page, width: int) -> None:
    """On a narrow and on a wide screen nothing is cut off at the side, and all points are there."""
    page.browser.set_window_size(width, 800)
    try:
        WebDriverWait(page.browser, 10).until(
            lambda b: b.execute_script("return innerWidth") <= max(width, 500)
        )
        page.settle()
        wide = "return document.documentElement.scrollWidth <= innerWidth"
        assert page.browser.execute_script(wide)
        for style in STYLES:
            columns = np.flatnonzero(page.is_drawn(style.light).any(axis=0))
            assert (np.diff(columns) > 4).sum() == SIDE - 1
    finally:
        page.browser.set_window_size(*SIZE)


def test_sharp_on_dense_screens(page: Page) -> None:
    """With two device pixels a pixel the canvas has twice as many, and pointing still works."""
    metrics: dict[str, Any] = {"width": 0, "height": 0, "deviceScaleFactor": 2, "mobile": False}
    size = page.at("map").size
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.settle()
        page.settle()
        assert page.pixels().shape[1] == 2 * size["width"]
        x, y = page.place_of(STYLES[3].light, 4)
        page.mouse(x // 2, y // 2).perform()
        assert page.shown() == 3 * SIDE + 4
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_ten_thousand_points(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """10,000 points are all there, and pointing at them redraws nothing but marks: it is quick."""
    path = tmp_path / "many.html"
    path.write_bytes(render_page(*make_points(10_000)))
    page = Page(browser)
    page.open(path)
    assert all(page.is_drawn(style.light).any() for style in STYLES)
    seconds = browser.execute_script(
        """
        const map = document.getElementById("map"), box = map.getBoundingClientRect();
        const begun = performance.now();
        for (let i = 0; i < 300; i++) {
          const at = { clientX: box.left + 40 + 2 * i, clientY: box.top + 70 + i };
          map.dispatchEvent(new PointerEvent("pointermove", at));
        }
        return (performance.now() - begun) / 1000;
        """
    )
    assert seconds < 300 * 0.016
    assert browser.get_log("browser") == []
