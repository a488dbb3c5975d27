"""Markdown as the page shows it, against another program's reading of the same text.

The page makes links of http and https only, shows no pictures, and lets a table begin right below a list
item; in these it differs on purpose, and the corpus below stays away from them (test_hostile_answers.py
does not).
"""

import random
import textwrap

import pytest
from playwright.sync_api import Page

from tests.serve.page.growing import GROW
from tests.serve.page.markdown_oracle import PAGE_TREE, expected_tree, joined

CASES = {
    "paragraphs": "One line\nand the next.\n\nAnother paragraph.",
    "headings": "# One\n## Two ##\n### Three\nText\n====\nText\n----\n#no heading\n####### seven",
    "emphasis": "*a* **b** ***c*** _d_ __e__ **a *b* c** *a **b** c* snake_case_name 2 * 3 * 4 **a**b",
    "strikethrough": "~~gone~~ and ~~not",
    "code": "`a` ``b ` c`` `` ` `` `*x*` ` unclosed",
    "escapes": r"\*no\* \# \\ \[x] \` 1\. &amp; &lt;b&gt; &#42; &copy;",
    "links": "[a](https://example.org/) [b *c*](http://example.org/x?y=1&z=2) <https://example.org/auto> [d](<https://example.org/e>)",
    "titles": '[a](https://example.org/ "title") [b](https://example.org/(x)) [c] [d](',
    "bullets": "- a\n- b\n  - c\n  - d\n    - e\n- f\n\n* g\n\n+ h",
    "loose": "- a\n\n- b\n\n  second paragraph\n- c",
    "numbers": "3. three\n4. four\n   continued\n10. ten\n\n1) one",
    "code in a list": "1. Run this:\n\n   ```sh\n   make all\n   ```\n\n2. Done.",
    "quotes": "> a\n> b\nlazy\n>\n> > deeper\n\nafter",
    "fences": "```python\ndef f():\n\treturn 1\n```\n~~~\n```\n~~~\n````\n```\n````",
    "unclosed fence": "Text\n```js\nconst a = 1;\n\n# no heading",
    "indented code": "text\n\n    code\n      more\n\n    end\n\ntext",
    "rules": "a\n\n---\n***\n_ _ _\n- - -\nb",
    "tables": "| a | b | c |\n|:--|:-:|--:|\n| 1 | **2** | `3` |\n| x \\| y | | |\n| short |\n\nafter",
    "html": "<script>alert(1)</script>\n\n<b onclick='x()'>bold</b> a < b && c > d <div>",
    "unicode": "**Größe** 日本語 *é* — “quotes” 😀 **😀**",
}
FRAGMENTS = [
    "word", "a b", "**", "*", "_", "__", "~~", "`", "``", " ", "  ", "\n", "\n\n", "\n- ", "\n* ", "\n1. ",
    "\n2. ", "\n10) ", "\n> ", "\n  ", "\n    ", "\n   - ", "\n```\n", "\n```py\n", "\n~~~\n", "# ", "\n## ",
    "\n---\n", "\n***\n", "\n===\n", "[x](https://e.org/a)", "[y](javascript:alert)", "\\*",
    "\n\n| a | b |\n|---|:-:|\n",
    "(", ")", "[", "]", "é", "—", "&amp;", "<b>", '"', "foo_bar", "2*3", "<https://e.org/b>",
]  # fmt: skip
# CommonMark's rarest corners: spaces at line ends inside code, an empty item below an empty item.
MAX_DIFFERING_SHARE = 0.005


