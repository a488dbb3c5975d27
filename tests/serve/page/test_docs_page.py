"""`/docs`: what the interface's description says, made readable without anything from elsewhere."""

from typing import Annotated, Literal

import pytest
from fastapi import FastAPI
from playwright.sync_api import BrowserContext, Page, expect
from pydantic import BaseModel, Field

from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import Script, ScriptedServer


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str = Field(description="What was said.")


class Body(BaseModel):
    messages: list[Message]
    temperature: float | None = Field(None, ge=0, le=2, description="<b>0</b> is greedy.")
    stop: str | list[str] | None = None


def description() -> dict:
    """What FastAPI writes for two requests."""
    app = FastAPI(title="Scripted", version="1.2", description="First.\n\nSecond.")

    @app.post("/v1/talk", summary="Talk")
    def talk(body: Body) -> Message:
        """Say something and hear something."""

    @app.get("/v1/things/{name}")
    def thing(name: str, limit: Annotated[int, Field(ge=1)] = 5) -> dict[str, int]:
        """Look a thing up."""

    return app.openapi()


@pytest.fixture
def docs(context: BrowserContext, watch: Watch, script: Script, scripted_server: ScriptedServer) -> Page:
    script.openapi = description()
    opened = context.new_page()
    watch.attach(opened)
    opened.goto(f"{scripted_server.address}/docs")
    return opened


def test_requests_with_their_fields_and_answers(docs: Page) -> None:
    expect(docs.get_by_role("heading", level=1)).to_have_text("Scripted 1.2")
    expect(docs.get_by_role("navigation").get_by_role("link")).to_have_text(
        ["POST/v1/talk", "GET/v1/things/{name}"]
    )
    talk = docs.get_by_role("region", name="POST /v1/talk")
    expect(talk).to_contain_text("Say something and hear something.")
    rows = talk.locator("table").first.locator("tbody tr")
    expect(rows.locator("th")).to_have_text(
        [
            "messages required",
            "messages[].role required",
            "messages[].content required",
            "temperature",
            "stop",
        ]
    )
    expect(rows.nth(0).locator("td").first).to_have_text("list of object")
    expect(rows.nth(1).locator("td").first).to_have_text('"user" or "assistant"')
    expect(rows.nth(2)).to_contain_text("What was said")
    expect(rows.nth(3)).to_contain_text("<b>0</b> is greedy; at least 0, at most 2")
    expect(rows.nth(4).locator("td").first).to_have_text("string or list of string or null")
    thing = docs.get_by_role("region", name="GET /v1/things/{name}")
    expect(thing.locator("tbody tr").nth(1)).to_contain_text("at least 1; default 5")
    expect(talk.get_by_text("Successful Response")).to_be_visible()


def test_it_fits_a_phone(docs: Page) -> None:
    docs.set_viewport_size({"width": 360, "height": 700})
    expect(docs.locator(".operation")).to_have_count(2)
    assert docs.evaluate("document.documentElement.scrollWidth") == 360


def test_a_description_that_does_not_come(
    context: BrowserContext, watch: Watch, script: Script, scripted_server
) -> None:
    watch.expected.append("ERR_FAILED")
    opened = context.new_page()
    watch.attach(opened)
    opened.route("**/openapi.json", lambda route: route.abort())
    opened.goto(f"{scripted_server.address}/docs")
    expect(opened.get_by_role("status")).to_contain_text("could not be shown")
