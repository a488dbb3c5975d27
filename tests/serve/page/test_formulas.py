"""LaTeX's mathematics in an answer: set as MathML, given back when copied, and never damaged.

What a formula becomes is written down here by hand, as MathML has it: `<mfrac>` has two children, `<msubsup>` its
three in this order. Where it comes to looks, the browser is asked where things stand.
"""

# ruff: noqa: E501, RUF001 - a formula stands in one line, and its signs look like letters

import random
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.page.growing import GROW
from tests.serve.page.scripted_server import Answer, Script

Ask = Callable[[str], None]

# The formula without attributes, as `tag(child, child)`, texts as they are; cells and styles are left out.
SHAPE = """
([body, isDisplay]) => import('/page/formula_view.js').then(({ formulaNode }) => {
  const shape = (node) => {
    if (['mtd', 'mstyle'].includes(node.localName)) return shape(node.firstChild);
    if (!node.childElementCount) return node.textContent || node.localName;
    return `${node.localName}(${[...node.children].map(shape).join(',')})`;
  };
  const node = formulaNode({ written: 'x', body, isDisplay });
  return node && shape(node.firstChild);
})
"""
INLINE = {
    "a^2+b^2=c^2": "mrow(msup(a,2),+,msup(b,2),=,msup(c,2))",
    r"\frac{1}{2}": "mfrac(1,2)",
    r"\frac12": "mfrac(1,2)",
    "x^23": "mrow(msup(x,2),3)",
    "x_{ij}^{n+1}": "msubsup(x,mrow(i,j),mrow(n,+,1))",
    "x^2_i": "msubsup(x,i,2)",
    "f''(x)": "mrow(msup(f,′′),(,x,))",
    "f'^2": "msup(f,mrow(′,2))",
    "3.14": "3.14",
    r"\sqrt{2}": "msqrt(2)",
    r"\sqrt[3]{x+1}": "mroot(mrow(x,+,1),3)",
    r"\alpha\beta\Omega": "mrow(α,β,Ω)",
    r"a \le b \neq c \to \infty": "mrow(a,≤,b,≠,c,→,∞)",
    r"x \not= y \not\in S": "mrow(x,≠,y,∉,S)",
    r"\sum_{i=1}^n i": "mrow(msubsup(∑,mrow(i,=,1),n),i)",
    r"\sum\limits_{i=1}^n i": "mrow(munderover(∑,mrow(i,=,1),n),i)",
    r"\int_0^1 f\,dx": "mrow(msubsup(∫,0,1),f,mspace,d,x)",
    r"\sin x": "mrow(sin,mspace,x)",
    r"\sin(x)": "mrow(sin,(,x,))",
    r"\log_2 n": "mrow(msub(log,2),mspace,n)",
    r"\operatorname{rank} A": "mrow(rank,mspace,A)",
    r"\mathbb{R}^n": "msup(ℝ,n)",
    r"\mathbf{Ax}": "𝐀𝐱",
    r"\mathcal{L}\mathfrak{g}": "mrow(ℒ,𝔤)",
    r"\mathrm{d}x": "mrow(d,x)",
    r"\hat{x}\bar y": "mrow(mover(x,^),mover(y,¯))",
    r"\vec{v}": "mover(v,→)",
    r"\underbrace{a+b}_{n}": "munder(munder(mrow(a,+,b),⏟),n)",
    r"\overset{!}{=}": "mover(=,!)",
    r"\xrightarrow[b]{a}": "munderover(→,b,a)",
    r"\binom{n}{k}": "mrow((,mfrac(n,k),))",
    r"\left(\frac{a}{b}\right]": "mrow((,mfrac(a,b),])",
    r"\left.x\right|_0": "msub(mrow(x,|),0)",
    r"\{a, b\}": "mrow({,a,,,b,})",
    r"\lfloor x \rfloor": "mrow(⌊,x,⌋)",
    r"\text{if } x > 0": "mrow(if\u00a0,x,>,0)",
    r"\text{for $n$ even}": "mrow(for\u00a0,n,\u00a0even)",
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}": "mrow((,mtable(mtr(a,b),mtr(c,d)),))",
    r"\begin{cases} 1 & x>0 \\ 0 & \text{else} \end{cases}": "mrow({,mtable(mtr(1,mrow(x,>,0)),mtr(0,else)))",
    r"\begin{array}{c|c} a & b \\ \hline c & d \end{array}": "mtable(mtr(a,b),mtr(c,d))",
    r"a \equiv b \pmod n": "mrow(a,≡,b,mrow(mspace,(mod\u00a0,n,)))",
    r"\boxed{42}": "mrow(42)",
    r"\frac{\cancel{a}b}{\cancel{a}}": "mfrac(mrow(mrow(a),b),mrow(a))",
    r"a\hspace{1em}\mathrel{R}b": "mrow(a,mspace,R,b)",
    r"-x": "mrow(−,x)",
    r"50\%": "mrow(50,%)",
    r"x\ge0": "mrow(x,≥,0)",
    r"\displaystyle\frac ab": "mfrac(a,b)",
    "größe": "mrow(g,r,ö,ß,e)",
    "x² ≤ π": "mrow(x,²,≤,π)",
}
DISPLAYED = {
    r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}": "mrow(munderover(∑,mrow(i,=,1),n),i,=,mfrac(mrow(n,(,n,+,1,)),2))",
    r"\lim_{x \to 0} f": "mrow(munder(lim,mrow(x,→,0)),mspace,f)",
    r"\mathop{\mathrm{argmax}}_x f": "mrow(munder(argmax,x),mspace,f)",
    r"\max_i x_i": "mrow(munder(max,i),mspace,msub(x,i))",
    r"\int_0^1": "msubsup(∫,0,1)",
    r"\begin{aligned} a &= b \\ &= c \end{aligned}": "mtable(mtr(a,mrow(=,b)),mtr(mrow,mrow(=,c)))",
    r"a = b \\ c = d": "mtable(mtr(mrow(a,=,b)),mtr(mrow(c,=,d)))",
    r"\sum_{\substack{i<n \\ i>0}} i": "mrow(munder(∑,mtable(mtr(mrow(i,<,n)),mtr(mrow(i,>,0)))),i)",
}
# What is not known, and what is no LaTeX: all of it stays as it was written.
NOT_UNDERSTOOD = [
    r"\foo{x}", r"\frac{1}", "{a", "a}", "x^", "x^1^2", "_", r"\left( x", r"x \right)", r"\begin{matrix} a", "a & b",
    r"\begin{foo} a \end{foo}", r"\begin{array}{p{3cm}} a \end{array}", r"\text{\foo}", r"\color{red}{x}", r"\ce{H2O}", r"\hspace{3cm}",
    r"\constructor", r"\__proto__", r"\toString{x}", "\\", r"\limits_1", r"\sqrt", r"\not", r"\big q", "a#b", "x\x00y",
    "{" * 100 + "}" * 100, r"\frac" * 100 + "1" * 101, "a" * 5000,
]  # fmt: skip


