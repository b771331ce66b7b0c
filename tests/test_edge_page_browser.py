"""The pages in a real browser: for who sees them, who hears them, and who has only a keyboard.

axe-core looks for what people who use a screen reader, or see badly, would stumble over (WCAG 2.2 A and AA, and its own
best practices).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.testing.server_process import ServerProcess
from tests.kit.chromium import MISSING, Load, chromium, http_port

VIEWS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
}
#: Between the requests of a client: axe looks at each of a picture.
REST_S = 0.3
#: Milliseconds that anything may take to be seen; nothing is waited for in vain.
PATIENCE_MS = 30_000


@contextlib.contextmanager
def looking() -> Iterator[tuple[Any, str, int]]:
    """A browser, the address of a server at work, and its port."""
    with (
        tempfile.TemporaryDirectory() as data, ServerProcess("--http", "0", data=data) as server,
        Load(server.port, REST_S), chromium() as browser,
    ):  # fmt: skip
        yield browser, f"http://127.0.0.1:{http_port(server)}", server.port


def _ends(request: Any) -> bool:
    """Whether it was the page itself that wants no more events."""
    return bool(request.url.endswith("/events"))


@pytest.mark.long
class BrowserTests(SynchronousTestCase):
    """One browser for all of it: to start one takes seconds."""

    def setUp(self) -> None:
        """Start a server with clients, and a browser."""
        if MISSING:
            raise SkipTest(MISSING)
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.browser, self.address, self.port = stack.enter_context(looking())
        self.complaints: list[str] = []

    def open(self, path: str, **options: Any) -> Any:
        """A page, whose script runs unless it is to have none; what it complains of is kept."""
        page = self.browser.new_page(**({"viewport": {"width": 1280, "height": 900}} | options))
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.extend([] if _ends(request) else [request.url]))
        page.goto(self.address + path)
        return page

    def live(self, path: str, **options: Any) -> Any:
        """A page that has been told something."""
        page = self.open(path, **options)
        page.locator("#live", has_text="Live").wait_for()
        return page

    def test_pages(self) -> None:
        """All of what follows."""
        for look in (
            self.accessible, self.fits, self.status_lives, self.pauses, self.interleaving_by_keyboard, self.by_mouse,
            self.no_motion, self.no_scripts,
        ):  # fmt: skip
            look()
            for context in self.browser.contexts:
                context.close()
        self.assertEqual(self.complaints, [])

    def accessible(self) -> None:
        """axe finds nothing, on any page, in any view."""
        from axe_playwright_python.sync_playwright import Axe

        for view, options in VIEWS.items():
            for path in ("/", "/interleaving"):
                page = self.live(path, **options)
                if path == "/interleaving":
                    page.locator("#lanes").press("ArrowRight")
                    page.locator("#rows summary").click()
                found = Axe().run(page)
                self.assertEqual(found.violations_count, 0, f"{view} {path}: {found.generate_report()}")
                page.close()

    def fits(self) -> None:
        """No page is wider than a small phone."""
        for path in ("/", "/interleaving"):
            page = self.live(path, **VIEWS["phone"])
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360, path)
            page.close()

    def status_lives(self) -> None:
        """Figures change while one looks, and a table keeps the place to which it was scrolled, and the focus."""
        page = self.live("/", **VIEWS["phone"])
        table = "const wide = document.querySelector('#clients .wide');"
        page.evaluate(f"() => {{ {table} wide.focus(); wide.scrollLeft = 100; wide.dataset.old = 1; }}")
        page.locator("#clients .wide:not([data-old])").wait_for()
        kept = page.evaluate(f"() => {{ {table} return [wide.scrollLeft, document.activeElement === wide]; }}")
        self.assertEqual(kept, [100, True])

    def pauses(self) -> None:
        """Paused, nobody listens; then it goes on."""
        page = self.live("/")
        page.get_by_role("button", name="Pause").press("Enter")
        page.locator("#live", has_text="Paused").wait_for()
        page.get_by_role("button", name="Go on").press("Space")
        page.locator("#live", has_text="Live").wait_for()

    def interleaving_by_keyboard(self) -> None:
        """From the skip link to one request of a commit, its lane, a closer look, and the picture after it."""
        page = self.live("/interleaving")
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Skip to the content")
        lanes = page.locator("#lanes")
        lanes.focus()
        page.keyboard.press("c")
        page.locator("#live", has_text="Paused").wait_for()
        told = page.locator("#details")
        commit = told.locator("dd").nth(6).text_content()
        self.assertRegex(commit, "^[1-9][0-9]*$")
        self.assertGreaterEqual(page.locator("rect.selected").count(), 1)
        self.assertEqual(page.locator("rect.commit.together").get_attribute("data-commit"), commit)
        before = told.text_content()
        for key in ("ArrowDown", "ArrowUp", "ArrowRight"):
            page.keyboard.press(key)
        self.assertNotEqual(told.text_content(), before)
        page.keyboard.press("+")
        self.assertRegex(page.locator("#lanes svg").get_attribute("viewBox"), r"^[0-9.]+ 0 500 ")
        summary = page.locator("#summary").text_content()
        page.get_by_role("button", name="Next picture").press("Enter")
        page.locator("#summary", has_not_text=summary).wait_for()
        page.get_by_role("button", name="Picture before").press("Enter")
        self.assertEqual(page.locator("#summary").text_content(), summary)

    def by_mouse(self) -> None:
        """A tick that is clicked is told of, without its value."""
        page = self.live("/interleaving")
        page.locator("rect.write").first.dispatch_event("click")
        told = page.locator("#details").text_content()
        self.assertIn("write", told)
        self.assertNotIn("xxxx", told)

    def no_motion(self) -> None:
        """Who wants no motion asks for each picture."""
        page = self.open("/interleaving", reduced_motion="reduce")
        self.assertEqual(page.locator("#live").text_content(), "Paused")
        page.get_by_role("button", name="Next picture").click()
        page.locator("#summary").wait_for()
        self.assertEqual(page.locator("#live").text_content(), "Paused")

    def no_scripts(self) -> None:
        """Without scripts the pages are complete: the status, and a picture with its table by a link."""
        page = self.open("/", java_script_enabled=False)
        self.assertIn("sensor", page.locator("#clients").text_content())
        page.get_by_role("link", name="Interleaving").click()
        page.get_by_role("link", name="Record up to a second now").click()
        self.assertGreater(page.locator("rect[data-n]").count(), 0)
        page.locator("#rows summary").click()
        self.assertGreater(page.get_by_role("row").count(), 10)
