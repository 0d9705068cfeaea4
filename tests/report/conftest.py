"""Pages of made-up runs, and a browser to look at them with."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.making import BUILT_WITHIN, HOSTILE, large_run, page_of, varied_run

MANY = 30_000
TRIES = 3
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of four questions with hostile text wherever a run can hold text."""
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / "page.html"
    path.write_text(page_of(varied_run(folder, HOSTILE)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A page of 30,000 questions by three cases, and the processor's seconds that it took to build: the least of a few
    times, since other work on the machine takes caches from this one."""
    folder = tmp_path_factory.mktemp("large")
    run, path = large_run(folder, MANY), folder / "page.html"
    seconds = []
    while len(seconds) < TRIES and (not seconds or min(seconds) >= BUILT_WITHIN):
        start = time.process_time()  # not the wall's: other work on the machine is not the page's
        path.write_text(page_of(run), encoding="utf-8")
        seconds.append(time.process_time() - start)
    return path, min(seconds)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, driven by playwright. Skips where either is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: the extra [dev] has it"
    )
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no Chromium on the path: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()
