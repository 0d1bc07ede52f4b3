"""The pages in Debian's Chromium: a study arrives, is looked at, compared, reviewed; light, dark, small, by keys alone.

The pictures are kept in `test-artefacts/pages` (BTN_ARTEFACTS elsewhere).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node.phantom.study import PhantomStudy
from pipeline.overlay import LABEL_COLOURS
from pipeline.report import Label
from storage.lifecycle import ScanState
from storage.vocabulary import Role
from tests.acceptance.nodes import REPOSITORY
from tests.acceptance.pages_site import PASSWORD, Site, site
from tests.browser import Tab, axe_source, by_keyboard, chromium, coloured

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PICTURES = Path(os.environ.get("BTN_ARTEFACTS", REPOSITORY / "test-artefacts")) / "pages"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 320, "height": 640}
ZOOMED = {"width": 320, "height": 225}
THREE_SHOWN = "document.querySelectorAll('#viewer .picture:not([hidden])').length == 3"
_PATIENCE_S = 240.0


@dataclass
class Story:
    """What happened before the tests look: two studies of one patient came by C-STORE, one watched on the list."""

    site: Site
    browser: Any
    first: str = ""
    second: str = ""
    #: Status of the first study as the list showed it, one after the other, without a reload.
    watched: list[str] = field(default_factory=list)
    reloads: int = 0
    tabs: dict[str, Tab] = field(default_factory=dict)

    def tab(self, name: str = "doctor", role: Role = Role.DOCTOR, **profile: Any) -> Tab:
        """A signed-in tab by name, opened once."""
        if name not in self.tabs:
            tab = Tab(self.browser, self.site.url, PICTURES, **{"viewport": DESK, "color_scheme": "light", **profile})
            tab.open("/")
            tab.page.fill("#f-username", role.value)
            tab.page.fill("#f-password", PASSWORD)
            tab.page.keyboard.press("Enter")
            tab.until("location.pathname == '/'")
            self.tabs[name] = tab
        return self.tabs[name]


def scan_of(site: Site, study: PhantomStudy) -> str:
    scan = site.node.wait_for_end(study.study_instance_uid, _PATIENCE_S)
    assert scan.status is ScanState.DELIVERED
    return scan.id


def watch(story: Story, study: PhantomStudy) -> None:
    """Send a study while its line on the list is looked at."""
    tab = story.tab()
    loads: list[str] = []
    tab.page.on("load", lambda: loads.append(tab.page.url))
    assert "No scans yet" in tab.page.inner_text("main")
    sender = threading.Thread(target=story.site.send, args=(study,))
    sender.start()
    deadline = time.monotonic() + _PATIENCE_S
    while not story.watched or story.watched[-1] != "delivered":
        chips = tab.page.locator("#scan-rows .chip").all_inner_texts()
        if chips and chips[0] not in story.watched[-1:]:
            story.watched.append(chips[0])
            tab.picture(f"list-{len(story.watched)}-{chips[0].replace(' ', '-')}")
        assert time.monotonic() < deadline, (story.watched, tab.errors, story.site.node.log()[-3000:])
        tab.page.wait_for_timeout(200)
    sender.join()
    story.reloads = len(loads)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Iterator[Story]:
    pytest.importorskip("playwright", reason="playwright is not installed")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with site(tmp_path_factory.mktemp("site")) as running, chromium(debian_tool("chromium")) as browser:
        told = Story(site=running, browser=browser)
        first = running.first_study()
        watch(told, first)
        told.first = scan_of(running, first)
        second = running.second_study(first)
        running.send(second)
        told.second = scan_of(running, second)
        yield told


@pytest.fixture(scope="module")
def axe() -> str:
    source = axe_source()
    if source is None:
        reason = "axe-core was not fetched: run tests/install-peers.sh with npm"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return source


def test_the_list_follows_a_study_that_arrives(story: Story) -> None:
    assert story.watched[-1] == "delivered"
    assert len(story.watched) >= 3, story.watched
    assert set(story.watched) <= {state.value.replace("_", " ") for state in ScanState}
    assert story.reloads == 0


def open_scan(story: Story, tab: Tab) -> None:
    tab.open(f"/scans/{story.second}")
    tab.until(THREE_SHOWN)


def tumour_pixels(picture: np.ndarray) -> int:
    """How many pixels are neither grey nor nearly so."""
    return int((np.ptp(picture, axis=2) > 25).sum())


def test_overlay_planes_and_series(story: Story) -> None:
    tab = story.tab()
    open_scan(story, tab)
    tab.page.uncheck("#crosshair")
    tab.page.fill("#opacity", "100")
    axial = "document.querySelector('[data-axis=axial] img').dataset.shown"
    tab.until(f"{axial}.includes('opacity=1')")
    stage = ".plane[data-axis=axial] .picture"
    shown = tab.picture("axial-overlay", stage)
    assert coloured(shown, LABEL_COLOURS[Label.ET]) > 50
    assert coloured(shown, LABEL_COLOURS[Label.ED]) > 300
    tab.page.uncheck("#overlay")
    tab.until(f"{axial}.includes('/slice/')")
    bare = tab.picture("axial-bare", stage)
    assert tumour_pixels(bare) == 0
    # The other series, laid on the reference, once the node has made it.
    deadline = time.monotonic() + _PATIENCE_S
    while "FLAIR" not in tab.page.locator("#series option").all_inner_texts():
        assert time.monotonic() < deadline
        time.sleep(0.5)
        open_scan(story, tab)
        tab.page.uncheck("#crosshair")
        tab.page.uncheck("#overlay")
    tab.page.select_option("#series", "FLAIR")
    tab.until(f"{axial}.includes('series=FLAIR') && {axial}.includes('/slice/')")
    flair = tab.picture("axial-flair", stage)
    assert np.abs(flair - bare).mean() > 10
    # A click moves the other planes: at the picture's left and top are the patient's right and front.
    before = [tab.page.input_value(f"#index-{axis}") for axis in ("axial", "coronal", "sagittal")]
    box = tab.page.locator(stage).bounding_box()
    tab.page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    tab.until(f"document.querySelector('#index-coronal').value != {before[1]}")
    tab.until(f"document.querySelector('#index-sagittal').value != {before[2]}")
    after = [int(tab.page.input_value(f"#index-{axis}")) for axis in ("axial", "coronal", "sagittal")]
    most = [int(tab.page.get_attribute(f"#index-{axis}", "max")) for axis in ("axial", "coronal", "sagittal")]
    assert after[0] == int(before[0])
    assert after[1:] == pytest.approx([0.75 * most[1], 0.75 * most[2]], abs=2)
    tab.page.mouse.wheel(0, 100)
    tab.until(f"document.querySelector('#index-axial').value == {after[0] - 1}")
    assert tab.errors == []


def test_brain_and_tumour_in_3d(story: Story) -> None:
    tab = story.tab()
    open_scan(story, tab)
    tab.until("document.querySelector('#series').options.length == 2")
    tab.page.uncheck("#crosshair")
    assert "niivue" not in tab.page.content()
    tab.page.click("#open-3d")
    tab.until("document.querySelector('#canvas-3d').dataset.ready == 'yes'")
    tab.page.wait_for_timeout(500)
    with_tumour = tab.picture("3d", "#canvas-3d")
    assert (with_tumour.max(axis=2) > 40).mean() > 0.1
    assert int((with_tumour[..., 0] - with_tumour[..., 1] > 25).sum()) > 50  # the enhancing core, red
    tab.page.check("#oedema-3d")
    tab.page.wait_for_timeout(500)
    around = tab.picture("3d-oedema", "#canvas-3d")
    assert int((around[..., 2] - around[..., 0] > 25).sum()) > 200
    tab.page.uncheck("#overlay")
    tab.page.wait_for_timeout(500)
    without = tab.picture("3d-bare", "#canvas-3d")
    assert tumour_pixels(without) < tumour_pixels(around) / 10
    tab.page.focus("#canvas-3d")
    tab.page.keyboard.press("ArrowLeft")
    tab.page.wait_for_timeout(500)
    assert np.abs(tab.picture("3d-turned", "#canvas-3d") - without).mean() > 1
    assert tab.errors == []


def test_follow_up_shows_both_dates_at_one_place(story: Story) -> None:
    tab = story.tab()
    open_scan(story, tab)
    tab.page.click("text=Compare the dates")
    tab.until("[...document.querySelectorAll('.picture img')].filter(i => i.complete && i.naturalWidth).length == 2")
    text = tab.page.inner_text("main")
    for words in ("Stable", "no verdict", "Against the nadir", "Volumes over time", "Whole tumour"):
        assert words in text, words
    tab.page.fill("#opacity", "100")
    tab.until("[...document.querySelectorAll('.picture img')].every(i => i.src.includes('opacity=1'))")
    for side in ("earlier", "now"):
        seen = tab.picture(f"follow-up-{side}", f"[data-side={side}] .picture")
        assert coloured(seen, LABEL_COLOURS[Label.ET]) > 50, side
    index = int(tab.page.input_value("#number"))
    tab.page.focus("[data-side=now] .stage")
    tab.page.keyboard.press("PageUp")
    tab.until(f"[...document.querySelectorAll('.picture img')].every(i => i.src.includes('/{index}?'))")
    assert tab.page.input_value("#number") == str(index + 1)
    assert tab.page.locator("svg.curve polyline").count() == 3
    tab.picture("follow-up")
    assert tab.errors == []


def test_four_nifti_files_become_a_result(story: Story) -> None:
    tab = story.tab("technician", Role.TECHNICIAN)
    tab.page.click("text=Upload a scan")
    tab.page.set_input_files("#files", story.site.nifti_files())
    tab.page.fill("#f-patientName", "Phantom^Uploaded")
    tab.picture("upload")
    tab.page.click("button.main")
    tab.until("document.querySelector('h1').textContent == 'Uploaded'")
    tab.page.click("main a")
    tab.until("document.querySelector('#scan-state .chip')?.classList.contains('delivered')")
    tab.until(THREE_SHOWN)
    assert "Phantom, Uploaded" in tab.page.inner_text("h1")
    assert "Whole tumour" in tab.page.inner_text("main")
    assert tab.page.locator("text=Give verdict").count() == 0
    tab.picture("uploaded-scan")
    assert tab.errors == []


def test_a_review_is_given_by_keyboard_alone(story: Story) -> None:
    tab = story.tab("keyboard")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"

    def at(condition: str) -> bool:
        return bool(tab.page.evaluate(f"(e => {condition})(document.activeElement)"))

    by_keyboard(tab, lambda: at(f"e.pathname == '/scans/{story.first}'"))
    tab.page.keyboard.press("Enter")
    tab.until(THREE_SHOWN)
    by_keyboard(tab, lambda: at("e.closest('[data-axis=axial]') && e.classList.contains('stage')"))
    outline = tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    places = "[...document.querySelectorAll('[id^=index-]')].map(i => Number(i.value))"
    axial, coronal, sagittal = tab.page.evaluate(places)
    for key in ("PageDown", "ArrowUp", "ArrowLeft"):
        tab.page.keyboard.press(key)
    tab.until(f"JSON.stringify({places}) == '[{axial - 1},{coronal + 1},{sagittal + 1}]'")
    tab.picture("keyboard-focus")
    by_keyboard(tab, lambda: at("e.name == 'verdict'"))
    tab.page.keyboard.press("ArrowDown")
    by_keyboard(tab, lambda: at("e.id == 'f-comment'"))
    tab.page.keyboard.type("Oedema reaches too far.")
    by_keyboard(tab, lambda: at("e.textContent == 'Give verdict'"))
    tab.page.keyboard.press("Enter")
    tab.until("document.querySelector('#review .chip')")
    assert "rejected by Robin Doctor" in " ".join(tab.page.inner_text("#review").split())
    assert tab.errors == []


ADMIN_PAGES = ["/users", "/peers", "/system", "/deliveries", "/models", "/audit"]
#: Viewport, colours, and the rules to hold it to: the same page in other colours differs in its contrasts alone.
LOOKS = {"light": (DESK, "light", ()), "dark": (DESK, "dark", ("color-contrast",)), "phone": (PHONE, "dark", ())}


def faults_of(tab: Tab, axe: str, path: str, name: str) -> dict[str, list[str]]:
    """What is wrong with a page in each look, its pictures kept."""
    tab.open(path)
    if "data-scan" in tab.page.content():
        tab.until("[...document.querySelectorAll('.picture img')].every(i => i.complete && i.naturalWidth)")
    found = {}
    for look, (viewport, scheme, rules) in LOOKS.items():
        tab.page.set_viewport_size(viewport)
        tab.page.emulate_media(color_scheme=scheme)
        tab.picture(f"{look}-{name}")
        faults = tab.barriers(axe, rules)
        if tab.wider_than_the_window:
            faults.append("the page scrolls sideways")
        if faults:
            found[f"{look} {path}"] = faults
    return found


def pages_of(story: Story) -> dict[str, str]:
    """Every page for who is signed in, by a name."""
    scan = f"/scans/{story.second}"
    pages = {"list": "/", "scan": scan, "follow-up": f"{scan}/follow-up", "images": f"{scan}/images"}
    return pages | {path[1:]: path for path in ("/upload", *ADMIN_PAGES)}


def test_in_german_no_page_is_wider_than_the_window_at_400_percent(story: Story) -> None:
    """German words are long. 1280 pixels at 400 % are 320 of the page's (WCAG 1.4.10)."""
    tab = story.tab("german", Role.ADMIN, viewport=ZOOMED)
    tab.page.click("text=Deutsch")
    tab.until("document.documentElement.lang == 'de'")
    wider = []
    for name, path in pages_of(story).items():
        tab.open(path)
        assert tab.page.evaluate("document.documentElement.lang") == "de", path
        tab.picture(f"german-{name}")
        if tab.wider_than_the_window:
            wider.append(path)
    assert wider == []
    assert tab.errors == []


def test_every_page_is_without_barriers_in_light_dark_and_on_a_phone(story: Story, axe: str) -> None:
    tab = story.tab("admin", Role.ADMIN)
    found: dict[str, list[str]] = {}
    for name, path in pages_of(story).items():
        found |= faults_of(tab, axe, path, name)
    tab.page.set_viewport_size(DESK)
    tab.page.click("text=Sign out")
    tab.until("location.pathname == '/sign-in'")
    for path in ("/sign-in", "/register"):
        found |= faults_of(tab, axe, path, path[1:])
    assert found == {}
    assert tab.errors == []
