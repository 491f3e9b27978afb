"""What the tests of HTML reports share: a reader that checks a page, and a look at it in a browser if there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "br"}

needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium (Debian: chromium) to look at the page")


class Page(HTMLParser):
    """Checks that tags close in order, and collects tags, attributes and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def check_self_contained(self) -> None:
        """Nothing is loaded, nothing runs, and phones show it at their width."""
        assert not {"script", "link", "img", "iframe", "object"} & set(self.tags)
        assert not [value for name, value in self.attributes if name in ("src", "href", "style", "onclick")]
        assert ("name", "viewport") in self.attributes
        style = self.words[next(i for i, word in enumerate(self.words) if ":root" in word)]
        assert "url(" not in style and "@import" not in style


def look(source: str, folder: Path, *, width: int) -> dict[str, int]:
    """Open a page in a frame of this width: how wide its content is, how much is seen, and how many charts stand there.

    Chromium's windows have a least width, a frame has not.
    """
    probe = (
        "<script>addEventListener('load', () => { document.body.dataset.found = JSON.stringify({"
        "wide: document.documentElement.scrollWidth, seen: innerWidth, charts: [...document.querySelectorAll('svg')]"
        ".filter(one => one.getBoundingClientRect().height > 50).length}) })</script>"
    )
    (folder / "inner.html").write_text(source.replace("</body>", probe + "</body>"))
    outer = (
        f"<iframe src='inner.html' width={width} height=700></iframe><script>addEventListener('load', () => "
        "{ document.body.dataset.found = frames[0].document.body.dataset.found })</script>"
    )
    (folder / "outer.html").write_text(f"<!doctype html><body>{outer}</body>")
    words = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--disable-component-update", "--disable-sync", "--allow-file-access-from-files",
        f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "outer.html").as_uri(),
    ]  # fmt: skip
    process = subprocess.run(words, capture_output=True, text=True, timeout=120)
    found = re.search(r"data-found=\"([^\"]*)\"", process.stdout)
    assert found, process.stderr
    return json.loads(found[1].replace("&quot;", '"'))
