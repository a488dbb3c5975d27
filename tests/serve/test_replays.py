"""What programs send, as their sources build it: histories with calls, results and broken calls in them.

Each body is answered by a real server, as a stream and whole. Texts and schemas are shortened; fields, types
of items and odd values are the programs' own.
"""

import json
from typing import Any

import httpx
import pytest

from tests.serve.running import RunningServer

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "path": {"type": "string", "description": "The file."},
        "limit": {"type": ["integer", "null"], "default": None},
        "todos": {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Todo"}]},
        },
    },
    "$defs": {"Todo": {"type": "object", "properties": {"text": {"type": "string"}}}},
    "required": ["path"],
    "additionalProperties": False,
}


def called(name: str, arguments: str, call_id: str, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function, **more}


def function(name: str, **more: Any) -> dict[str, Any]:
    inner = {"name": name, "description": f"{name} of a file.", "parameters": SCHEMA, **more}
    return {"type": "function", "function": inner}


LANGCHAIN = {
    "messages": [
        {"content": "You are a helpful assistant.", "role": "system"},
        {"content": "Read a.txt", "role": "user"},
        {
            "content": None,
            "role": "assistant",
            "tool_calls": [
                {
                    "type": "function",
                    "id": "call_1",
                    "function": {"name": "read", "arguments": '{"path": "a"}'},
                },
                {"type": "function", "id": "call_2", "function": {"name": "read", "arguments": '{"path": '}},
            ],
        },
        {"content": "one", "role": "tool", "tool_call_id": "call_1"},
        {
            "content": "Error: the arguments are no JSON. Please fix your mistakes.",
            "role": "tool",
            "tool_call_id": "call_2",
        },
    ],
    "model": "plain",
    "n": 1,
    "temperature": 0.7,
    "stream_options": {"include_usage": True},
    "parallel_tool_calls": True,
    "tools": [function("read"), function("list", strict=None)],
}
LITELLM = {
    "model": "plain",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Read a.txt"}]},
        {
            "content": "",
            "role": "assistant",
            "tool_calls": [called("read", "{}", "call_1", index=0)],
            "function_call": None,
            "provider_specific_fields": {"refusal": None},
            "annotations": [],
            "reasoning_content": "I should read it.",
        },
        {
            "role": "tool",
            "tool_call_id": "call_1",
            "name": "read",
            "content": [{"type": "text", "text": "one"}],
        },
    ],
    "tools": [function("read")],
    "tool_choice": "auto",
    "max_tokens": 64,
    "extra_body": {},
    "user": "anna",
}
OPEN_WEBUI = {
    "model": "plain",
    "stream": True,
    "stream_options": {"include_usage": True},
    "messages": [
        {"role": "user", "content": "What is in a.txt?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [called("read", '{"path": "a.txt"}', "call_abc", index=0)],
        },
        {"role": "tool", "tool_call_id": "call_abc", "content": ""},
        {"role": "assistant", "content": "It is empty."},
        {"role": "user", "content": "Sure?"},
    ],
    "tools": [function("read")],
    "metadata": {"chat_id": "c", "message_id": "m"},
}
CONTINUE = {
    "messages": [
        {"role": "system", "content": "<important_rules>\nYou are in agent mode.\n</important_rules>"},
        {"role": "user", "content": [{"type": "text", "text": "Read a.txt"}]},
        {
            "role": "assistant",
            "content": " ",
            "tool_calls": [called("read_file", "", "tool_0")],
        },
        {
            "role": "tool",
            "content": "`read_file` failed with the message: path is required",
            "tool_call_id": "tool_0",
        },
    ],
    "model": "plain",
    "max_tokens": 2048,
    "temperature": 0.5,
    "stop": ["<|im_start|>"],
    "stream": True,
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "read_file",
                "description": "Reads.",
                "parameters": {
                    "type": "object",
                    "required": ["path"],
                    "properties": {"path": {"type": "string"}},
                },
            },
            "displayTitle": "Read File",
            "wouldLikeTo": "read {{{ path }}}",
            "readonly": True,
            "isInstant": True,
            "group": "Built-In",
        }
    ],
    "parallel_tool_calls": False,
}
CODEX = {
    "model": "plain",
    "instructions": "You are Codex, based on GPT-5, running as a coding agent.",
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [
                {"type": "input_text", "text": "<permissions instructions>...</permissions instructions>"}
            ],
        },
        {
            "type": "message",
            "role": "user",
            "content": [
                {
                    "type": "input_text",
                    "text": "<environment_context>\n  <cwd>/w</cwd>\n</environment_context>",
                }
            ],
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files"}]},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "**Listing**"}],
            "encrypted_content": "gA",
        },
        {
            "type": "function_call",
            "name": "exec_command",
            "arguments": '{"cmd":"ls","workdir":"/w"}',
            "call_id": "call_1",
        },
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": "Process exited with code 0\nOutput:\na.txt\n",
        },
        {"type": "function_call", "name": "exec_command", "arguments": '{"cmd":"cat', "call_id": "call_2"},
        {"type": "function_call_output", "call_id": "call_2", "output": "failed to parse function arguments"},
        {
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": "call_3",
            "name": "apply_patch",
            "input": "*** Begin Patch\n*** Add File: b.txt\n+two\n*** End Patch\n",
        },
        {"type": "custom_tool_call_output", "call_id": "call_3", "output": "Exit code: 0\nOutput:\nSuccess."},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "There is a.txt."}],
            "phase": "final_answer",
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
    ],
    "tools": [
        {
            "type": "function",
            "name": "exec_command",
            "description": "Runs a command in a PTY.",
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": {"cmd": {"type": "string"}, "yield_time_ms": {"type": "number"}},
                "required": ["cmd"],
                "additionalProperties": False,
            },
        },
        {
            "type": "custom",
            "name": "apply_patch",
            "description": "Use the `apply_patch` tool to edit files. This is a FREEFORM tool.",
            "format": {
                "type": "grammar",
                "syntax": "lark",
                "definition": 'start: begin_patch hunk+ end_patch\nbegin_patch: "*** Begin Patch" LF\n',
            },
        },
        {"type": "web_search", "external_web_access": False},
        {
            "type": "namespace",
            "name": "mcp__docs",
            "description": "Tools of a server.",
            "tools": [
                {"type": "function", "name": "find", "strict": False, "parameters": {"type": "object"}}
            ],
        },
        {"type": "tool_search", "execution": "client", "description": "Searches.", "parameters": {}},
        {"type": "image_generation", "output_format": "png"},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "019a9e58-7658-7532-a454-f8ecf068d9fd",
    "text": {"verbosity": "low"},
    "client_metadata": {"x-codex-installation-id": "7d0b6f2e"},
}
EPHEMERAL = {"type": "ephemeral"}
CLAUDE_CODE = {
    "model": "plain",
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "text",
                    "text": "<system-reminder>\nThe current directory is /w.\n</system-reminder>",
                },
                {"type": "text", "text": "Read a.txt", "cache_control": EPHEMERAL},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I read it.", "signature": "EqQBCkYIBxgCKkDz"},
                {"type": "text", "text": "I'll read it."},
                {"type": "tool_use", "id": "toolu_01A", "name": "Read", "input": {"file_path": "/w/a.txt"}},
                {"type": "tool_use", "id": "toolu_01B", "name": "Read", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"tool_use_id": "toolu_01A", "type": "tool_result", "content": "     1\u2192one"},
                {
                    "type": "tool_result",
                    "content": "<tool_use_error>InputValidationError: file_path is missing</tool_use_error>",
                    "is_error": True,
                    "tool_use_id": "toolu_01B",
                    "cache_control": EPHEMERAL,
                },
            ],
        },
    ],
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli;"},
        {
            "type": "text",
            "text": "You are Claude Code, Anthropic's official CLI for Claude.",
            "cache_control": EPHEMERAL,
        },
    ],
    "tools": [
        {
            "name": "Read",
            "description": "Reads a file.",
            "input_schema": SCHEMA,
            "eager_input_streaming": True,
        },
        {
            "name": "Task",
            "description": "Starts an agent.",
            "input_schema": SCHEMA,
            "cache_control": EPHEMERAL,
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
    ],
    "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "s" * 36})},
    "max_tokens": 32000,
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "medium"},
    "stream": True,
}
COUNTED = {name: CLAUDE_CODE[name] for name in ("model", "messages", "system", "tools", "thinking")}
BODIES = {
    "langchain": ("/v1/chat/completions", LANGCHAIN),
    "litellm": ("/v1/chat/completions", LITELLM),
    "open-webui": ("/v1/chat/completions", OPEN_WEBUI),
    "continue": ("/v1/chat/completions", CONTINUE),
    "codex": ("/v1/responses", CODEX),
    "claude-code": ("/v1/messages?beta=true", CLAUDE_CODE),
    "claude-code-older": (
        "/v1/messages?beta=true",
        {**CLAUDE_CODE, "thinking": {"type": "enabled", "budget_tokens": 31_999}},
    ),
}
SAID = "Hello you."


