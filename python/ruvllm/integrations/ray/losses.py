"""What Serve could not do, said in our own words."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

from ruvllm.serve.errors import ApiError

__all__ = ["naming_losses"]

logger = logging.getLogger("ray.serve")


@contextmanager
def naming_losses(*, may_ask_again: bool) -> Iterator[None]:
    """Turn what Serve raises into an answer; one that may have changed something is not to be asked again."""
    try:
        yield
    except BackPressureError as error:
        raise ApiError(
            429, "too many requests wait for a worker", code="overloaded", headers={"retry-after": "1"}
        ) from error
    except (RayTaskError, TaskCancelledError):
        # A fault in a worker that lives, or a client that left.
        raise
    except (RayError, DeploymentUnavailableError, ReplicaUnavailableError) as error:
        logger.warning("a request is lost with its worker: %s", error)
        raise _lost(may_ask_again=may_ask_again) from error


def _lost(*, may_ask_again: bool) -> ApiError:
    if may_ask_again:
        message = "the worker that answered is gone: ask again"
        return ApiError(503, message, code="worker_lost", headers={"retry-after": "1"})
    message = "the worker is gone, and may have done this or not: look at GET /v1/feedback first"
    # What OpenAI's and Anthropic's clients look at before they ask again by themselves.
    return ApiError(503, message, code="worker_lost", headers={"x-should-retry": "false"})
