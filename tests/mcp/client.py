"""Drives `capsule mcp` with the Python SDK of MCP, in both kinds of session: with `initialize`, and without, as of 2026-07-28.

The SDK checks the shape of every message against the protocol; this file checks what the tools do.
"""

import asyncio
import base64
import sys
import tempfile
import time
from pathlib import Path

from mcp import Client, MCPError, StdioServerParameters

COMMAND = sys.argv[1]
TOOLS = ["process_start", "process_read", "process_write", "process_wait", "process_stop", "process_signal", "process_list"]
ECHO = 'while read -r line; do echo "got $line"; done; echo bye >&2; exit 3'


async def call(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    # Agents read either.
    assert result.content[0].type == "text" and result.structured_content is not None, result
    return result.structured_content


async def fails(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result
    return result.content[0].text


async def read_until(client, process, cursor, wanted):
    text = ""
    while wanted not in text:
        chunk = await call(client, "process_read", process=process, cursor=cursor, wait_seconds=30)
        assert chunk["text"] or not chunk["end"], (text, chunk)
        text, cursor = text + chunk["text"], chunk["cursor"]
    return text, cursor


async def session(client, workspace):
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == TOOLS, tools
    assert "Granted commands: sh, printf." in tools[0].description, tools[0]
    assert tools[1].annotations.read_only_hint and not tools[0].annotations.read_only_hint, tools

    # A process that outlives the calls.
    shell = (await call(client, "process_start", command="sh", args=["-c", ECHO], label="shell", keep_stdin_open=True))["id"]
    await call(client, "process_write", process=shell, text="one\n")
    text, cursor = await read_until(client, shell, "", "got one\n")
    assert text == "got one\n", text
    await call(client, "process_write", process="shell", base64=base64.b64encode(b"two\n").decode(), close=True)
    assert (await call(client, "process_wait", process=shell)) == {"running": False, "exit_code": 3}
    assert (await read_until(client, shell, cursor, "got two\n"))[0] == "got two\n"
    assert (await call(client, "process_read", process=shell, stream="stderr"))["text"] == "bye\n"
    listed = (await call(client, "process_list"))["processes"]
    assert [(one["label"], one["exit_code"]) for one in listed] == [("shell", 3)], listed

    # Calls at once: a wait holds no other call up.
    await call(client, "process_start", command="sh", args=["-c", "read -r line"], label="sleeper", keep_stdin_open=True)
    waiting = asyncio.create_task(call(client, "process_wait", process="sleeper", timeout_seconds=100))
    assert (await call(client, "process_wait", process="sleeper", timeout_seconds=0))["running"]
    assert not waiting.done()
    await call(client, "process_write", process="sleeper", text="\n")
    assert (await waiting)["exit_code"] == 0

    # Output that is not text.
    await call(client, "process_start", command="printf", args=["\\377\\376"], label="bytes")
    await call(client, "process_wait", process="bytes")
    chunk = await call(client, "process_read", process="bytes")
    assert base64.b64decode(chunk["base64"]) == b"\xff\xfe" and chunk["end"], chunk

    # What goes wrong is said to the agent.
    denied = await fails(client, "process_start", command="ls")
    assert "--allow ls grants it" in denied, denied
    assert "no-such-process" in await fails(client, "process_wait", process="none")
    assert "unknown field `cmd`" in await fails(client, "process_start", cmd="sh")
    try:
        await client.call_tool("process_eat", {})
        raise AssertionError("a tool that does not exist was called")
    except MCPError as error:
        assert "process_eat" in str(error), error

    # Confined.
    await call(client, "process_start", command="sh", args=["-c", f"ls -A $HOME /root; echo here > {workspace}/file"], label="ls")
    await call(client, "process_wait", process="ls")
    assert "No such file" in (await call(client, "process_read", process="ls", stream="stderr"))["text"]
    assert (Path(workspace) / "file").read_text() == "here\n"

    # It ends with the server.
    await call(client, "process_start", command="sh", args=["-c", "sleep 1000 & sleep 1000"])


def running_in(folder):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").readlink().is_relative_to(folder):
                found.append(process.joinpath("cmdline").read_bytes())
        except OSError:
            pass
    return found


async def main():
    for mode in ["legacy", "auto", "2026-07-28"]:
        with tempfile.TemporaryDirectory() as folder:
            workspace = Path(folder).resolve()
            arguments = ["mcp", "--workspace", str(workspace), "--allow", "sh", "--allow", "printf"]
            begun = time.monotonic()
            async with Client(StdioServerParameters(command=COMMAND, args=arguments), mode=mode) as client:
                await session(client, workspace)
            assert not running_in(workspace), running_in(workspace)
            print(f"ok: {mode}, {time.monotonic() - begun:.1f} s")


asyncio.run(asyncio.wait_for(main(), 300))
