"""Debian's Chromium under playwright, with axe-core at hand: pages as people see and use them."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

AXE_VERSION = "4.14.1"
#: WebGL by SwiftShader: there is no graphics card.
_FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    # Where the graphics card is a program, pages are drawn faster without one.
    "--disable-gpu-rasterization",
    "--disable-gpu-compositing",
]
_PATIENCE_S = 120.0
#: WCAG 2.2 AA and what came before it.
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def axe_source() -> str | None:
    """axe-core's script, None where it was not fetched."""
    cache = Path(os.environ.get("BTN_AXE", Path.home() / ".cache" / "brain-tumor-node" / f"axe-core-{AXE_VERSION}"))
    file = cache / "package" / "axe.min.js"
    return file.read_text() if file.is_file() else None


@contextmanager
def chromium(executable: str) -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One tab of a browser profile of its own. errors: what its console and scripts complained of."""

    def __init__(self, browser: Any, base_url: str, pictures: Path, **profile: Any) -> None:
        self.context = browser.new_context(base_url=base_url, **profile)
        self.page = self.context.new_page()
        self.page.set_default_timeout(_PATIENCE_S * 1000)
        self.pictures = pictures
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def open(self, path: str) -> None:
        """Go to a path."""
        self.page.goto(path)

    def until(self, expression: str) -> Any:
        """Wait until a JavaScript expression is true; what it gave. The pages' policy lets no polling script in."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (found := self._now(expression)):
            if time.monotonic() > deadline:
                self.picture("given-up")
                raise TimeoutError(f"{expression} on {self.page.url}; the console said {self.errors}")
            time.sleep(0.1)
        return found

    def _now(self, expression: str) -> Any:
        from playwright.sync_api import Error

        try:
            return self.page.evaluate(expression)
        except Error as error:
            if "context was destroyed" in str(error):
                return None  # the page is just being left for the next one
            raise

    def picture(self, name: str, selector: str = "") -> np.ndarray:
        """What an element, or the whole page, looks like: int (H, W, 3). Kept as NAME.png."""
        shown = self.page.locator(selector) if selector else self.page
        options = {} if selector else {"full_page": True}
        data = shown.screenshot(path=self.pictures / f"{name}.png", **options)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)

    def barriers(self, axe: str, rules: Sequence[str] = ()) -> list[str]:
        """What axe-core finds serious or critical on the page as it is, by these rules or by all of WCAG 2.2 AA."""
        self.page.evaluate(axe)
        only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": _TAGS}
        found = self.page.evaluate(
            "only => axe.run(document, {runOnly: only, resultTypes: ['violations']})"
            ".then(r => r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html + ' ' + n.failureSummary)]))",
            only,
        )
        return [f"{name}: {nodes}" for impact, name, nodes in found if impact in ("serious", "critical")]

    @property
    def wider_than_the_window(self) -> bool:
        """Whether the page must be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


def coloured(picture: np.ndarray, rgb: tuple[int, int, int], tolerance: int = 45) -> int:
    """How many pixels are near a colour."""
    return int((np.abs(picture - np.array(rgb)).max(axis=2) <= tolerance).sum())


def by_keyboard(tab: Tab, wanted: Callable[[], bool], key: str = "Tab", most: int = 80) -> None:
    """Press a key until something is so."""
    for _ in range(most):
        if wanted():
            return
        tab.page.keyboard.press(key)
    raise AssertionError(f"{most} times {key} did not lead there")