def shape(page: Page, body: str, *, displayed: bool = False) -> str | None:
    return page.evaluate(SHAPE, [body, displayed])


@pytest.mark.parametrize("body", INLINE)
def test_a_formula_in_a_line(bare_page: Page, body: str) -> None:
    assert shape(bare_page, body) == INLINE[body]


@pytest.mark.parametrize("body", DISPLAYED)
def test_a_formula_that_stands_apart(bare_page: Page, body: str) -> None:
    assert shape(bare_page, body, displayed=True) == DISPLAYED[body]


@pytest.mark.parametrize("body", NOT_UNDERSTOOD, ids=lambda body: repr(body[:20]))
def test_what_is_not_understood_is_no_formula(bare_page: Page, body: str) -> None:
    assert shape(bare_page, body) is None


FORMULAS = """
(text) => import('/page/markdown.js').then(({ renderMarkdown }) => {
  const box = document.createElement('div');
  box.append(...renderMarkdown(text));
  const formulas = [...box.querySelectorAll('math')];
  const found = formulas.map((one) => [one.getAttribute('data-written'), one.getAttribute('display')]);
  for (const one of formulas) one.replaceWith('\u25a1');
  return [found, box.textContent];
})
"""


@pytest.mark.parametrize(
    ("text", "found", "shown"),
    [
        ("It is $a_1 + b_1$ here.", [["$a_1 + b_1$", "inline"]], "It is □ here."),
        (r"It is \(a_1*b*c\), really.", [[r"\(a_1*b*c\)", "inline"]], "It is □, really."),
        ("Before $$x$$ after", [["$$x$$", "block"]], "Before □ after"),
        (r"Before \[x\] after", [[r"\[x\]", "block"]], "Before □ after"),
        ("$$\nx\n= 1\n$$", [["$$\nx\n= 1\n$$", "block"]], "□"),
        ("Text:\n\\[\na\n- b\n+ c\n\\]\nand more", [["\\[\na\n- b\n+ c\n\\]", "block"]], "Text:□and more"),
        ("So:\n\\begin{align*}\na &= b \\\\\n&= c\n\\end{align*}.",
         [["\\begin{align*}\na &= b \\\\\n&= c\n\\end{align*}.", "block"]], "So:□"),
        ("\\[ x = 1 \\].", [["\\[ x = 1 \\].", "block"]], "□"),
        ("- a\n\n  $$\n  x\n  $$\n- b", [["$$\nx\n$$", "block"]], "a□b"),
        ("| a | b |\n|---|---|\n| $x$ | $y$ |", [["$x$", "inline"], ["$y$", "inline"]], "ab□□"),
        ("**$x$** and [$y$](https://e.org/)", [["$x$", "inline"], ["$y$", "inline"]], "□ and □"),
        ("the $n$th, the $n$-th, $x$s", [["$n$", "inline"]] * 2 + [["$x$", "inline"]], "the □th, the □-th, □s"),
        ("$AB = CD$, $xy$, $2 \\sin x$", [["$AB = CD$", "inline"], ["$xy$", "inline"], ["$2 \\sin x$", "inline"]],
         "□, □, □"),
    ],
)  # fmt: skip
def test_fault_4_formulas_are_found(bare_page: Page, text: str, found: list[list[str]], shown: str) -> None:
    assert bare_page.evaluate(FORMULAS, text) == [found, shown]


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $6.", "Between $5 and 10$ a head.", "$5-$10, or $5/$6", "US$5 and CA$6", "5$, 6$ and 7$",
        "He has $20, she has 30$.", "$1,000 to 2,000$", "I paid $5 (five dollars), not 6$.", "$HOME/bin:$PATH",
        "A $ alone, and a $ more.", "$$ and $$ and $$$", "Cheap: $, dear: $$$.", "$5/month or 50$/year",
        "**$5** or **$6**", "$5\n\n6$", "a $`x`$ b",
    ],
)  # fmt: skip
def test_prices_are_no_formulas(bare_page: Page, text: str) -> None:
    assert bare_page.evaluate(FORMULAS, text)[0] == []


