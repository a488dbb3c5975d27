"""Models in the server's panel: how they stand, loaded, given up and fetched, on a real server."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import ruvllm.hub as hub
from ruvllm.errors import IoError
from tests.hub.conftest import local_hub, publish, wheel_folder
from tests.serve.conftest import TINY
from tests.serve.managed import ADMIN, USER, Gate, Managed, managed
from tests.serve.model_store import NEW, Store
from tests.serve.page.conftest import Watch
from tests.serve.page.test_accessibility import LOW_CONTRAST, NAMELESS
from tests.serve.process import wait_until

__all__ = ["local_hub", "publish", "wheel_folder"]

OTHER = "other"
# It is a real pip that fetches.
FETCH_MS = 40_000


@pytest.fixture
def gates(tiny_chat_path: Path) -> dict[str, Gate]:
    return {TINY: Gate(tiny_chat_path), OTHER: Gate(tiny_chat_path)}


@pytest.fixture
def store(tiny_chat_path: Path, tmp_path: Path, publish: Any) -> Store:
    made = Store(tiny_chat_path, tmp_path / "cache")
    publish(made.entry, made.pieces)
    return made


@pytest.fixture
def server(gates: dict[str, Gate], store: Store) -> Iterator[Managed]:
    with managed([gate.served(name) for name, gate in gates.items()], store=store.made()) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        try:
            yield server
        finally:
            store.hold.set()
            for gate in gates.values():
                gate.open.set()


@pytest.fixture
def watch(server: Managed) -> Iterator[Watch]:
    """Fails the test if anything happened that must not."""
    watching = Watch(server.url)
    yield watching
    assert watching.unexpected() == []


@pytest.fixture
def page(browser: Browser, server: Managed, watch: Watch) -> Iterator[Page]:
    """The page, with the panel and the models in it open; its key is an admin's."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, reduced_motion="reduce")
    context.add_init_script(f"sessionStorage['ruvllm.key'] ??= '{ADMIN}'")
    opened = context.new_page()
    watch.attach(opened)
    opened.goto(server.url)
    open_models(opened)
    yield opened
    context.close()


def open_models(page: Page) -> None:
    page.get_by_role("button", name="The server now", exact=True).click()
    page.locator(".models summary").click()


def row(page: Page, name: str) -> Locator:
    return page.locator(".model-row").filter(has=page.get_by_text(name, exact=True))


