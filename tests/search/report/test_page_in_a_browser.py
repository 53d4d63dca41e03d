"""The report as a person meets it: in a real browser, wide and narrow, light and dark, on paper."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from augsearch.search.report.page import write_report
from augsearch.search.space.parts import parts_of
from augsearch.search.studies.ablation import ATTRIBUTE as ABLATION
from augsearch.search.studies.ablation import FIRST_FOLD, WHOLE, keep_ablation
from augsearch.search.studies.proxy_check import ATTRIBUTE as CHECK
from augsearch.search.studies.proxy_check import Checked, ProxyCheck
from augsearch.search.studies.study import entries
from augsearch.trainers.workspace.folds import FoldResult
from tests.browsers import open_browser

MakeStudy = Callable[..., optuna.Study]
PHONE, DESK = 390, 1280

TEXTS_OF_CHARTS = """
return [...document.querySelectorAll('svg.chart')].flatMap((chart, number) =>
  [...chart.querySelectorAll('text')].map(text => {
    const box = text.getBoundingClientRect(), frame = chart.getBoundingClientRect();
    const size = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
    return {chart: number, text: text.textContent, size,
            outside: Math.max(frame.left - box.left, box.right - frame.right, box.bottom - frame.bottom),
            left: box.left, right: box.right, top: box.top, bottom: box.bottom};
  }));