@pytest.mark.parametrize(
    "text",
    [
        r"$\foo\,dx + \{a_1\}_b$", r"\(\foo\,dx \* \{a\}_b_\)", r"\[\unknown{a}\,_b_\]",
        "$$\n\\foo\\,dx\n*a* _b_\n$$", r"$$\foo * a * b$$",
    ],
)  # fmt: skip
def test_fault_4_what_is_not_understood_keeps_every_character(bare_page: Page, text: str) -> None:
    assert bare_page.evaluate(FORMULAS, text) == [[], text]


def test_code_is_no_formula(bare_page: Page) -> None:
    found, shown = bare_page.evaluate(FORMULAS, "`$x$` and `\\(y\\)`\n\n```\n$$\nz\n$$\n```\n")
    assert found == []
    assert "$x$ and \\(y\\)" in shown
    assert "$$\nz\n$$" in shown


PIECES = [
    "$$", "$", "\\[", "\\]", "\\(", "\\)", "x", " ", "\n", "\n\n", "\n$$\n", "\n\\[\n", "\n\\]\n", "\n- ", "a word",
    "\n\\begin{align}\n", "\n\\end{align}\n", "\\begin{gather*}", "\\end{gather*}", "^2", "\\frac{a}{b}", "5", "= 1", ".", "| a | b |\n|---|---|\n", "> ", "    ",
]  # fmt: skip


