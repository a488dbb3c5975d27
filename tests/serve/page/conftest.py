"""A browser, a scripted server, and pages that are watched for what must never happen."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.serve.page.browser import running_browser
from tests.serve.page.scripted_server import Script, ScriptedServer
from tests.serve.running import running

expect.set_options(timeout=15_000)


# For a module, not for the session: while Playwright runs, its event loop counts as this thread's, and
# asyncio tests could not have theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a module."""
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def scripted_server() -> Iterator[ScriptedServer]:
    """The server, running; each test gives it a script."""
    server = ScriptedServer()
    with running(server.app) as served:
        server.address = served.url
        yield server


@pytest.fixture
def script(scripted_server: ScriptedServer) -> Script:
    """A new script for this test."""
    scripted_server.script = Script()
    return scripted_server.script


@dataclass
class Watch:
    """What happened on a page that should not; `expected` names what a test provokes on purpose."""

    address: str
    expected: list[str] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)

    def attach(self, page: Page) -> None:
        """Listens on a page."""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.happened.append(f"exception: {error}"))
        page.on("dialog", self._on_dialog)
        page.on("request", self._on_request)
        page.on("popup", lambda popup: self.happened.append(f"popup: {popup.url}"))

    def _on_console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.happened.append(f"console: {message.text} {message.location.get('url', '')}")

    def _on_dialog(self, dialog) -> None:
        self.happened.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request) -> None:
        if not request.url.startswith((self.address + "/", "blob:" + self.address)):
            self.happened.append(f"request to elsewhere: {request.url}")

    def unexpected(self) -> list[str]:
        """What no test asked for."""
        return [what for what in self.happened if not any(re.search(one, what) for one in self.expected)]


@pytest.fixture
def watch(scripted_server: ScriptedServer) -> Iterator[Watch]:
    """Fails the test if anything happened that must not."""
    watching = Watch(scripted_server.address)
    yield watching
    assert watching.unexpected() == []


@pytest.fixture
def context(browser: Browser, script: Script) -> Iterator[BrowserContext]:
    """A browser without memory."""
    del script  # a test must not see the last one's
    fresh = browser.new_context(viewport={"width": 1200, "height": 800}, reduced_motion="reduce")
    fresh.grant_permissions(["clipboard-read", "clipboard-write"])
    yield fresh
    fresh.close()


@pytest.fixture
def page(context: BrowserContext, watch: Watch) -> Page:
    """The page, open, with the models there."""
    opened = context.new_page()
    watch.attach(opened)
    opened.goto(watch.address)
    expect(opened.locator("#model-name")).to_have_text("scripted-1b")
    return opened


@pytest.fixture(scope="module")
def bare_page(browser: Browser, scripted_server: ScriptedServer) -> Iterator[Page]:
    """A document of the server with nothing in it, for tests that import the page's modules by themselves."""
    opened = browser.new_page()
    opened.goto(f"{scripted_server.address}/page/nothing")
    yield opened
    opened.close()


@pytest.fixture
def send(page: Page) -> Callable[[str], None]:
    """Types a message and sends it."""

    def type_and_send(text: str) -> None:
        page.get_by_label("Your message", exact=True).fill(text)
        page.keyboard.press("Enter")

    return type_and_send


@pytest.fixture
def ask(page: Page, send: Callable[[str], None]) -> Callable[[str], None]:
    """Sends a message and waits until an answer stands below it, complete."""

    def send_and_wait(text: str) -> None:
        count = page.locator(".answer").count()
        send(text)
        expect(page.locator(".answer")).to_have_count(count + 1)
        expect(page.locator(".answer[aria-busy]")).to_have_count(0)

    return send_and_wait


# Whether the shown conversation, with all its answers, is in the browser's database.
KEPT = """async () => {
    const { Conversations } = await import("/page/conversations.js");
    const shown = document.querySelectorAll(".answer").length;
    const kept = await (await Conversations.open()).load(location.hash.slice(1));
    if (kept === null) return false;
    return kept.messages.filter(({ role, finish }) => role === "assistant" && finish).length >= shown;
}"""


@pytest.fixture
def reload_once_kept(page: Page) -> Callable[[], None]:
    """Reloads as a person does, who is slower than a database: a busy machine may take its time to write."""

    def wait_and_reload() -> None:
        deadline = time.monotonic() + 15
        while not page.evaluate(KEPT):
            assert time.monotonic() < deadline, "the conversation is not kept"
            time.sleep(0.02)
        page.reload()

    return wait_and_reload
