"""The files of deploy/: they parse, and every command, flag, path and name in them exists."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from ruvllm.cli.app import whole_app

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def parsed(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def flags_of(command: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in command if word.startswith("--")]


def test_every_file_is_known_here() -> None:
    assert {path.name for path in DEPLOY.iterdir()} == {"kuberay.yml", "compose.yml"}


def test_the_workers_of_the_compose_file_are_started_as_they_can_be() -> None:
    services = parsed("compose.yml")["services"]
    serve = typer.main.get_command(whole_app()).commands["serve"]  # type: ignore[attr-defined]
    known = {flag for parameter in serve.params for flag in parameter.opts}
    for name in ("worker-1", "worker-2"):
        service = services[name]
        assert service["command"][0] == "serve"
        flags = flags_of(service["command"])
        assert flags
        assert set(flags) <= known
        # The container file gives the key's place and the port that the router asks.
        assert f"EXPOSE {port_of(service)}" in (ROOT / "Containerfile").read_text(encoding="utf-8")
        key_file = next(word.partition("=")[2] for word in service["command"] if "key-file" in word)
        assert any(volume.split(":")[1] == key_file for volume in service["volumes"])
        assert service["environment"].keys() <= set(
            re.findall(r"RUVLLM_\w+", (ROOT / "Containerfile").read_text("utf-8"))
        )


def port_of(service: dict[str, Any]) -> str:
    return next(str(word.partition("=")[2]) for word in service["command"] if word.startswith("--port="))


def test_the_router_of_the_compose_file_is_the_one_that_is_tested() -> None:
    services = parsed("compose.yml")["services"]
    script: str = services["router"]["command"][-1]
    urls = re.findall(r"http://([\w-]+):(\d+)", script)
    assert [(name, port_of(services[name])) for name, _ in urls] == urls
    assert set(services["router"]["depends_on"]) == {name for name, _ in urls}
    pins = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8")
    [version] = re.findall(r"vllm-router==(\S+)", script)
    assert re.search(rf"^vllm-router=={re.escape(version)} ", pins, re.M)
    router_args = pytest.importorskip("vllm_router.router_args")
    source = Path(router_args.__file__).read_text(encoding="utf-8")
    assert [
        flag for flag in re.findall(r"--[\w-]+", script.partition("exec")[2]) if flag not in known(source)
    ] == []


def known(source: str) -> set[str]:
    """Flags that a program takes by the source that says so; a prefix is put before some."""
    said = set(re.findall(r'"(--[\w-]+)"', source))
    return said | {f"--{name}" for name in re.findall(r'f"--\{prefix\}([\w-]+)"', source)}


def service() -> Any:
    return parsed("kuberay.yml")["spec"]


# Ray's own code is warned of by what it stands on.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_kuberay_file_serves_what_there_is() -> None:
    schema = pytest.importorskip("ray.serve.schema")
    [application] = schema.ServeDeploySchema(**yaml.safe_load(service()["serveConfigV2"])).applications
    from ruvllm.integrations.ray.settings import RaySettings

    settings = RaySettings(**{**application.args, "api_key_file": None})
    module, _, name = application.import_path.partition(":")
    built = getattr(importlib.import_module(module), name)(settings)
    assert built is not None
    assert [one.name for one in application.deployments] == ["Worker"]
    [group] = service()["rayClusterConfig"]["workerGroupSpecs"]
    [container] = group["template"]["spec"]["containers"]
    assert int(container["resources"]["limits"]["cpu"]) == settings.num_cpus
    assert (group["minReplicas"], group["maxReplicas"]) == (settings.replicas, settings.max_replicas)
    assert group["template"]["spec"]["terminationGracePeriodSeconds"] > settings.graceful_shutdown_timeout_s
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for path in (application.args["model"], application.args["api_key_file"]):
        assert str(Path(path).parent) in mounts


def test_every_argument_stands_in_the_table() -> None:
    from ruvllm.integrations.ray.settings import RaySettings

    table = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").partition("| argument | by default |")[2]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", table.partition("\n\n")[0], re.M)
    told: dict[str, str] = {}
    for names, defaults in rows:
        listed = re.findall(r"`(\w+)`", names)
        told |= dict(zip(listed, defaults.replace("`", "").split(", "), strict=False))
        assert set(listed) <= RaySettings.model_fields.keys()
    assert {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)} == set(
        RaySettings.model_fields
    )
    for name, default in told.items():
        really = getattr(RaySettings(), name)
        assert default == (
            "none" if really in (None, {}) else f"{really:g}" if isinstance(really, float) else str(really)
        )


def test_the_kuberay_file_is_of_the_versions_that_are_tested() -> None:
    cluster = service()["rayClusterConfig"]
    pins = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8")
    assert f"ray=={cluster['rayVersion']} " in pins
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M)
    assert version
    images = {
        container["image"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
        for container in group["template"]["spec"]["containers"]
    }
    assert images == {f"ruvllm-ray:{version[1]}"}


def test_ray_s_own_ports_ask_for_a_token() -> None:
    assert service()["rayClusterConfig"]["authOptions"] == {"mode": "token"}
