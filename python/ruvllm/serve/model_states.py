"""How models stand, in the words that llama.cpp's server has for those that it loads and gives up.

A state is an object with a `value`; what changes between two looks is told as events.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from ruvllm.serve.disclosure import public_message
from ruvllm.serve.models import ServedModel
from ruvllm.serve.pulling import Pull, Pulls
from ruvllm.serve.served_models import ServedModels

__all__ = ["States", "changes", "pull_state", "state_of", "states_of"]

_VALUES = {"ready": "loaded", "failed": "unloaded"}
# The only stage of loading here; clients show it, and the share of it.
_STAGE = "text_model"

State: TypeAlias = dict[str, Any]
States: TypeAlias = tuple[Mapping[str, State], Mapping[str, tuple[Pull, State]]]
"""Of the models, and of those on their way here, by name; with these, which know later how they ended."""


def state_of(model: ServedModel) -> State:
    """How a model stands: loaded or not, how much of it is, why it cannot be."""
    state: State = {"value": _VALUES.get(model.status, model.status)}
    if model.status == "loading" and (share := model.loading.share) is not None:
        state["progress"] = {"stages": [_STAGE], "current": _STAGE, "value": round(share, 3)}
    if model.status == "failed" and model.failure is not None:
        # Of one that is loaded the engine has stopped: to give it up and load it again mends that.
        value = "unloaded" if model.engine is None else "loaded"
        state |= {"value": value, "failed": True, "reason": public_message(model.failure)}
    return state


def pull_state(pull: Pull) -> State:
    """How a model stands that is on its way here."""
    if pull.error is not None:
        return {"value": "unloaded", "failed": True, "reason": pull.error.message}
    return {"value": "downloading", "progress": {pull.name: {"done": pull.done, "total": pull.total}}}


def states_of(models: ServedModels, pulls: Pulls) -> States:
    """How all of them stand now."""
    return {one.name: state_of(one) for one in models}, {one.name: (one, pull_state(one)) for one in pulls}


def changes(before: States, now: States) -> Iterator[dict[str, Any]]:
    """What became other, as events."""
    for name, (pull, state) in before[1].items():
        if now[1].get(name, (None,))[0] is not pull:
            yield from _ends(pull, is_told="failed" in state)
            if name not in now[1] and name not in now[0]:
                yield _event(name, "model_remove")
    for name, (pull, state) in now[1].items():
        if (pull, state) != before[1].get(name):
            if "failed" in state:
                yield _event(name, "download_failed", {"reason": state["reason"]})
            else:
                yield _event(name, "download_progress", state["progress"])
    for name, state in now[0].items():
        if state != before[0].get(name):
            told = {"status" if key == "value" else key: value for key, value in state.items()}
            yield _event(name, "model_status", told)
    for name in before[0].keys() - now[0].keys():
        yield _event(name, "model_remove")


def _ends(pull: Pull, *, is_told: bool) -> Iterator[dict[str, Any]]:
    """How one ended that is on its way no more; of one that failed this may have been told."""
    if pull.state == "finished":
        yield _event(pull.name, "download_finished")
    elif pull.error is not None and not is_told:
        reason = "it was stopped" if pull.state == "stopped" else pull.error.message
        yield _event(pull.name, "download_failed", {"reason": reason})


def _event(model: str, event: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"model": model, "event": event} | ({} if data is None else {"data": data})
