"""Arguments, output, errors and exit codes of each command."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ruvllm import hub
from ruvllm.backends.supports import Supports
from ruvllm.cli.app import MODULES, _app_of, whole_app
from ruvllm.cli.options import SamplingOptions
from ruvllm.observability.machine_memory import MachineMemory
from ruvllm.params import GenerateParams
from ruvllm.samplers import Dry, DynamicTemperature, Mirostat, Xtc
from ruvllm.serve.schemas.base import SamplerFields
from tests.cli.fake_engine import FakeLLM
from tests.conftest import FIXTURES

Ruvllm = Callable[..., Any]


def every_command() -> dict[str, Any]:
    """All commands by name, those of groups as `packs verify`; and the groups themselves."""
    tops = typer.main.get_command(whole_app()).commands  # type: ignore[attr-defined]
    inner = {
        f"{name} {part}": command
        for name, group in tops.items()
        for part, command in getattr(group, "commands", {}).items()
    }
    return {**tops, **inner}


GROUPS = [name for name, command in every_command().items() if hasattr(command, "commands")]
COMMANDS = [name for name in every_command() if name not in GROUPS]


def test_all_commands_are_among_them() -> None:
    named = [
        "chat",
        "run",
        "complete",
        "serve",
        "ps",
        "stop",
        "show",
        "pull",
        "list",
        "info",
        "rm",
        "bench",
        "bench-serve",
        "train",
        "doctor",
    ]
    named += ["decide", "calibrate", "prepare", "quantize", "eval", "imatrix"]
    packs = ["verify", "list", "install", "activate", "rollback", "bench", "keygen", "sign"]
    adapters = ["load", "list", "unload", "info", "merge", "export"]
    bank = ["add", "search", "distill", "context", "stats"]
    learn = ["status", "feedback", "rollback", "consolidate", "train", "log", "export"]
    inner = [
        *(f"bank {name}" for name in bank),
        *(f"learn {name}" for name in learn),
        *(f"adapters {name}" for name in adapters),
        *(f"packs {name}" for name in packs),
    ]
    assert GROUPS == ["adapters", "bank", "learn", "packs"]
    assert sorted(COMMANDS) == sorted([*named, *inner])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(ruvllm: Ruvllm, command: str) -> None:
    result = ruvllm(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert result.stdout.count(f"ruvllm {command}") >= 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_flag_and_explains_the_usual(ruvllm: Ruvllm, command: str) -> None:
    short = ruvllm(*command.split(), "--help").stdout
    whole = ruvllm(*command.split(), "--help-all").stdout
    flags = [one for one in every_command()[command].params if one.opts[0].startswith("--")]
    for flag in flags:
        assert flag.opts[0] in short
        assert re.search(rf"^│.*{flag.opts[0]} ", whole, re.M), flag.opts
    assert short == ruvllm(*command.split(), "--help").stdout
    explained = [flag.opts[0] for flag in flags if re.search(rf"^│.*{flag.opts[0]} ", short, re.M)]
    assert {"--threads", "--temperature"} & {flag.opts[0] for flag in flags} <= set(explained)
    if "--kv-format" in short:
        assert "--kv-format" not in explained
        assert len(short.splitlines()) < 100


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_help_lists_the_commands(ruvllm: Ruvllm, group: str) -> None:
    result = ruvllm(*group.split(), "--help")
    assert result.exit_code == 0
    listed = re.findall(r"^│ ([a-z][a-z-]*) ", result.stdout, re.M)
    assert sorted(" ".join([*group.split(), name]) for name in listed) == sorted(
        name for name in every_command() if name.rpartition(" ")[0] == group
    )
    # Whoever stands here is told where examples are.
    assert f"{' '.join(['ruvllm', *group.split()])} COMMAND --help" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_variable(command: str) -> None:
    parameters = every_command()[command].params
    flags = [parameter for parameter in parameters if parameter.opts[0].startswith("--")]
    flags = [flag for flag in flags if flag.name != "help"]
    assert flags
    variables = [flag.envvar for flag in flags]
    assert all(isinstance(variable, str) and variable.startswith("RUVLLM_") for variable in variables), (
        variables
    )
    assert len(set(variables)) == len(variables)


def test_the_documented_variables_are_among_them() -> None:
    variables = {parameter.envvar for command in every_command().values() for parameter in command.params}
    assert {
        "RUVLLM_CACHE_DIR",
        "RUVLLM_LOG_LEVEL",
        "RUVLLM_ISA",
        "RUVLLM_THREADS",
        "RUVLLM_MODEL",
    } <= variables


def test_sampling_defaults_are_the_librarys() -> None:
    assert SamplingOptions().params(max_tokens=256) == GenerateParams()
    names = {field.name for field in fields(SamplingOptions)}
    assert names - {"stop"} <= {
        *(field.name for field in fields(GenerateParams)),
        # Those of a sampler as llama.cpp names them, which is what a server is told.
        *SamplerFields.model_fields,
    }
    assert set(SamplerFields.model_fields) <= names


def test_samplers_have_flags_as_llama_cpp_names_them(ruvllm: Ruvllm, model: str) -> None:
    flags = (
        "--typical-p 0.9 --top-nsigma 2 --dry-multiplier 0.8 --dry-base 1.5 --dry-allowed-length 3 "
        "--dry-penalty-last-n 64 --dry-sequence-breaker ; --dry-sequence-breaker . --xtc-probability 0.5 "
        "--xtc-threshold 0.2 --dynatemp-range 0.5 --dynatemp-exp 1.5 --mirostat 2 "
        "--mirostat-ent 3 --mirostat-lr 0.2"
    )
    assert ruvllm("complete", "x", "-m", model, *flags.split()).exit_code == 0
    [(_, params)] = FakeLLM.opened[-1].requests
    assert params == GenerateParams(
        typical_p=0.9,
        top_n_sigma=2,
        dry=Dry(multiplier=0.8, base=1.5, allowed_length=3, last_tokens=64, sequence_breakers=(";", ".")),
        xtc=Xtc(probability=0.5, threshold=0.2),
        dynamic_temperature=DynamicTemperature(range=0.5, exponent=1.5),
        mirostat=Mirostat(tau=3, eta=0.2),
        top_p=1,
    )
    refused = ruvllm("complete", "x", "-m", model, "--mirostat", "1")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "mirostat is 1; it must be 0 or 2" in refused.stderr


def params_of(ruvllm: Ruvllm, model: str, *flags: str) -> GenerateParams:
    result = ruvllm("complete", "x", "-m", model, *flags)
    assert result.exit_code == 0, result.output
    [(_, params)] = FakeLLM.opened[-1].requests
    return params


def test_sequence_breakers_have_llama_cpps_values(ruvllm: Ruvllm, model: str) -> None:
    def breakers(*texts: str) -> tuple[str, ...]:
        flags = [part for text in texts for part in ("--dry-sequence-breaker", text)]
        dry = params_of(ruvllm, model, "--dry-multiplier", "1", *flags).dry
        assert dry is not None
        return dry.sequence_breakers

    assert breakers() == Dry().sequence_breakers
    assert breakers("none") == ()
    assert breakers(r"\n", r"\\", "ß", r"\q") == ("\n", "\\", "ß", r"\q")
    refused = ruvllm(
        "complete", "x", "-m", model, "--dry-sequence-breaker", "none", "--dry-sequence-breaker", "."
    )
    assert refused.exit_code == 2


@pytest.mark.parametrize("command", ["complete", "run"])
@pytest.mark.parametrize(
    ("flag", "value", "needed"),
    [
        ("--mirostat-tau", "3", "--mirostat 2"),
        ("--mirostat-eta", "0.2", "--mirostat 2"),
        ("--dry-base", "2", "--dry-multiplier 0.8"),
        ("--dry-allowed-length", "3", "--dry-multiplier 0.8"),
        ("--dry-penalty-last-n", "64", "--dry-multiplier 0.8"),
        ("--dry-sequence-breaker", ".", "--dry-multiplier 0.8"),
        ("--xtc-threshold", "0.2", "--xtc-probability 0.5"),
        ("--dynatemp-exponent", "2", "--dynatemp-range 0.5"),
    ],
)
def test_a_setting_of_a_sampler_that_is_off_is_refused(
    ruvllm: Ruvllm, model: str, command: str, flag: str, value: str, needed: str
) -> None:
    arguments = (command, "x", "-m", model, flag, value)
    refused = ruvllm(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"{flag} needs {needed}" in refused.stderr
    assert not FakeLLM.opened
    # With what it says, and where it is turned off by a word, it is taken.
    assert ruvllm(*arguments, *needed.split()).exit_code == 0
    assert ruvllm(*arguments, needed.split()[0], "0").exit_code == 0


def test_a_number_that_is_none_turns_nothing_off(ruvllm: Ruvllm, model: str) -> None:
    refused = ruvllm("complete", "x", "-m", model, "--top-n-sigma", "nan")
    assert refused.exit_code == 2
    assert "top-n-sigma" in refused.stderr
    assert params_of(ruvllm, model, "--top-n-sigma", "-1").top_n_sigma == 0


def test_mirostat_turns_off_the_filter_that_was_not_given(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirostat = params_of(ruvllm, model, "--mirostat", "2")
    assert mirostat == GenerateParams(mirostat=Mirostat(), top_p=1)
    assert params_of(ruvllm, model, "--mirostat", "2", "--top-p", "0.9").top_p == 0.9
    assert params_of(ruvllm, model, "--mirostat", "0").top_p == 0.9
    monkeypatch.setenv("RUVLLM_TOP_P", "0.8")
    assert params_of(ruvllm, model, "--mirostat", "2").top_p == 0.8


def test_version(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.3")
    result = ruvllm("--version")
    assert (result.exit_code, result.stdout) == (0, "ruvllm 1.2.3\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["complete", "x", "--nonsense"],
        ["complete", "x", "--threads", "0"],
        ["complete", "x", "--temperature", "-1"],
        ["complete", "x", "--top-p", "1.5"],
        ["complete", "x", "--log-level", "loud"],
        ["run"],
        ["complete"],
        ["complete", "-m", "MODEL", ""],
        ["pull"],
        ["pull", "org/.."],
        ["pull", "http://example.org/org/repo"],
        ["complete", "x", "-m", "MODEL", "--isa", "none"],
        ["complete", "x", "-m", "MODEL", "--backend", "native:speed=1"],
        ["complete", "x", "-m", "MODEL", "--top-p", "0"],
        ["bench", "MODEL", "--prompt", "0", "--generate", "0"],
    ],
)
def test_wrong_usage_is_2(ruvllm: Ruvllm, model: str, arguments: list[str]) -> None:
    result = ruvllm(*[model if argument == "MODEL" else argument for argument in arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "rror" in result.stderr


def test_an_error_is_one_line_on_stderr(ruvllm: Ruvllm) -> None:
    result = ruvllm("complete", "x", "--model", "smolm2")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(
        "error: Not found: no model, file or folder is called 'smolm2'. Did you mean"
    )
    assert result.stderr.count("\n") == 1


def test_verbose_adds_where(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" in ruvllm("complete", "x", "-m", "smolm2", "-v").stderr

    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("inner\nfault")

    monkeypatch.setattr(hub, "resolve", broken)
    result = ruvllm("complete", "-p", "x", "--quiet")
    assert result.exit_code == 1
    assert (
        result.stderr == "error: unexpected ValueError: inner fault (run it again with --verbose for where)\n"
    )


def test_interrupted_is_130(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "pull", interrupted)
    assert ruvllm("pull", "smollm2-135m").exit_code == 130


def test_complete_streams_to_stdout(ruvllm: Ruvllm, model: str) -> None:
    result = ruvllm("complete", "the sky", "--model", model)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "You said: the sky\n", "")
    [llm] = FakeLLM.opened
    assert llm.closed
    assert llm.requests == [("the sky", GenerateParams())]


def test_complete_reads_stdin(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("complete", model, stdin="from a pipe\n").stdout == "You said: from a pipe\n"
    assert ruvllm("complete", model, " and here", stdin="a pipe").stdout == "You said: a pipe and here\n"


def test_run_with_flags_and_variables(ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUVLLM_MODEL", model)
    monkeypatch.setenv("RUVLLM_TEMPERATURE", "0.5")
    monkeypatch.setenv("RUVLLM_THREADS", "3")
    monkeypatch.setenv("RUVLLM_ISA", "avx2")
    flags = "--temperature 0 --top-k 5 --min-p 0.1 -n 7 --seed 9 --repetition-penalty 1 --stop a --stop b"
    result = ruvllm("run", "-p", "x", "--system", "Be brief.", "--max-context", "512", *flags.split())
    assert result.exit_code == 0, result.output
    [llm] = FakeLLM.opened
    assert llm.settings["threads"] == 3
    assert (llm.settings["isa"], llm.settings["max_context"]) == ("avx2", 512)
    [(prompt, params)] = llm.requests
    assert llm.tokenizer.decode(prompt) == "<system>Be brief.</><user>x</><assistant>"
    assert params == GenerateParams(
        temperature=0,
        top_k=5,
        min_p=0.1,
        max_tokens=7,
        seed=9,
        repetition_penalty=1,
        stop_sequences=("a", "b"),
    )


def test_the_kernel_pack_reaches_the_engine(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("complete", "Hello", "--model", model).exit_code == 0
    assert FakeLLM.opened[-1].settings["kernel_pack"] is None
    assert ruvllm("complete", "Hello", "--model", model, "--kernel-pack", "reference").exit_code == 0
    assert FakeLLM.opened[-1].settings["kernel_pack"] == "reference"


def test_complete_json(ruvllm: Ruvllm, model: str) -> None:
    result = json.loads(ruvllm("complete", "x", "-m", model, "--json").stdout)
    # What programs read: more keys, or fewer, are a change for them.
    keys = "text token_ids finish_reason usage timings logprobs completion_id reasoning tool_calls"
    assert [*result] == keys.split()
    assert result["text"] == "You said: x"
    assert result["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "cached_tokens": 0,
        "cache_miss": None,
        "drafted_tokens": 0,
        "accepted_tokens": 0,
        "total_tokens": 8,
    }


def test_verbose_says_how_fast(ruvllm: Ruvllm, model: str) -> None:
    result = ruvllm("complete", "x", "-m", model, "--verbose", "-n", "2")
    assert "3 tokens, 2.0 tokens/s, first after 0.10 s, cut off" in result.stderr


def test_chat_without_a_terminal(ruvllm: Ruvllm, model: str) -> None:
    for result in (ruvllm("chat", model, stdin="hello there\n"), ruvllm("chat", model, "-p", "hello there")):
        assert (result.exit_code, result.stdout, result.stderr) == (0, "You said: hello there\n", "")
    result = ruvllm("chat", model, "--system", "Be brief.", "--temperature", "0", stdin="hello\n")
    [(prompt, params)] = FakeLLM.opened[-1].requests
    text = FakeLLM.opened[-1].tokenizer.decode(prompt)
    assert text == "<system>Be brief.</><user>hello</><assistant>"
    assert (params.temperature, params.max_tokens) == (0, 1024)


def test_chat_with_nothing_to_answer(ruvllm: Ruvllm, model: str) -> None:
    result = ruvllm("chat", model, stdin="\n")
    assert result.exit_code == 2
    assert "PROMPT" in result.stderr
    assert FakeLLM.opened == []


def test_a_prompt_that_is_too_long(ruvllm: Ruvllm, model: str) -> None:
    result = ruvllm("chat", model, "-p", "too long")
    assert result.exit_code == 2
    assert "the context holds 8" in result.stderr


def test_bench(ruvllm: Ruvllm, model: str) -> None:
    flags = ["--threads", "2", "--prompt", "512", "--generate", "64", "--repeat", "3"]
    result = json.loads(ruvllm("bench", model, *flags, "--json").stdout)
    assert [row["test"] for row in result["results"]] == ["pp512", "tg64"]
    assert all(row["tokens_per_second"] > 0 and row["stddev"] >= 0 for row in result["results"])
    assert (result["threads"], result["isa"], result["model"]) == (2, "avx2", "llama 135M Q4_1")
    requests = FakeLLM.opened[0].requests
    assert [(len(tokens), params.max_tokens) for tokens, params in requests] == [(512, 1)] * 4 + [(1, 64)] * 4
    assert len({tuple(tokens) for tokens, _ in requests[:4]}) == 4  # no two alike: no cache can help
    table = ruvllm("bench", model, *flags).stdout.splitlines()
    assert table[0].split() == ["model", "size", "params", "backend", "threads", "test", "t/s"]
    assert re.search(
        r"llama 135M Q4_1 +93\.81 MiB +134\.52 M +CPU \(avx2\) +2 +pp512 +[\d.]+ ± [\d.]+", table[1]
    )


def test_bench_profile(ruvllm: Ruvllm, model: str) -> None:
    flags = ["--prompt", "12", "--generate", "4", "--repeat", "2", "--profile"]
    result = json.loads(ruvllm("bench", model, *flags, "--json").stdout)
    assert [row["test"] for row in result["results"]] == ["pp12", "tg4"]
    assert result["peaks"]["memory_bytes_per_second"] == 70.0e9
    prefill, decode = result["profiles"]
    assert (prefill["phase"], prefill["tokens"], prefill["unit"]) == ("prefill", 12, "GOP/s")
    assert prefill["microseconds"] == pytest.approx(4.0)
    assert (decode["phase"], decode["tokens"], decode["unit"]) == ("decode", 1, "GB/s")
    assert decode["microseconds"] == pytest.approx(4.0)  # of each of the eight steps
    product, other = prefill["rows"]
    assert (product["operation"], product["calls"]) == ("matmul down", 30)
    assert product["share"] == pytest.approx(0.75)
    assert product["rate"] == pytest.approx(1000.0)  # 12 tokens of 250 000 operations in 3 us
    assert product["share_of_peak"] == pytest.approx(8.0)  # of 125 GOP/s
    assert (other["rate"], other["share_of_peak"]) == (None, None)
    product = decode["rows"][0]
    assert product["rate"] == pytest.approx(35.0)
    assert product["share_of_peak"] == pytest.approx(0.5)
    text = ruvllm("bench", model, *flags).stdout
    assert re.search(r"prefill of 12 tokens: 4 µs\noperation +calls +µs +share +GOP/s +of peak", text)
    assert re.search(r"matmul down +30 +3\.0 +75\.0% +35\.0 +50%", text)
    assert "memory 70.0 GB/s, f32 125 GOP/s (vfmadd231ps ymm)" in text
    assert "profiles" not in json.loads(ruvllm("bench", model, *flags[:-1], "--json").stdout)


def test_bench_profile_of_what_tells_no_times_measures_nothing(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeLLM, "supports", Supports(any_tokens=True))
    result = ruvllm("bench", model, "--profile")
    assert result.exit_code == 2
    assert "the backend 'fake' does not tell where its time goes" in result.stderr
    assert not FakeLLM.opened[0].requests


def test_doctor(ruvllm: Ruvllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUVLLM_CACHE_DIR", str(tmp_path / "cache"))
    result = ruvllm("doctor", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["cpu"]["isa"], report["cpu"]["threads"], report["problems"]) == ("avx2", 2, [])
    assert report["folders"]["cache"] == str(tmp_path / "cache")
    assert report["variables"]["RUVLLM_CACHE_DIR"] == str(tmp_path / "cache")
    result = ruvllm("doctor")
    assert "two CPUs are allowed" in result.stdout
    assert result.exit_code == 0


def test_doctor_measures_when_asked(ruvllm: Ruvllm) -> None:
    assert "peaks" not in json.loads(ruvllm("doctor", "--json").stdout)
    report = json.loads(ruvllm("doctor", "--measure", "--threads", "1", "--json").stdout)
    assert report["peaks"] == {
        "threads": 1,
        "memory_bytes_per_second": 70.0e9,
        "instructions": [
            {
                "isas": ["avx2"],
                "instruction": "vfmadd231ps ymm",
                "operands": "f32",
                "operations_per_second": 125.0e9,
            }
        ],
    }
    text = ruvllm("doctor", "--measure").stdout
    assert re.search(r"memory +70\.0 GB/s", text)
    assert re.search(r"f32: vfmadd231ps ymm +125 GOP/s", text)


def test_doctor_reports_problems(ruvllm: Ruvllm) -> None:
    result = ruvllm("doctor", "--isa", "none", "--json")
    assert result.exit_code == 1
    assert "isa is 'none'" in json.loads(result.stdout)["problems"][0]


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the default model in it, as far as sizes tell."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("RUVLLM_CACHE_DIR", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    path = cache / "models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(98_362_432)
    return path


def test_list_and_remove(ruvllm: Ruvllm, fetched: Path) -> None:
    assert re.search(r"smollm2-135m +Q4_1 +98\.4 MB +pypi", ruvllm("list").stdout)
    [row] = json.loads(ruvllm("list", "--json").stdout)["models"]
    assert (row["name"], row["path"]) == ("smollm2-135m", str(fetched))
    result = ruvllm("rm", "smollm2")
    assert (result.exit_code, result.stderr) == (0, "deleted smollm2-135m: 98.4 MB\n")
    assert not fetched.exists()
    assert ruvllm("rm", "smollm2").exit_code == 1
    result = ruvllm("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "ruvllm pull smollm2-135m" in result.stderr


def test_list_available(ruvllm: Ruvllm) -> None:
    assert "Gemma Terms of Use" in ruvllm("list", "--available").stdout
    names = [row["name"] for row in json.loads(ruvllm("list", "--available", "--json").stdout)["models"]]
    assert names == hub.DEFAULT_REGISTRY.names()


def test_list_what_fits(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    def names_with(free: int | None) -> Any:
        memory = MachineMemory(total_bytes=None, available_bytes=free, limit_bytes=None)
        monkeypatch.setattr(MachineMemory, "now", lambda: memory)
        return ruvllm("list", "--fits", "--json")

    rows = {entry.name: hub.needed_bytes(entry) for entry in hub.DEFAULT_REGISTRY}
    for free in (0, 600_000_000, rows["qwen2.5:0.5b"], 10**12):
        found = [row["name"] for row in json.loads(names_with(free).stdout)["models"]]
        assert found == [name for name, needed in rows.items() if needed <= free]
    told = names_with(None)
    assert told.exit_code == 1
    assert "leave out --fits" in told.stderr


def test_pull_prints_the_path(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, object]]] = []

    def pull(name: str, **options: object) -> Path:
        calls.append((name, options))
        return Path("/models/x.gguf")

    monkeypatch.setattr(hub, "pull", pull)
    result = ruvllm("pull", "smollm2", "org/repo:Q8_0", "--force", "--cache-dir", "/tmp/c")
    assert (result.exit_code, result.stdout) == (0, "/models/x.gguf\n/models/x.gguf\n")
    assert "Apache-2.0" in result.stderr
    assert calls[1] == ("org/repo:Q8_0", {"quiet": False, "force": True, "cache": Path("/tmp/c")})


def test_control_characters_do_not_reach_a_terminal() -> None:
    from ruvllm.cli.terminal import visible

    assert visible("a\x1b[31mb\x07\tc\n\x9bd") == "a[31mb\tc\nd"


@pytest.mark.alone
def test_start_is_quick() -> None:
    """The best of a few, beside an interpreter that does nothing: other programs may have the processor."""

    def seconds(*arguments: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - start

    times = [(seconds("-m", "ruvllm", "--help"), seconds("-c", "import json, logging")) for _ in range(5)]
    assert min(help_seconds / nothing for help_seconds, nothing in times) < 16, times


def test_a_module_registers_what_the_table_says() -> None:
    """Of a command that is called no other module is imported."""
    for module, names in MODULES.items():
        found = typer.main.get_command(_app_of([module])).commands  # type: ignore[attr-defined]
        assert tuple(found) == names


@pytest.mark.parametrize("arguments", [["list"], ["info", "MODEL"], ["--version"]])
def test_what_tells_loads_little(arguments: list[str]) -> None:
    """No command but the one that is called, and of the engine no more than its reader of heads."""
    heavy = [
        "numpy",
        "pydantic_settings",
        "httpx",
        "fastapi",
        "ruvllm.llm",
        "ruvllm.serve",
        "ruvllm.cli.chat",
    ]
    heavy += [] if arguments[0] == "info" else ["ruvllm._native"]
    words = [str(FIXTURES / "gguf" / "llama-gqa.gguf") if word == "MODEL" else word for word in arguments]
    script = (
        f"import sys; sys.argv[1:] = {words}\nfrom ruvllm.cli.main import main\n"
        f"try: main()\nfinally: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_starting_loads_nothing_heavy() -> None:
    heavy = [
        "numpy",
        "prompt_toolkit",
        "tokenizers",
        "safetensors",
        "minijinja",
        "huggingface_hub.hf_api",
        "httpx",
    ]
    script = (
        "import ruvllm.cli.app, sys; ruvllm.cli.app.whole_app(); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"
