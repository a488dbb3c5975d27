"""Everyone can use it: names for what is on the page, keys, a reader's ears, contrast, a phone's width."""

import re
import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import Answer, Script

Ask = Callable[[str], None]
RICH = """# Title

Text with [a link](https://example.org/) and `code`.

| a | b |
|--|--|
| 1 | 2 |

> quote

```python
x = 1  # one
```
"""
WIDE = "\n\n".join(
    [
        "Averyverylongwordwithoutanyspaces" * 12,
        f"`{'code' * 60}`",
        f"```\n{'x' * 400}\n```",
        f"|{'a long cell | ' * 20}\n|{'--|' * 20}\n",
    ]
)

# What an assistive program would miss: by its accessible name, as the browser computes what it is from.
NAMELESS = """
() => [...document.querySelectorAll(
  'button, a, input, textarea, select, [role=region], nav, main, aside, dialog, details > summary')]
  .filter((node) => node.checkVisibility())
  .filter((node) => {
    const labels = [...(node.labels ?? [])].map((label) => label.textContent).join('');
    const by = node.getAttribute('aria-labelledby');
    const text = node.matches('button, a, summary') && node.textContent.trim();
    const named = by && document.getElementById(by)?.textContent;
    return !(node.getAttribute('aria-label') || named || labels || text);
  })
  .map((node) => node.outerHTML.slice(0, 200))
"""