@pytest.mark.parametrize("name", BODIES)
def test_what_a_program_sends_is_answered(tools: RunningServer, name: str) -> None:
    path, body = BODIES[name]
    with httpx.stream("POST", tools.url + path, json={**body, "stream": True}, timeout=30) as response:
        text = "".join(response.iter_text())
    assert response.status_code == 200, text
    assert '"error":{' not in text
    assert SAID in joined(text)
    whole = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
    answer = httpx.post(tools.url + path, json=whole, timeout=30)
    assert answer.status_code == 200, answer.text
    assert SAID in answer.text


def joined(stream: str) -> str:
    """The texts of all deltas, of whatever API."""
    texts = []
    for line in stream.splitlines():
        if not line.startswith("data: {"):
            continue
        event = json.loads(line.removeprefix("data: "))
        delta = event.get("delta") or next((one["delta"] for one in event.get("choices", ())), None)
        texts.append(
            delta if isinstance(delta, str) else (delta or {}).get("text") or (delta or {}).get("content")
        )
    return "".join(filter(None, texts))


def test_an_agent_s_tokens_are_counted(tools: RunningServer) -> None:
    answer = httpx.post(f"{tools.url}/v1/messages/count_tokens?beta=true", json=COUNTED, timeout=30)
    assert answer.status_code == 200, answer.text
    without = {**COUNTED, "tools": []}
    fewer = httpx.post(f"{tools.url}/v1/messages/count_tokens", json=without, timeout=30)
    assert answer.json()["input_tokens"] > fewer.json()["input_tokens"]


def test_codex_sees_which_tools_are_left_out(tools: RunningServer) -> None:
    answer = httpx.post(f"{tools.api}/responses", json={**CODEX, "stream": False}, timeout=30)
    left_out = "web_search, namespace, tool_search, image_generation"
    assert answer.headers["x-ruvllm-tools-left-out"] == left_out


@pytest.mark.parametrize("name", BODIES)
def test_a_result_of_no_call_is_the_sender_s_mistake(tools: RunningServer, name: str) -> None:
    """A conversation that was cut in two is a 400 by the place, whoever sends it."""
    path, body = BODIES[name]
    field = "input" if "input" in body else "messages"
    marks = ("tool_call_id", "tool_result", "call_output")
    history = body[field]
    place = next(index for index, one in enumerate(history) if any(mark in json.dumps(one) for mark in marks))
    answer = httpx.post(tools.url + path, json={**body, field: history[place:]}, timeout=30)
    assert answer.status_code == 400
    assert f"{field}[0]" in answer.json()["error"]["message"]