def check_looks(page: Page) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(LOW_CONTRAST, 4.5) == []
    for width in (360, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        panel = page.locator("#server-panel")
        assert panel.evaluate("(node) => node.scrollWidth - node.clientWidth") == 0


def test_a_model_is_loaded_and_unloaded(page: Page, server: Managed, gates: dict[str, Gate]) -> None:
    one = row(page, OTHER)
    expect(page.locator(".models summary")).to_have_text("Models 1 of 2 loaded")
    expect(row(page, TINY).locator(".model-state")).to_have_text("loaded")
    expect(one.locator(".model-state")).to_have_text("not loaded")
    check_looks(page)
    gates[OTHER].open.clear()
    one.get_by_role("button", name=f"Load {OTHER}").click()
    expect(one.get_by_role("progressbar", name=OTHER)).to_have_text("loading, 25 %")
    # It stays where the focus is, and does nothing for now.
    button = one.get_by_role("button", name=f"loading… {OTHER}")
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-disabled", "true")
    button.click(force=True)
    check_looks(page)
    gates[OTHER].open.set()
    expect(one.locator(".model-state")).to_have_text("loaded")
    expect(page.locator("#announcements")).to_have_text(f"{OTHER}: loaded.")
    expect(page.locator("#model option")).to_have_text([TINY, OTHER])
    assert gates[OTHER].asked == 1

    one.get_by_role("button", name=f"Unload {OTHER}").click()
    dialog = page.get_by_role("dialog", name=f"Unload {OTHER}?")
    dialog.get_by_role("button", name="Cancel").click()
    assert server.state(OTHER)["value"] == "loaded"
    one.get_by_role("button", name=f"Unload {OTHER}").click()
    dialog.get_by_role("button", name="Unload", exact=True).click()
    expect(one.locator(".model-state")).to_have_text("not loaded")
    assert server.state(OTHER) == {"value": "unloaded"}


def test_what_the_server_says_against_it_is_shown(
    page: Page, server: Managed, watch: Watch, gates: dict[str, Gate]
) -> None:
    watch.expected += ["status of 409", "status of 400"]
    import ruvllm.serve.routes.managing as managing

    [served] = [one for one in server.server.app.state.server.models if one.name == TINY]
    with pytest.MonkeyPatch.context() as patch, served.uses.one():
        patch.setattr(managing, "UNLOAD_WAIT_SECONDS", 0.1)
        row(page, TINY).get_by_role("button", name="Unload").click()
        page.get_by_role("dialog").get_by_role("button", name="Unload", exact=True).click()
        problem = row(page, TINY).get_by_role("alert")
        expect(problem).to_contain_text("in use by 1 request, after 0.1 s of waiting: try later")
    gates[OTHER].failing = IoError("the disk is broken")
    row(page, OTHER).get_by_role("button", name="Load").click()
    expect(row(page, OTHER).get_by_role("alert")).to_contain_text("the disk is broken")
    again = row(page, OTHER).get_by_role("button", name=f"Load {OTHER}")
    expect(again).to_be_visible()
    # The same once more, which no look at the server may have seen otherwise meanwhile.
    with page.expect_response("**/v1/models"):
        again.click()
    expect(again).to_have_attribute("aria-disabled", "false")
    expect(row(page, OTHER).get_by_role("alert")).to_contain_text("the disk is broken")
    page.get_by_label("Fetch a model").fill("/etc/passwd")
    page.keyboard.press("Enter")
    expect(page.locator(".models > .problem")).to_contain_text("a path is not fetched")
    expect(page.get_by_label("Fetch a model")).to_have_value("/etc/passwd")
    check_looks(page)


def test_a_model_is_fetched_with_its_share_stopped_and_fetched_anew(
    page: Page, server: Managed, store: Store
) -> None:
    store.hold.clear()
    field = page.get_by_label("Fetch a model")
    field.fill(f" {NEW} ")
    page.get_by_role("button", name="Fetch", exact=True).click()
    bar = row(page, NEW).get_by_role("progressbar", name=NEW)
    expect(bar).to_have_text(re.compile(r"^fetching, [45]\d % of 1 MB$"))
    expect(page.locator(".models summary")).to_have_text("Models 1 of 2 loaded, fetching 1")
    expect(field).to_have_value("")
    check_looks(page)
    row(page, NEW).get_by_role("button", name=f"Stop {NEW}").click()
    expect(row(page, NEW)).to_have_count(0)
    expect(field).to_be_focused()
    store.hold.set()
    wait_until(lambda: all(one.name != f"fetch {NEW}" for one in threading.enumerate()))
    field.fill(NEW)
    page.keyboard.press("Enter")
    expect(row(page, NEW).locator(".model-state")).to_have_text("not loaded", timeout=FETCH_MS)
    expect(page.locator("#model option")).to_have_text([TINY, OTHER, NEW])
    row(page, NEW).get_by_role("button", name=f"Load {NEW}").click()
    expect(row(page, NEW).locator(".model-state")).to_have_text("loaded")
    assert server.says(model=NEW)


def test_one_that_could_not_be_fetched_is_tried_again_or_forgotten(
    page: Page, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull, full = hub.pull, threading.Event()
    full.set()

    def pulled(*arguments: Any, **rest: Any) -> Path:
        if full.is_set():
            raise IoError("the disk is full")
        return pull(*arguments, **rest)

    monkeypatch.setattr(hub, "pull", pulled)
    field = page.get_by_label("Fetch a model")
    field.fill(NEW)
    page.keyboard.press("Enter")
    expect(row(page, NEW).get_by_role("alert")).to_contain_text("the disk is full")
    expect(row(page, NEW).locator(".model-state")).to_have_text("could not be fetched")
    check_looks(page)
    row(page, NEW).get_by_role("button", name=f"Forget {NEW}").click()
    expect(row(page, NEW)).to_have_count(0)
    field.fill(NEW)
    page.keyboard.press("Enter")
    again = row(page, NEW).get_by_role("button", name=f"Try again {NEW}")
    expect(again).to_be_visible()
    full.clear()
    again.click()
    expect(row(page, NEW).locator(".model-state")).to_have_text("not loaded", timeout=FETCH_MS)
    expect(row(page, NEW).get_by_role("alert")).to_be_hidden()


def test_a_key_that_may_not_says_what_is_needed(page: Page, server: Managed) -> None:
    page.evaluate(f"sessionStorage['ruvllm.key'] = '{USER}'")
    page.reload()
    open_models(page)
    said = server.refused(403, "/models/load", USER, model=TINY)["message"]
    expect(page.locator(".model-refusal")).to_contain_text(said)
    expect(row(page, TINY).locator(".model-state")).to_have_text("loaded")
    expect(page.locator(".model-row button:visible")).to_have_count(0)
    expect(page.get_by_label("Fetch a model")).to_be_hidden()
    check_looks(page)
    page.locator(".model-refusal").get_by_role("button", name=re.compile("key…")).click()
    page.get_by_role("dialog").get_by_label("Key", exact=True).fill(ADMIN)
    page.keyboard.press("Enter")
    expect(page.locator(".model-refusal")).to_be_hidden()
    expect(row(page, OTHER).get_by_role("button", name=f"Load {OTHER}")).to_be_visible()
    expect(page.get_by_label("Fetch a model")).to_be_visible()


def test_a_server_that_fetches_nothing_says_so(browser: Browser, gates: dict[str, Gate]) -> None:
    with managed([gates[TINY].served()]) as server:
        page = browser.new_page()
        page.add_init_script(f"sessionStorage['ruvllm.key'] ??= '{ADMIN}'")
        page.goto(server.url)
        open_models(page)
        expect(page.locator(".model-refusal")).to_contain_text("fetches and deletes no models")
        expect(page.locator(".model-refusal button")).to_be_hidden()
        expect(page.get_by_label("Fetch a model")).to_be_hidden()
        expect(row(page, TINY).get_by_role("button", name=f"Unload {TINY}")).to_be_visible()
        page.close()
