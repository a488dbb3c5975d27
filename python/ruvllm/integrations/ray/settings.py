"""What an application on Ray is told: the arguments of `serve run`, or `args` in a file of Serve's."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ruvllm.engine_settings import EngineSettings
from ruvllm.llm import DEFAULT_MODEL
from ruvllm.serve.keys import KeyRing, read_key_file
from ruvllm.serve.settings import ServerSettings, local_names

__all__ = ["RaySettings", "WorkerSettings"]


# Settings of a server that would change one worker, or need what one process has.
_NOT_HERE = {"adapter_dirs", "calibration", "idle_unload"}


class WorkerSettings(BaseModel):
    """What a worker is made with: whoever changes any of it gets new workers.

    Attributes:
        model: As for `LLM`; each worker fetches or reads it by itself.
        name: What clients ask for; by default what `ruvllm serve` calls the model.
        num_cpus: Processors that Ray sets aside for a worker, and threads that its engine has.
        api_key_file: As `--api-key-file`; each worker reads it, and so does the ingress.
        learn_dir: A folder that all workers share, for what tenants teach; with `server: {learn: true}`. No
            turns of the background loop are taken then but those that a tenant asks for.
        engine: More settings of the engine, as `AsyncEngine` takes them.
        server: More settings of the server, as `ServerSettings` takes them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = DEFAULT_MODEL
    name: str | None = None
    num_cpus: int = Field(default=1, ge=1)
    api_key_file: Path | None = None
    learn_dir: Path | None = None
    engine: dict[str, Any] = Field(default_factory=dict)
    server: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_made(self) -> "WorkerSettings":
        if "threads" in self.engine:
            raise ValueError("engine has threads: they are what num_cpus says, which Ray sets aside")
        if "keys" in self.server:
            raise ValueError("server has keys: give a file that all workers can read, as api_key_file")
        if self.learn_dir is not None and not self.server.get("learn"):
            raise ValueError("learn_dir keeps what is learned, and nothing is without server: {learn: true}")
        if self.learn_dir is not None and self.server.get("learn_interval"):
            raise ValueError(
                "server has a learn_interval, and with learn_dir no turns are taken in the background, where "
                "a worker cannot know whether its tenant has left: POST /v1/feedback/consolidate takes one"
            )
        if refused := _NOT_HERE & self.server.keys():
            raise ValueError(f"server has {', '.join(sorted(refused))}, which is `ruvllm serve`'s alone")
        # Wrong names and values are found here, and not by each worker in turn.
        EngineSettings(**self.engine)
        self._server_settings(KeyRing(()))
        return self

    def server_settings(self) -> ServerSettings:
        """What a worker's server is told; the keys are read anew."""
        return self._server_settings(KeyRing(read_key_file(self.api_key_file) if self.api_key_file else ()))

    def _server_settings(self, keys: KeyRing) -> ServerSettings:
        told = {**self.server, **_Named(**self.server).model_dump(exclude_unset=True)}
        if not len(keys):
            # Else a page that made its own name point here could ask.
            told.setdefault("allowed_hosts", local_names("127.0.0.1"))
        if self.learn_dir is not None:
            told["learn_interval"] = 0
        return ServerSettings(**told, keys=keys)


class _Named(BaseModel):
    """Settings of a server that are no single words."""

    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None


class RaySettings(WorkerSettings):
    """How many workers there are, and what they let in.

    In a file of Serve's another `args` starts all anew; what changes while workers run are the options of
    `deployments` there.

    Attributes:
        replicas: Workers at the start, and always where `max_replicas` is left out.
        max_replicas: With it Serve adds workers up to so many while requests wait, and takes them away again.
        target_ongoing_requests: Requests of a worker, running or waiting, beyond which there is to be one
            more.
        upscale_delay_s: How long that must have been so.
        downscale_delay_s: How long there must have been fewer.
        max_ongoing_requests: Requests that a worker takes; its engine has them wait where they are too many
            to run.
        max_queued_requests: Requests that wait for a worker to take them; one more gets a 429.
        balance: A request goes to another worker than the one that knows its prefix where that one has so
            many requests more than the idlest.
        ingress_replicas: How many processes share the work of passing requests on.
        graceful_shutdown_timeout_s: How long a worker that leaves may end what it has.
        health_check_period_s: How often a worker is asked whether it is well.
    """

    replicas: int = Field(default=1, ge=1)
    max_replicas: int | None = Field(default=None, ge=1)
    target_ongoing_requests: float = Field(default=8, gt=0)
    upscale_delay_s: float = Field(default=10, ge=0)
    downscale_delay_s: float = Field(default=600, ge=0)
    max_ongoing_requests: int = Field(default=256, ge=1)
    max_queued_requests: int = Field(default=1024, ge=1)
    balance: int = Field(default=2, ge=0)
    ingress_replicas: int = Field(default=1, ge=1)
    graceful_shutdown_timeout_s: float = Field(default=60, ge=0)
    health_check_period_s: float = Field(default=5, gt=0)

    @model_validator(mode="after")
    def _can_scale(self) -> "RaySettings":
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(
                f"max_replicas is {self.max_replicas}, less than the {self.replicas} replicas at the start"
            )
        return self

    def of_a_worker(self) -> WorkerSettings:
        """What a worker is made with."""
        return WorkerSettings(**{name: getattr(self, name) for name in WorkerSettings.model_fields})
