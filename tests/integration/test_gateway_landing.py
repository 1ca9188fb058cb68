"""The page at `/`: for people and for programs, and in production without a word about the parts inside."""

import re

import pytest

from gateway import landing
from kobklein import VERSION
from tests import gateways
from tests.gateways import Gateway

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept", ["*/*", "", "application/json", "application/json, text/html", "text/html;q=0.5, */*"]
)
async def test_a_program_is_answered_in_json(gateway: Gateway, accept: str) -> None:
    answer = await gateway.http.get("/", headers={"accept": accept, "authorization": ""})
    assert (answer.status_code, answer.headers["vary"]) == (200, "Accept")
    assert answer.json() == {
        "name": landing.NAME,
        "version": VERSION,
        "docs": "/docs",
        "openapi": "/openapi.json",
        "health": "/healthz",
        "readiness": "/readyz",
        "metrics": "/metrics",
    }


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "text/html;q=0.9, application/json;q=0.8"])
async def test_a_browser_gets_a_page_whose_links_lead_somewhere(gateway: Gateway, accept: str) -> None:
    page = await gateway.http.get("/", headers={"accept": accept, "authorization": ""})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'href="([^"]*)"', page.text)
    assert links == ["/docs", "/openapi.json", "/healthz", "/readyz", "/metrics"]
    assert [(await gateway.http.get(link)).status_code for link in links] == [200] * 5


async def test_the_page_may_do_nothing_but_look_as_it_does(gateway: Gateway) -> None:
    page = await gateway.http.get("/", headers={"accept": "text/html"})
    policy = page.headers["content-security-policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]+='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        policy,
    )
    assert not re.search(r"<script|//|style=|url\(", page.text)
    assert (await gateway.http.head("/")).content == b""


async def test_where_the_documentation_is_hidden_the_page_says_only_the_name() -> None:
    async with gateways.serving("gallery", gateways.Gallery().add_to, docs=False, metrics=False) as gateway:
        assert (await gateway.http.get("/")).json() == {"name": landing.NAME}
        page = (await gateway.http.get("/", headers={"accept": BROWSER})).text
        assert f"<h1>{landing.NAME}</h1>" in page
        assert not re.search(rf"href|{re.escape(VERSION)}|docs|health", page)
