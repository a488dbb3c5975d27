"""A model may write anything. On the page it stays text: nothing runs, nothing loads, nothing leaves.

The watch of conftest.py fails these on any dialog, popup, exception, message on the console (which the
content policy writes for whatever it stops) or request to another address.
"""

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import Answer, Refusal, Script

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(2)</script></svg>",
    "<iframe src='https://evil.example/'></iframe><object data='https://evil.example/'></object>",
    "<a href='javascript:alert(1)'>x</a><base href='https://evil.example/'>",
    "<style>body{background:url(https://evil.example/x.png)}</style>",
    "<link rel=stylesheet href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<form action=https://evil.example/><input autofocus onfocus=alert(1)></form>",
    "<details open ontoggle=alert(1)>x</details><video src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) [click](JaVaScRiPt:alert(1)) [click]( javascript:alert(1) )",
    "[click](java&#115;cript:alert(1)) [click](java\\script:alert(1)) [a](&#x6A;avascript&colon;alert(1))",
    "[a](data:text/html,<script>alert(1)</script>) [b](vbscript:x) [c](file:///etc/passwd) [d](blob:x)",
    "[a](//evil.example/) [b](/page/app.js) [c](\\\\evil.example) [d](mailto:a@b.c) [e](#x)",
    "![x](https://evil.example/pixel.png) ![y](javascript:alert(1))",
    "![z](data:image/svg+xml,<svg onload=alert(1)>) ![z][z]\n\n[z]: javascript:alert(1)",
    "[x](https://evil.example/\" onmouseover=\"alert(1)) [y](https://evil.example/'onclick='alert(1))",
    "<https://evil.example/\"onclick=alert(1)> <javascript:alert(1)>",
    "[<img src=x onerror=alert(1)>](https://example.org/) `<script>alert(1)</script>`",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    "```html\n<script>alert(1)</script>\n",
    "```<script>alert(1)</script>\ncode\n```",
    "```\" onclick=\"alert(1)\n</code></pre><script>alert(1)</script>\n```",
    "| <img src=x onerror=alert(1)> | b |\n|---|---|\n| </table><script>alert(1)</script> | x |",
    "# <script>alert(1)</script>\n> <img src=x onerror=alert(1)>\n- <svg/onload=alert(1)>",
    "\u202e<script>alert(1)</script>\u0000\ufeff\ud83d",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)}",
    "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
    "<think><img src=x onerror=alert(1)></think><img src=x onerror=alert(1)>",
]  # fmt: skip
ALLOWED = {
    "a", "blockquote", "br", "button", "code", "del", "div", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol",
    "p", "path", "pre", "span", "strong", "svg", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {
    "a": {"href", "title", "target", "rel"},
    "ol": {"start"},
    "th": {"scope", "class"},
    "td": {"class"},
    "pre": {"tabindex"},
}
INVENTORY = """
(nodes) => nodes.flatMap((node) => [...node.querySelectorAll('*')].map((inner) =>
  [inner.localName, inner.getAttributeNames(), inner.getAttribute('href')]))
"""


def wrong_with(tag: str, names: list[str], href: str | None) -> bool:
    """Whether the page's own code does not make such an element."""
    return (
        tag not in ALLOWED
        or (tag in ATTRIBUTES and not set(names) <= ATTRIBUTES[tag])
        or any(name.startswith("on") or name in ("src", "style", "srcdoc") for name in names)
        or (tag == "a" and not str(href).startswith(("https://", "http://")))
    )


def test_what_a_model_writes_stays_text(page: Page, script: Script, watch: Watch, ask) -> None:
    failed = []
    for text in HOSTILE:
        pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
        script.answers = [Answer(pieces, piece_seconds=0.001)]
        page.keyboard.press("Control+k")
        expect(page.locator(".message")).to_have_count(0)
        ask("Attack me.")
        inventory = page.locator(".answer .markdown").evaluate_all(INVENTORY)
        failed += [(text, element) for element in inventory if wrong_with(*element)]
        # Following what became a link would leave the page; hovering and focusing must do nothing.
        for link in page.locator(".answer .markdown a").all():
            link.hover()
            link.focus()
        failed += [(text, what) for what in watch.happened]
        watch.happened.clear()
    assert not failed


def test_all_of_it_is_readable(page: Page, script: Script, ask) -> None:
    script.answers = [Answer(["<script>alert(1)</script> <img src=x onerror=alert(1)>"])]
    ask("Attack me.")
    shown = page.locator(".answer .markdown").inner_text()
    assert shown == "<script>alert(1)</script> <img src=x onerror=alert(1)>"


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>"])
def test_the_same_holds_everywhere_else(page: Page, script: Script, watch: Watch, ask, text: str) -> None:
    """In questions, titles, names of models, errors and thoughts."""
    watch.expected.append("status of 400")
    script.answers = [Answer([text], thinking=text), Refusal.of(400, text, text)]
    script.models = [text, "other"]
    page.reload()
    ask(text)
    page.get_by_label("Your message", exact=True).fill(text)
    page.keyboard.press("Enter")
    expect(page.locator(".trouble")).to_contain_text(text)
    expect(page.locator("#title")).to_have_text(text)
    expect(page.locator(".conversation-link").first).to_have_text(text)
    expect(page.locator("#model option").first).to_have_text(text)
    expect(page.locator(".question .bubble").first).to_have_text(text)
    assert page.locator(".thoughts-text").text_content() == text
    assert page.locator("body img:not([src^='page/'])").count() == 0
    assert page.locator("body script").count() == 0


def test_the_policy_stops_what_would_get_through(page: Page, watch: Watch) -> None:
    """The second wall: were the page wrong somewhere, the browser still refuses."""
    watch.expected += ["Content Security Policy", "evil.example", "status of 404 .*/x$"]
    ran = page.evaluate(
        """() => {
          window.ran = false;
          document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.ran = true">');
          const inline = document.createElement('script');
          inline.textContent = 'window.ran = true';
          document.body.append(inline);
          const refused = fetch('https://evil.example/').then(() => 'sent', () => 'refused');
          const later = new Promise((done) => setTimeout(done, 100));
          return Promise.all([refused, later]).then(([sent]) => [window.ran, sent]);
        }"""
    )
    assert ran == [False, "refused"]
    assert any("Content Security Policy" in what for what in watch.happened)
