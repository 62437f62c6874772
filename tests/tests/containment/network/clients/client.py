# Names and ports by Python's sockets, urllib and asyncio.
import asyncio
import socket
import time
import urllib.request


async def by_asyncio():
    reader, writer = await asyncio.open_connection("one.example", 80)
    writer.write(b"GET /word HTTP/1.1\r\nHost: one.example\r\n\r\n")
    answer = await reader.read()
    print(answer.decode().splitlines()[-1])


def fails(name, port, reason):
    begun = time.monotonic()
    try:
        socket.create_connection((name, port), 10)
        print("connected")
    except OSError as error:
        print(reason(error), time.monotonic() - begun < 1)


with urllib.request.urlopen("http://one.example/word") as answer:
    print(answer.read().decode().strip())
asyncio.run(by_asyncio())
fails("other.example", 80, lambda error: isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME)
fails("one.example", 81, lambda error: isinstance(error, ConnectionRefusedError))
print(*(name for _, name in socket.if_nameindex()))