def random_documents(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    pieces = ("".join(draw.choices(FRAGMENTS, k=draw.randint(1, 14))) for _ in range(count))
    return [text.strip("\n").rstrip() for text in pieces]


@pytest.mark.parametrize("name", CASES)
def test_structure_is_the_oracles(bare_page: Page, name: str) -> None:
    assert joined(bare_page.evaluate(PAGE_TREE, CASES[name])) == expected_tree(CASES[name])


def test_random_documents_are_read_as_the_oracle_reads_them(bare_page: Page) -> None:
    documents = random_documents(seed=7, count=2000)
    trees = bare_page.evaluate(f"(texts) => Promise.all(texts.map({PAGE_TREE}))", documents)
    pairs = zip(documents, trees, strict=True)
    differing = [text for text, tree in pairs if joined(tree) != expected_tree(text)]
    assert len(differing) <= MAX_DIFFERING_SHARE * len(documents), differing[:5]


def test_growing_text_ends_as_the_whole_does(bare_page: Page) -> None:
    draw = random.Random(11)
    documents = ["\n\n".join(CASES.values()), *CASES.values(), *random_documents(seed=12, count=300)]
    for text in documents:
        cuts = sorted(draw.sample(range(len(text) + 1), k=min(len(text), draw.choice([3, 30, 10_000]))))
        # Cuts fall between UTF-16 units in the page; both sides get the same text in the end.
        grown, whole = bare_page.evaluate(GROW, [text, cuts])
        assert grown == whole, text


def test_settled_blocks_stay_where_they_are(bare_page: Page) -> None:
    kept = bare_page.evaluate(
        """() => import('/page/markdown.js').then(({ GrowingMarkdown }) => {
          const box = document.createElement('div');
          const growing = new GrowingMarkdown(box);
          growing.update('First.\\n\\nSecond.\\n\\nThird', false);
          const first = box.firstChild;
          growing.update('First.\\n\\nSecond.\\n\\nThird goes on.', false);
          return first === box.firstChild && box.childElementCount === 3;
        })"""
    )
    assert kept


def test_a_long_answer_stays_quick(bare_page: Page) -> None:
    """A piece at the end of 4,000 paragraphs costs little: what is settled is not drawn again."""
    milliseconds = bare_page.evaluate(
        """() => import('/page/markdown.js').then(({ GrowingMarkdown }) => {
          const growing = new GrowingMarkdown(document.createElement('div'));
          let text = 'A **paragraph** of `text`.\\n\\n'.repeat(4000);
          growing.update(text, false);
          const started = performance.now();
          for (let piece = 0; piece < 50; piece += 1) growing.update(text += 'word ', false);
          return (performance.now() - started) / 50;
        })"""
    )
    # A frame has 16 ms; drawing all of it takes several times that on the slowest of our machines.
    assert milliseconds < 16


@pytest.mark.parametrize(
    "text",
    ["*a " * 20_000, "**" * 20_000, "[" * 30_000, "[](" * 15_000, "`" * 5 + "` ``" * 10_000, "> " * 20_000,
     "- " * 10_000, "~" * 40_000, "#" + " \t" * 20_000 + "#x", "|" * 20_000 + "\n" + "|-" * 10_000,
     "_a_" * 15_000,
     "<" * 40_000, "&" * 40_000, "http://" * 8_000, "*" * 3 + "a*" * 20_000,
     "https://e.org/" + ")" * 30_000,
     "1. " * 10_000, "\\" * 40_000, "- a\n" * 5_000, ("> " * 12 + "a\n") * 2_000],
    ids=lambda text: f"{text[:12]!r}",
)  # fmt: skip
def test_hostile_lengths_take_no_long_time(bare_page: Page, text: str) -> None:
    milliseconds = bare_page.evaluate(
        """(text) => import('/page/markdown.js').then(({ renderMarkdown }) => {
          const started = performance.now();
          renderMarkdown(text);
          return performance.now() - started;
        })""",
        text,
    )
    assert milliseconds < 2500


def test_code_keeps_every_character_and_is_coloured(bare_page: Page) -> None:
    code = textwrap.dedent('''
        # A comment with "quotes"
        def f(x: int) -> str:
        \treturn f"{x}" + 'it\\'s' + """long
        text""" # 3.14
        class A: pass
    ''').strip()
    lines = bare_page.evaluate(
        """(code) => Promise.all([import('/page/code_colours.js')]).then(([{ colouredPieces }]) =>
          ['python', 'js', 'rust', 'sql', 'bash', 'json', 'c++', '', 'constructor', '__proto__'].map(
            (language) => colouredPieces(code, language)))""",
        code,
    )
    for pieces in lines:
        assert "".join(piece["text"] for piece in pieces) == code
    kinds = {(piece["kind"], piece["text"]) for piece in lines[0]}
    assert {("keyword", "def"), ("comment", "# 3.14"), ("string", "'it\\'s'")} <= kinds


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("see https://example.org/a_b_(c).", "https://example.org/a_b_(c)", "https://example.org/a_b_(c)"),
        ("(https://example.org/x)", "https://example.org/x", "https://example.org/x"),
        ("**https://example.org/**", "https://example.org/", "https://example.org/"),
        ("[https://good.example](https://other.example/)", "https://other.example/", "https://good.example"),
        ("![a picture](https://example.org/p.png)", "https://example.org/p.png", "a picture"),
    ],
)
def test_addresses_become_links_that_say_where_they_lead(
    bare_page: Page, text: str, address: str, shown: str
) -> None:
    links = bare_page.evaluate(
        """(text) => import('/page/markdown.js').then(({ renderMarkdown }) => {
          const box = document.createElement('div');
          box.append(...renderMarkdown(text));
          return [...box.querySelectorAll('a, img')].map((link) =>
            [link.localName, link.getAttribute('href'), link.title, link.textContent, link.rel, link.target]);
        })""",
        text,
    )
    assert links == [["a", address, address, shown, "noopener noreferrer nofollow", "_blank"]]