def test_a_growing_text_with_formulas_ends_as_the_whole_does(bare_page: Page) -> None:
    draw = random.Random(5)
    texts = ["".join(draw.choices(PIECES, k=draw.randint(1, 16))) for _ in range(600)]
    for text in texts:
        grown, whole = bare_page.evaluate(GROW, [text, list(range(1, len(text)))])
        assert grown == whole, text


@pytest.mark.parametrize(
    "text",
    ["$" * 40_000, "$a" * 20_000, "$a$ " * 4_000, "\\(" * 20_000, "\\[\n" * 10_000, "$$\n" * 10_000,
     "$$ a\n" * 8_000, "\\[ a\n" * 8_000, "$" + "{" * 900 + "$", "$$" + "\\frac" * 700 + "$$", "$a b" * 10_000,
     "$$" + "\\begin{matrix}" * 200 + "$$", "$$" + "\\sqrt{" * 25 + "x" + "}" * 25 + "$$",
     "$$" + "\\frac{" * 12 + "x" + "}{y}" * 12 + "$$", "$$" + "a & " * 900 + "$$", "$" + "a " * 400 + "$",
     ("$" + "ab" * 400 + "$ ") * 40],
    ids=lambda text: f"{text[:12]!r}",
)  # fmt: skip
def test_hostile_formulas_take_no_long_time(bare_page: Page, text: str) -> None:
    milliseconds = bare_page.evaluate(
        """(text) => import('/page/markdown.js').then(({ renderMarkdown }) => {
          const started = performance.now();
          const box = document.createElement('div');
          box.append(...renderMarkdown(text));
          document.body.append(box);
          box.getBoundingClientRect();
          box.remove();
          return performance.now() - started;
        })""",
        text,
    )
    assert milliseconds < 2500


HOSTILE = [
    r"$\text{<img src=x onerror=alert(1)>}$",
    r"\[\operatorname{<script>alert(1)</script>}\]",
    r"$$\tag{<img src=x onerror=alert(1)>} x$$",
    "$\" onmouseover=\"alert(1)$",
    r"\(\href{javascript:alert(1)}{x}\)",
    r"$\style{background:url(https://evil.example/)}{x}$",
]  # fmt: skip
MATHML = {
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mstyle", "mfrac", "msqrt", "mroot", "msub", "msup",
    "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd", "mphantom",
}  # fmt: skip
NAMES = {
    "class", "display", "data-written", "mathvariant", "stretchy", "form", "fence", "lspace", "rspace", "minsize",
    "maxsize", "symmetric", "width", "displaystyle", "scriptlevel", "linethickness", "accent", "accentunder",
    "movablelimits",
}  # fmt: skip


def test_formulas_run_nothing_and_lead_nowhere(page: Page, script: Script, watch: Watch, ask: Ask) -> None:
    rich = "\n\n".join(f"$${body}$$" for body in [*INLINE, *DISPLAYED])
    script.answers = [Answer(["\n\n".join(HOSTILE)]), Answer([rich])]
    ask("Attack me.")
    assert page.locator(".answer .markdown :is(img, script, a)").count() == 0
    ask("Show me all.")
    assert watch.happened == []
    used = page.locator(".answer math").evaluate_all(
        """(all) => all.flatMap((math) => [math, ...math.querySelectorAll('*')])
             .map((node) => [node.localName, node.getAttributeNames()])"""
    )
    assert {tag for tag, _ in used} <= MATHML
    assert {name for _, names in used for name in names} <= NAMES