# WCAG's contrast of every visible text against the colours behind it.
LOW_CONTRAST = """
(least) => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = ([...parts], ground) => {
    const a = parts.pop() / 255;
    return parts.map((part, i) => part * a + ground[i] * (1 - a));
  };
  const behind = (node) => {
    if (!node) return [255, 255, 255];
    const colour = rgba(getComputedStyle(node).backgroundColor);
    return colour[3] === 255 ? colour.slice(0, 3) : over(colour, behind(node.parentElement));
  };
  const luminance = (colour) => {
    const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = colour.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    const isUnseen = !node.checkVisibility() || node.closest('.visually-hidden, :disabled, noscript, option');
    if (!text || isUnseen) continue;
    const ground = behind(node);
    const own = luminance(over(rgba(getComputedStyle(node).color), ground));
    const ratio = (Math.max(own, luminance(ground)) + 0.05) / (Math.min(own, luminance(ground)) + 0.05);
    if (ratio < least) low.push([text.slice(0, 40), ratio]);
  }
  return low;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_and_contrast_everywhere(page: Page, script: Script, ask: Ask, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    script.answers = [Answer([RICH]), Answer(["Half"], finish="length")]
    script.metrics = ["ruvllm:num_requests_running 1\n"]
    least = 4.5

    def check() -> None:
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(LOW_CONTRAST, least) == []

    check()
    ask("Show me everything.")
    ask("More.")
    page.get_by_role("button", name="The server now", exact=True).click()
    check()
    for name in ("Settings", "Keys", "Decisions"):
        page.get_by_role("button", name=name, exact=True).click()
        check()
        page.keyboard.press("Escape")
    page.locator(".question").first.hover()
    page.get_by_role("button", name="Edit the message").first.click()
    check()
    page.get_by_role("button", name=re.compile("Delete “")).dispatch_event("click")
    check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_and_contrast_of_what_is_not_always_there(
    page: Page, script: Script, watch: Watch, ask: Ask, scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)
    watch.expected.append("status of 401")
    script.answers = [Answer(["- [x] done\n- [ ] open\n\n$$\\text{if } \\frac{a}{b}$$"], thinking="Hm.")]
    script.max_model_len = 110

    def check() -> None:
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(LOW_CONTRAST, 4.5) == []

    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"Buy milk."}
    page.locator("#attach-files").set_input_files(file)
    expect(page.locator(".attachment")).to_have_text("notes.txt")
    check()
    ask("A long line.\n" * 400)
    expect(page.locator(".nearly-full")).to_be_visible()
    page.get_by_label("Find in titles and messages").fill("milk")
    expect(page.locator(".excerpt")).to_be_visible()
    check()
    page.locator(".thoughts summary").click()
    page.locator(".file summary").click()
    page.get_by_role("button", name="Edit the answer").click()
    check()
    page.get_by_role("button", name="Settings").click()
    for _ in range(2):
        page.get_by_role("button", name="Save as preset…").click()
        page.get_by_label("Name of the preset").fill("Mine")
        page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Replace the preset?")).to_be_visible()
    check()
    page.keyboard.press("Escape")
    page.evaluate("() => void (Storage.prototype.setItem = () => { throw new Error('It is full.'); })")
    page.get_by_label("System prompt").fill("Be brief.")
    expect(page.get_by_role("dialog", name="The browser does not keep your choices")).to_be_visible()
    check()
    page.reload()
    script.key = "sk-secret-1"
    page.evaluate("sessionStorage.setItem('ruvllm.key', 'sk-wrong')")
    page.reload()
    expect(page.get_by_role("alert")).to_be_visible()
    check()


def test_the_focus_does_not_get_lost(page: Page, script: Script, ask: Ask) -> None:
    """What had it may be gone after an edit or a deletion; then the field for the next message has it."""
    script.answers = [Answer(["One."])]
    ask("Count.")
    message = page.get_by_label("Your message", exact=True)
    page.get_by_role("button", name="Edit the answer").press("Enter")
    page.get_by_label("The answer, edited").fill("Two.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".answer .markdown")).to_have_text("Two.")
    expect(message).to_be_focused()
    expect(page.locator("#announcements")).to_have_text("Answer edited.")
    page.get_by_role("button", name="Delete the answer").press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .markdown")).to_have_text("One.")
    expect(message).to_be_focused()
    page.keyboard.type("Typed.")
    expect(message).to_have_value("Typed.")
    expect(page.locator("#announcements")).to_have_text("Answer deleted.")


def test_landmarks_and_headings(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer([RICH])]
    ask("Show me everything.")
    for role in ("navigation", "main", "banner"):
        expect(page.get_by_role(role)).to_have_count(1)
    levels = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all(
        "(all) => all.filter((one) => one.checkVisibility()).map((one) => Number(one.localName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert page.evaluate("document.documentElement.lang") == "en"


def test_an_answer_is_spoken_once_and_whole(page: Page, script: Script, send: Ask) -> None:
    page.evaluate(
        """() => {
          window.spoken = [];
          const region = document.getElementById('announcements');
          new MutationObserver(() => region.textContent && window.spoken.push(region.textContent))
            .observe(region, { childList: true, characterData: true, subtree: true });
        }"""
    )
    release = threading.Event()
    script.answers = [Answer(["One ", "two ", "three."], held=release)]
    send("Count.")
    expect(page.locator(".answer .markdown")).to_have_text("One two three.")
    assert page.evaluate("window.spoken") == []
    release.set()
    expect(page.locator("#announcements")).to_have_text("Answer: One two three.")
    assert page.evaluate("window.spoken") == ["Answer: One two three."]
    assert page.locator("[aria-live]").count() == 1


def test_the_keyboard_does_it_all(page: Page, script: Script, ask: Ask) -> None:
    message = page.get_by_label("Your message", exact=True)
    expect(message).to_be_focused()
    message.press_sequentially("one")
    page.keyboard.press("Shift+Enter")
    message.press_sequentially("two")
    assert message.input_value() == "one\ntwo"
    page.keyboard.press("Enter")
    expect(page.locator(".answer .facts")).to_contain_text("tokens/s")
    assert script.asked[0]["messages"][0]["content"] == "one\ntwo"
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Your message, edited")).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("#scroller").focus()
    page.keyboard.press("/")
    expect(message).to_be_focused()
    page.keyboard.press("?")
    assert message.input_value() == "?"
    message.fill("")
    page.locator("#scroller").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Begin a new line")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Control+b")
    expect(page.get_by_role("navigation")).to_be_hidden()
    page.keyboard.press("Control+b")
    page.keyboard.press("Control+k")
    expect(page.locator("#welcome")).to_be_visible()
    expect(message).to_be_focused()


def test_the_skip_link_comes_before_the_rest_and_leads_to_the_message(page: Page, ask: Ask) -> None:
    ask("Hello?")
    # A click on what cannot have the focus sets where the Tab key begins.
    page.locator(".brand").click()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="Skip to the message field")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your message", exact=True)).to_be_focused()
    expect(page.locator(".answer")).to_have_count(1)


def test_focus_can_be_seen(page: Page) -> None:
    page.locator(".brand").click()
    page.keyboard.press("Shift+Tab")
    for _ in range(12):
        page.keyboard.press("Tab")
        style = page.evaluate(
            """() => { const style = getComputedStyle(document.activeElement);
                 return [document.activeElement.id, style.outlineStyle, parseFloat(style.outlineWidth)]; }"""
        )
        assert style[0] == "message" or (style[1] != "none" and style[2] >= 2), style


def test_nothing_moves_for_those_who_want_no_motion(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Answer(["Wait"], held=threading.Event())]
    send("Hello?")
    expect(page.locator(".answer .markdown")).to_have_text("Wait")
    assert page.evaluate("document.getAnimations().length") == 0
    page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_nothing_scrolls_sideways(page: Page, script: Script, ask: Ask, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    script.answers = [Answer([WIDE])]
    script.metrics = ["ruvllm:num_requests_running 1\n"]
    ask("W" * 300)

    def check() -> None:
        too_wide = "[document.documentElement, document.body, document.getElementById('scroller')]"
        assert page.evaluate(f"{too_wide}.map((node) => node.scrollWidth - node.clientWidth)") == [0, 0, 0]

    check()
    page.get_by_role("button", name="The server now", exact=True).click()
    check()
    page.get_by_role("button", name="Close the server panel").click()
    page.get_by_role("button", name="Settings").click()
    assert page.get_by_role("dialog").evaluate("(node) => node.scrollWidth - node.clientWidth") == 0
    check()


def test_the_drawer_of_a_phone(page: Page, script: Script, ask: Ask) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    drawer = page.get_by_role("navigation")
    expect(drawer).to_be_hidden()
    ask("Hello?")
    page.get_by_role("button", name="Conversations", exact=True).click()
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page.get_by_role("button", name="Conversations", exact=True)).to_be_focused()
    page.get_by_role("button", name="Conversations", exact=True).click()
    page.get_by_role("button", name="New conversation").click()
    expect(drawer).to_be_hidden()
    expect(page.locator("#welcome")).to_be_visible()
    page.get_by_role("button", name="Conversations", exact=True).click()
    page.get_by_role("link", name="Hello?").click()
    expect(drawer).to_be_hidden()
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
