"""How many requests of tenants that teach an ingress lets in."""

from contextlib import ExitStack

import pytest

from ruvllm.integrations.ray.shares import Shares
from ruvllm.serve.errors import ApiError


def test_a_tenant_has_its_share_and_all_have_less_than_a_worker_takes() -> None:
    shares = Shares(32, 1)
    with ExitStack() as running:
        for _ in range(6):
            running.enter_context(shares.request("ada"))
        with pytest.raises(ApiError, match="this tenant") as refused, shares.request("ada"):
            pass
        assert refused.value.headers["retry-after"] == "1"
        for tenant in ("bob", "eve", "joe"):
            for _ in range(6):
                running.enter_context(shares.request(tenant))
        # 24 of the 32 that one worker takes, wherever these tenants are at home.
        with pytest.raises(ApiError, match="tenants that teach"), shares.request("new"):
            pass
    with shares.request("ada"):
        assert dict(shares._under_way) == {"ada": 1}


def test_several_ingresses_share_and_each_lets_somebody_in() -> None:
    assert (Shares(256, 2).of_all, Shares(256, 2).of_one) == (96, 24)
    assert (Shares(1, 4).of_all, Shares(1, 4).of_one) == (1, 1)