def test_it_is_set_as_formulas_are(page: Page, script: Script, ask: Ask) -> None:
    """By where the browser puts things: a numerator stands above its line, an exponent above its base."""
    matrix = r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"
    parts = [r"\frac{N}{D}", "x^{P}", r"\sum_{B}^{T}", matrix, r"\bigg[ z \bigg]^Q"]
    script.answers = [Answer(["$$" + r" \quad ".join(parts) + "$$"])]
    ask("Math, please.")
    boxes = page.locator(".answer math :is(mi, mn, mo)").evaluate_all(
        """(all) => Object.fromEntries(
             all.map((one) => [one.textContent, one.getBoundingClientRect().toJSON()]))"""
    )
    assert boxes["N"]["bottom"] <= boxes["D"]["top"]
    assert boxes["P"]["bottom"] < boxes["x"]["bottom"]
    assert boxes["P"]["height"] < boxes["N"]["height"] * 1.01
    assert boxes["T"]["bottom"] <= boxes["∑"]["top"] + 2
    assert boxes["B"]["top"] >= boxes["∑"]["bottom"] - 2
    assert boxes["1"]["right"] <= boxes["2"]["left"]
    assert boxes["1"]["bottom"] <= boxes["3"]["top"]
    assert boxes["("]["height"] > boxes["1"]["height"] * 1.5
    for fence in ("[", "]"):
        assert boxes[fence]["height"] > boxes["z"]["height"] * 1.5


def select(page: Page, first: str, last: str) -> None:
    """Selects from the first element that is named to the end of the last."""
    page.evaluate(
        """([first, last]) => {
          const range = document.createRange();
          range.setStartBefore(document.querySelector(first));
          range.setEndAfter(document.querySelector(last));
          getSelection().removeAllRanges();
          getSelection().addRange(range);
        }""",
        [first, last],
    )


def test_fault_4_copying_gives_the_latex_back(page: Page, script: Script, ask: Ask) -> None:
    written = "The **rule**:\n\n\\[ \\frac{a}{b}\\,dx \\]\n\nwith $a_1$ and `code`.\n"
    script.answers = [Answer([written])]
    ask("Math, please.")
    expect(page.locator(".answer math")).to_have_count(2)
    page.get_by_role("button", name="Copy the answer").click()
    assert page.evaluate("navigator.clipboard.readText()") == written
    select(page, ".answer .markdown > :first-child", ".answer .markdown > :last-child")
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    lines = [line for line in copied.replace("\r", "").split("\n") if line]
    assert lines == ["The rule:", "\\[ \\frac{a}{b}\\,dx \\]", "with $a_1$ and code."]
    # A half of a formula is the whole of it, and a text without one is the browser's to copy.
    select(page, ".answer math mfrac", ".answer math mfrac")
    page.keyboard.press("Control+c")
    assert page.evaluate("navigator.clipboard.readText()").strip() == "\\[ \\frac{a}{b}\\,dx \\]"
    select(page, ".answer strong", ".answer strong")
    page.keyboard.press("Control+c")
    assert page.evaluate("navigator.clipboard.readText()") == "rule"


@pytest.mark.parametrize("width", [360, 1200])
def test_a_wide_formula_scrolls_by_itself(page: Page, script: Script, ask: Ask, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    long = " + ".join(f"x_{{{index}}}" for index in range(60))
    script.answers = [Answer([f"$${long}$$\n\nand in a line ${long}$ too"])]
    ask("A long one.")
    expect(page.locator(".answer math")).to_have_count(2)
    too_wide = "[document.documentElement, document.getElementById('scroller')]"
    assert page.evaluate(f"{too_wide}.map((node) => node.scrollWidth - node.clientWidth)") == [0, 0]
    for scrolled in page.locator(".formula-block, .formula-long").all():
        assert scrolled.evaluate("(node) => node.scrollWidth > node.clientWidth")


def test_a_screen_reader_gets_mathematics(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["$$a^2$$"])]
    ask("Math, please.")
    expect(page.get_by_role("math")).to_have_count(1)
    assert re.sub(r"\s", "", page.locator(".answer math").text_content() or "") == "a2"
