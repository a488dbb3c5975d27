"""The panel with the server's figures: what it works out of the metrics, and when it asks for them."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import Script

LABELS = '{model_name="m"}'


def metrics(generated: int, prompt: int, running: int = 2, hits: int = 30, usage: float = 0.25) -> str:
    """A reading of the server, the way prometheus_client writes it."""
    return f"""# HELP ruvllm:num_requests_running Requests that make tokens.
# TYPE ruvllm:num_requests_running gauge
ruvllm:num_requests_running{LABELS} {running}.0
ruvllm:num_requests_waiting{LABELS} 1.0
ruvllm:kv_cache_usage_perc{LABELS} {usage}
ruvllm:prefix_cache_queries_total{LABELS} 40.0
ruvllm:prefix_cache_hits_total{LABELS} {hits}.0
ruvllm:prompt_tokens_total{LABELS} {prompt}.0
ruvllm:prompt_tokens_created{LABELS} 1.7e+09
ruvllm:generation_tokens_total{LABELS} {generated}.0
ruvllm:time_to_first_token_seconds_bucket{{model_name="m",le="+Inf"}} {generated}.0
ruvllm:time_to_first_token_seconds_count{LABELS} {generated}.0
ruvllm:time_to_first_token_seconds_sum{LABELS} {generated * 0.25}
"""


SUMMARIZE = """
([before, now, seconds]) => import('/page/metrics.js').then(({ parseMetrics, summarize }) =>
  summarize(before === null ? null : parseMetrics(before), parseMetrics(now), seconds))
"""


def test_what_is_worked_out_of_two_readings(bare_page: Page) -> None:
    found = bare_page.evaluate(SUMMARIZE, [metrics(100, 1000), metrics(180, 1400), 2])
    assert found == {
        "running": 2,
        "waiting": 1,
        "cacheUse": 0.25,
        "hitShare": 0.75,
        "generatedPerSecond": 40,
        "promptPerSecond": 200,
        "firstTokenSeconds": 0.25,
        "betweenTokensSeconds": None,
    }


@pytest.mark.parametrize("before", [None, metrics(500, 5000)])
def test_no_rate_without_a_reading_before_or_after_a_new_start(bare_page: Page, before: str | None) -> None:
    found = bare_page.evaluate(SUMMARIZE, [before, metrics(10, 10), 1])
    assert found["generatedPerSecond"] is None
    assert found["firstTokenSeconds"] is None
    assert found["running"] == 2


def test_models_are_added_up_and_nonsense_is_passed_over(bare_page: Page) -> None:
    text = (
        metrics(1, 1) + metrics(1, 1, running=3, usage=0.5).replace('"m"', '"n \\"}"') + "junk\n{} 1\nx NaN\n"
    )
    found = bare_page.evaluate(SUMMARIZE, [None, text, 1])
    assert found["running"] == 5
    assert found["cacheUse"] == 0.5


def test_the_panel_shows_the_figures_and_asks_only_while_it_is_open(page: Page, script: Script) -> None:
    script.metrics = [metrics(100 + 50 * second, 1000) for second in range(100)]
    page.wait_for_timeout(1200)
    assert script.num_metrics_requests == 0
    page.get_by_role("button", name="The server now", exact=True).click()
    panel = page.get_by_role("complementary", name="The server now")
    figures = panel.locator(".chart")
    expect(figures.filter(has_text="Requests running").locator(".chart-value")).to_have_text("2")
    expect(figures.filter(has_text="Key-value cache").locator(".chart-value")).to_have_text("25 %")
    expect(figures.filter(has_text="prefix cache").locator(".chart-value")).to_have_text("75 %")
    page.wait_for_timeout(2500)
    written = figures.filter(has_text="Tokens written").locator(".chart-value").inner_text()
    assert 25 <= float(written) <= 52, "50 tokens in each reading, one a second and the way there and back"
    assert "L" in (figures.first.locator(".spark-line").get_attribute("d") or "")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Close the server panel").click()
    page.wait_for_timeout(200)
    asked = script.num_metrics_requests
    assert 3 <= asked <= 6
    page.wait_for_timeout(1500)
    assert script.num_metrics_requests == asked


def test_a_hidden_tab_does_not_ask(page: Page, script: Script) -> None:
    script.metrics = [metrics(1, 1)]
    page.get_by_role("button", name="The server now", exact=True).click()
    expect(page.locator(".chart-value").nth(2)).to_have_text("2")
    page.evaluate(
        """() => {
          Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
          document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    page.wait_for_timeout(200)
    asked = script.num_metrics_requests
    page.wait_for_timeout(1500)
    assert script.num_metrics_requests == asked


def test_no_figures_is_said(page: Page, script: Script, watch: Watch) -> None:
    watch.expected.append("status of 404")
    page.get_by_role("button", name="The server now", exact=True).click()
    expect(page.locator(".panel-notice")).to_contain_text("no figures here")
    script.metrics = [metrics(1, 1)]
    expect(page.locator(".panel-notice")).to_be_hidden()


def test_without_an_admin_key_models_are_shown_and_what_is_needed_is_said(page: Page, script: Script) -> None:
    script.metrics = [metrics(1, 1)]
    page.get_by_role("button", name="The server now", exact=True).click()
    page.locator(".models summary").click()
    expect(page.locator(".model-row")).to_have_text(re.compile("scripted-1b"))
    expect(page.locator(".model-refusal p")).to_contain_text("this server has none")
    # No key that could be given would help.
    expect(page.locator(".models button:visible")).to_have_count(0)


def test_the_panel_stays_open_while_talking(page: Page, script: Script, ask: Callable[[str], None]) -> None:
    script.metrics = [metrics(1, 1)]
    page.get_by_role("button", name="The server now", exact=True).click()
    ask("Hello?")
    expect(page.get_by_role("complementary")).to_be_visible()