"""
"""Every text of every chart: where it is, and how large on the screen."""

FAINTEST = """
function channels(colour) { return colour.match(/[\\d.]+/g).slice(0, 3).map(Number); }
function luminance(colour) {
  const linear = c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const [r, g, b] = channels(colour).map(c => linear(c / 255));
  return .2126 * r + .7152 * g + .0722 * b;
}
function behind(element) {
  for (let one = element; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!colour.endsWith(', 0)')) return colour;
  }
}
let faintest = [99, ''];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement, words = texts.currentNode.data.trim();
  if (!words || !element.checkVisibility() || element.closest('title, desc')) continue;
  const style = getComputedStyle(element), inside = element.closest('svg');
  const pair = [luminance(inside ? style.fill : style.color), luminance(behind(element))];
  const [high, low] = pair.sort((a, b) => b - a);
  const contrast = (high + .05) / (low + .05);
  if (contrast < faintest[0]) faintest = [contrast, words];
}
return faintest;
"""
"""The least contrast between a text and what is behind it, and the text (WCAG 2, 1.4.3)."""


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser(loggingPrefs={"browser": "ALL", "performance": "ALL"}) as opened:
        yield opened


@pytest.fixture
def page(make_study: MakeStudy) -> str:
    """The address of the report of a study with everything in it, bad names too."""
    study = make_study(trials=40, lead=0.08)
    classes = ["cats", "<script>document.title = 'taken over'</script>", "W" * 90]
    counts = {part: dict.fromkeys(classes, 400) for part in ("train", "validation", "confirmation", "test")}
    summary = {"name": "photos", "side": 64, "channels": 3, "classes": classes, "counts": counts}
    more = {"sizes": [[640, 480, 900]], "duplicates": [], "unlabeled": 0, "target": None}
    study.set_user_attr("data summary", summary | more)
    folder = Path("mlruns/demo")
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (300, 990, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "preview.png")
    _find_out_more(study)
    path = Path("report.html")
    write_report(study, path)
    return path.absolute().as_uri()


def _find_out_more(study: optuna.Study) -> None:
    """An ablation, and a check of the stand-in, whose candidates lie close together."""
    rng, (entry,) = np.random.default_rng(0), [one for one in entries(study) if one.number == 5]
    study.set_user_attr(ABLATION, 5)
    for fold in range(FIRST_FOLD, FIRST_FOLD + 4):
        for place, part in enumerate([WHOLE, *(part.name for part in parts_of(entry.candidate))]):
            correct = rng.random(400) < 0.8 - 0.01 * place
            result = FoldResult(float(correct.mean()), 0.6, 0.05, 2.0, 30_000, correct)
            keep_ablation(study, 5, part, fold, result)
    checked = []
    for number, one in enumerate(entries(study)[:12]):
        proxy, final = rng.normal(0.8 - 0.01 * number, 0.005, 4), rng.normal(0.9 - 0.01 * number, 0.005, 2)
        checked.append(Checked(one.name, "words", one.baseline is not None, tuple(proxy), tuple(final)))
    ways = ("small, 1,000 images × 30 epochs", "medium, 1,750 images × 35 epochs")
    check = ProxyCheck.of("demo proxy check", "accuracy", *ways, checked)
    study.set_user_attr(CHECK, check.to_json())


def look(
    browser: webdriver.Chrome, page: str, *, width: int = DESK, media: str = "", scheme: str = "light"
) -> None:
    """Open ``page`` on a screen of this width, for ``media`` ``print`` or a screen, in a colour scheme."""
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.get(page)


def run(browser: webdriver.Chrome, script: str) -> Any:
    return browser.execute_script(script)


def background(browser: webdriver.Chrome) -> str:
    return str(run(browser, "return getComputedStyle(document.body).backgroundColor"))


def test_the_first_screen_answers_and_all_parts_are_there(browser: webdriver.Chrome, page: str) -> None:
    look(browser, page)
    assert browser.title == "demo: Better than every baseline"
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith("Trial 5 is better than every baseline: +")
    cards = browser.find_elements(By.CSS_SELECTOR, ".card")
    assert [card.text.split("\n")[0] for card in cards] == [
        "Use",
        "By how much",
        "How sure",
        "What to type next",
    ]
    assert all(card.rect["y"] + card.rect["height"] < 844 for card in cards), "on the first screen"
    assert "augsearch export demo -o policy.json" in cards[-1].text
    headings = [heading.text for heading in browser.find_elements(By.CSS_SELECTOR, "section[id] h2")]
    assert headings == [
        "Compared on fresh folds",
        "What training sees with trial 5",
        "The race",
        "Calibration: may its confidence be believed?",
        "Which part earned it",
        "May the short trainings be believed?",
        "The data",
        "What it cost",
        "To make it again",
    ]
    recommended = browser.find_elements(By.CSS_SELECTOR, "tr.recommended")
    assert [row.text.split("\n")[0] for row in recommended] == ["trial 5"]
    assert "▶ recommended" in recommended[0].text
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg.chart")) == 7
    pictures = run(browser, "return [...document.images].map(one => [one.naturalWidth, one.alt])")
    assert pictures[0][0] == 990
    assert "six augmentations of it by trial 5" in pictures[0][1]


def test_it_asks_nothing_of_any_network_and_runs_nothing(browser: webdriver.Chrome, page: str) -> None:
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get_log("browser")
    look(browser, page)
    asked = [
        entry["message"]
        for entry in browser.get_log("performance")
        if "requestWillBeSent" in entry["message"]
    ]
    assert asked, "the page itself is among what was asked for"
    assert not [message for message in asked if '"url":"http' in message]
    assert browser.get_log("browser") == []
    assert "<script>document.title" in browser.find_element(By.ID, "data").text
    assert run(browser, "return document.scripts.length") == 0


@pytest.mark.parametrize("width", [PHONE, 768, DESK])
def test_nothing_scrolls_sideways_but_boxes_of_their_own(
    width: int, browser: webdriver.Chrome, page: str
) -> None:
    look(browser, page, width=width)
    run(browser, "for (const one of document.querySelectorAll('details')) one.open = true")
    assert run(browser, "return document.documentElement.scrollWidth") <= width
    wide = run(
        browser,
        """return [...document.querySelectorAll('body *')].filter(one => !one.closest('.wide, .sheet, svg')
             && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))""",
    )
    assert wide == []


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_text_of_charts_is_readable(width: int, browser: webdriver.Chrome, page: str) -> None:
    look(browser, page, width=width)
    texts = run(browser, TEXTS_OF_CHARTS)
    assert len(texts) > 60
    assert {text["text"] for text in texts} >= {"RandAugment (2, 9)", "trial 5", "folds", "log-loss", "ECE"}
    assert min(text["size"] for text in texts) >= 10.5
    assert [text["text"] for text in texts if text["outside"] > 1] == []
    overlaps = [
        (one["text"], other["text"])
        for place, one in enumerate(texts)
        for other in texts[:place]
        if one["chart"] == other["chart"]
        and min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 4
    ]
    assert overlaps == []


def test_light_and_dark_are_both_easy_to_read(browser: webdriver.Chrome, page: str) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        look(browser, page, scheme=scheme)
        contrast, text = run(browser, FAINTEST)
        assert contrast >= 4.5, f"{text!r} in {scheme}"
        backgrounds.append(background(browser))
    assert backgrounds == ["rgb(255, 255, 255)", "rgb(16, 20, 26)"]


def test_on_paper_it_is_ink_on_white_even_from_a_dark_screen(browser: webdriver.Chrome, page: str) -> None:
    look(browser, page, media="print", scheme="dark")
    assert background(browser) == "rgb(255, 255, 255)"
    assert run(browser, FAINTEST)[0] >= 4.5
    assert not browser.find_element(By.TAG_NAME, "nav").is_displayed()
    look(browser, page)
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert 2 <= printed.count(b"/Type /Page\n") <= 8
