"""`app`: from arguments to an application of Ray Serve's."""

from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from ruvllm.integrations.ray.ingress import Ingress
from ruvllm.integrations.ray.router import PrefixRouter
from ruvllm.integrations.ray.settings import RaySettings
from ruvllm.integrations.ray.shares import Shares
from ruvllm.integrations.ray.worker import Worker

__all__ = ["app"]

# An ingress only passes on, and each request that waits for its worker is one of these.
INGRESS_REQUESTS = 10_000


def app(arguments: RaySettings) -> serve.Application:
    """Make an application of workers behind an ingress.

        serve run ruvllm.integrations.ray:app model=smollm2-135m replicas=2 num_cpus=4

    In a program: `serve.run(app(RaySettings(model="smollm2-135m", replicas=2)))`.
    """
    router: dict[str, Any] = {
        "request_router_class": PrefixRouter,
        "request_router_kwargs": {"balance": arguments.balance},
    }
    workers = serve.deployment(
        name="Worker",
        **_numbers(arguments),
        ray_actor_options={"num_cpus": arguments.num_cpus},
        max_ongoing_requests=arguments.max_ongoing_requests,
        max_queued_requests=arguments.max_queued_requests,
        # For a file to change: adapters by name, each with its folder.
        user_config={"adapters": {}},
        request_router_config=RequestRouterConfig(**router),
        graceful_shutdown_timeout_s=arguments.graceful_shutdown_timeout_s,
        health_check_period_s=arguments.health_check_period_s,
    )(Worker)
    ingress = serve.deployment(
        name="Ingress",
        num_replicas=arguments.ingress_replicas,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=INGRESS_REQUESTS,
        graceful_shutdown_timeout_s=arguments.graceful_shutdown_timeout_s,
    )(serve.ingress()(Ingress))
    made_with = arguments.of_a_worker()
    shares = Shares(arguments.max_ongoing_requests, arguments.ingress_replicas)
    application: serve.Application = ingress.bind(workers.bind(made_with), made_with, shares)
    return application


def _numbers(arguments: RaySettings) -> dict[str, Any]:
    if arguments.max_replicas is None:
        return {"num_replicas": arguments.replicas}
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=arguments.replicas,
            max_replicas=arguments.max_replicas,
            target_ongoing_requests=arguments.target_ongoing_requests,
            upscale_delay_s=arguments.upscale_delay_s,
            downscale_delay_s=arguments.downscale_delay_s,
        )
    }
