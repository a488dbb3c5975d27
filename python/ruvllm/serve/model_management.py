"""What changes which models are here, whatever API asks for it."""

import asyncio

from ruvllm.errors import RuvLLMError
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.models import ServedModel
from ruvllm.serve.pulling import Pull
from ruvllm.serve.served_models import LATEST
from ruvllm.serve.server import Server

__all__ = ["LOOK_SECONDS", "UNLOAD_WAIT_SECONDS", "delete_model", "fetch_model"]

# So long a model that is to be given up is waited for, unless the request says otherwise.
UNLOAD_WAIT_SECONDS = 10.0
# How often it is looked whether something has changed, for those who listen.
LOOK_SECONDS = 0.25


async def fetch_model(server: Server, name: str) -> ServedModel | Pull:
    """Begin to fetch a model; one that is served is here already, and given as it is."""
    _ = server.pulls.store
    return server.models.served_as(name) or await server.pulls.begin(name)


async def delete_model(server: Server, name: str) -> None:
    """Serve a model no more, and delete its files; 409 where requests use it or it is the operator's.

    Where none of that name is served, fetching it is stopped, or forgotten that it failed.
    """
    store = server.pulls.store
    if (model := server.models.served_as(name)) is None:
        # As Ollama's clients complete a name.
        if server.pulls.stop(name) or server.pulls.stop(name.removesuffix(f":{LATEST}")):
            return
        raise server.models.not_found(name)
    if not model.was_fetched:
        message = f"{model.name} was named when the server was started: `ruvllm rm` deletes the files of such"
        raise ApiError(409, message, code="not_fetched", param="model")
    # Who comes from now on is told that it is not there; who uses it has it to the end of the answer.
    server.models.remove(model)
    try:
        await model.unload(UNLOAD_WAIT_SECONDS)
    except ApiError:
        server.models.add(model)
        raise
    await model.close()
    try:
        await asyncio.to_thread(store.remove, model.name)
    except RuvLLMError as error:
        raise api_error(error, param="model") from error
