"""Two workers that all tests ask through all routers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.process import ServeProcess
from tests.serve.routers.fleet import ROUTERS, Router, workers


@pytest.fixture(scope="package")
def pair(tiny_chat_path: Path) -> Iterator[list[ServeProcess]]:
    """Two workers without keys."""
    with workers(tiny_chat_path, 2) as started:
        yield started


@pytest.fixture(scope="module", params=ROUTERS, ids=lambda router: router.name)
def router(request: pytest.FixtureRequest) -> Router:
    """Each router that has a wheel for this machine."""
    router: Router = request.param
    router.require()
    return router


@pytest.fixture(scope="module")
def front(
    router: Router, pair: list[ServeProcess], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The router before the two workers."""
    log = tmp_path_factory.mktemp("router") / "log"
    with router.before([worker.url for worker in pair], log) as url:
        yield url
