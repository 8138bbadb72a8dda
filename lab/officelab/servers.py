"""The lab's own small servers, where no packaged one does the part: generic web content behind
nginx, a mail sink, the call reflector, the printer, the PLC and the attacker's listeners.

Usage: servers.py ROLE JSON. Roles: content, mx, call, printer, plc, evil. Prints "ready".
"""

import asyncio
import hashlib
import json
import random
import re
import ssl
import sys

BODY_MAX = 256 << 20
TEXT = ("the quick report about customers and orders was sent to the team on monday and the budget "
        "for next quarter is still open while the draft contract waits for a second signature ").encode()
# How pictures begin (PNG, section 5.2 and 11.2.2; JFIF 1.02): what follows is as good as compressed.
PICTURES = {
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x40\x00\x00\x00\xf0\x08\x06\x00\x00\x00",
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x02\x00\x00\x48\x00\x48\x00\x00",
}


def content(key, path):
    """The body for a path: `name.1234.ext` gives 1234 bytes, anything else a page sized by its name."""
    m = re.search(r"\.(\d+)\.(\w+)$", path.split("?")[0])
    h = int.from_bytes(hashlib.blake2b((key + path).encode(), digest_size=6).digest(), "big")
    size, ext = (int(m[1]), m[2]) if m else (1500 + h % 9000, "html")
    kind = {"js": "application/javascript", "css": "text/css", "html": "text/html; charset=utf-8", "png": "image/png",
            "jpg": "image/jpeg", "json": "application/json", "txt": "text/plain", "crl": "application/pkix-crl"}.get(ext, "application/octet-stream")
    if ext in ("js", "css", "html", "json", "txt"):
        head = f"<!doctype html><title>{key}</title><p>".encode() if ext == "html" else b"/* " + key.encode() + b" */ "
        return kind, (head + TEXT * (size // len(TEXT) + 1))[:max(size, len(head))]
    head = PICTURES.get(ext, b"")
    return kind, (head + random.Random(h).randbytes(size))[:max(size, len(head))]


class Http:
    """Reads requests of a connection one after the other and answers each."""

    def __init__(self, name, tasks=None, login=None):
        self.name, self.tasks, self.login = name, tasks, login
        self.random = random.Random(name)

    async def __call__(self, reader, writer):
        try:
            while await self.one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
        lines = head.split("\r\n")
        method, path = lines[0].split(" ")[:2]
        fields = {k.strip().lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:] if ":" in x)}
        if "100-continue" in fields.get("expect", ""):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, left = b"", min(int(fields.get("content-length", 0)), BODY_MAX)
        while left > 0:
            piece = await reader.read(min(left, 65536))
            if not piece:
                return False
            left -= len(piece)
            body = (body + piece)[:4096]
        status, kind, answer, more = self.answer(method, path, fields, body)
        keep = fields.get("connection", "").lower() != "close"
        writer.write((f"HTTP/1.1 {status}\r\nServer: {self.name}\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n"
                      f"{more}Connection: {'keep-alive' if keep else 'close'}\r\n\r\n").encode() + (b"" if method == "HEAD" else answer))
        await writer.drain()
        return keep

    def answer(self, method, path, fields, body):
        if self.login and path.startswith("/login") and method == "POST":
            ok = any(u.encode() in body and p.encode() in body for u, p in self.login.items())
            if ok:
                return "302 Found", "text/html", b"", f"Location: /home\r\nSet-Cookie: sid={self.random.getrandbits(48):x}\r\n"
            return "200 OK", "text/html", b"<html><form action=/login method=post>Login incorrect</form></html>", ""
        if self.tasks is not None:  # an attacker's controller: mostly "nothing to do", sometimes a task
            size = self.random.choice(self.tasks)
            return "200 OK", "application/octet-stream", self.random.randbytes(size), ""
        if method in ("POST", "PUT", "PATCH"):
            return "200 OK", "application/json", b'{"ok":true,"id":%d}' % self.random.getrandbits(40), ""
        if path.startswith("/generate_204"):
            return "204 No Content", "text/plain", b"", ""
        kind, answer = content(fields.get("host", ""), path)
        return "200 OK", kind, answer, ""


async def smtp_sink(reader, writer):
    """Takes mail as a partner's mail exchanger would."""
    try:
        writer.write(b"220 mx ESMTP ready\r\n")
        data = False
        while line := await reader.readline():
            word = line[:4].upper().strip()
            if data:
                if line == b".\r\n":
                    data = False
                    writer.write(b"250 2.0.0 queued\r\n")
            elif word == b"EHLO":
                writer.write(b"250-mx\r\n250-SIZE 52428800\r\n250 8BITMIME\r\n")
            elif word == b"DATA":
                data = True
                writer.write(b"354 go ahead\r\n")
            elif word == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 ok\r\n")
    except ConnectionError:
        pass
    finally:
        writer.close()


class Reflector(asyncio.DatagramProtocol):
    """The other side of a call: sends every datagram back with other bytes of the same length."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data[:12] + random.randbytes(max(len(data) - 12, 0)), addr)


async def printer(reader, writer):
    while await reader.read(65536):
        pass
    writer.close()


async def stratum(reader, writer):
    """A mining pool speaking Stratum JSON lines."""
    r = random.Random(7)
    try:
        while line := await reader.readline():
            q = json.loads(line)
            m = q.get("method")
            if m == "login":
                reply = {"id": q["id"], "jsonrpc": "2.0", "error": None, "result": {"id": "%x" % r.getrandbits(64), "status": "OK", "job": {
                    "blob": r.randbytes(76).hex(), "job_id": "%x" % r.getrandbits(32), "target": "b88d0600", "height": 3091234, "seed_hash": r.randbytes(32).hex()}}}
            elif m == "mining.subscribe":
                reply = {"id": q["id"], "error": None, "result": [[["mining.notify", "ae68"]], "08000002", 4]}
            else:
                reply = {"id": q["id"], "error": None, "result": True}
            writer.write(json.dumps(reply).encode() + b"\n")
            if m in ("mining.authorize", "submit", "mining.submit"):
                writer.write(json.dumps({"method": "mining.notify", "jsonrpc": "2.0", "params": ["%x" % r.getrandbits(32), r.randbytes(32).hex(), r.randbytes(60).hex(),
                                         r.randbytes(50).hex(), [r.randbytes(32).hex()], "20000000", "1702ab34", "65a1b2c3", True]}).encode() + b"\n")
            await writer.drain()
    except (ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def socks5(reader, writer):
    """A SOCKS5 server that plays the destination itself: HTTP-like bytes back for what it gets."""
    try:
        n = (await reader.readexactly(2))[1]
        await reader.readexactly(n)
        writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        await reader.readexactly({1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0])
        await reader.readexactly(2)
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        while piece := await reader.read(16384):
            writer.write(random.randbytes(min(40000, 200 + 3 * len(piece))))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def plc():
    from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
    from pymodbus.server import StartAsyncTcpServer
    block = lambda: ModbusSequentialDataBlock(0, [17] * 200)
    store = ModbusSlaveContext(di=block(), co=block(), hr=block(), ir=block())
    print("ready", flush=True)
    await StartAsyncTcpServer(context=ModbusServerContext(slaves=store, single=True), address=("0.0.0.0", 502))


async def main():
    role, cfg = sys.argv[1], json.loads(sys.argv[2])
    serve = lambda handler, port, host="0.0.0.0", **k: asyncio.start_server(handler, host, port, backlog=512, **k)
    loop = asyncio.get_running_loop()
    if role == "plc":
        return await plc()
    if role in ("content", "mx", "call"):
        await serve(Http(cfg.get("name", "nginx"), login=cfg.get("login")), 8081, "127.0.0.1")
    if cfg.get("mx"):
        await serve(smtp_sink, 25)
    if cfg.get("call"):
        await loop.create_datagram_endpoint(Reflector, local_addr=("0.0.0.0", 3478))
    if role == "printer":
        await serve(printer, 9100)
        await serve(Http("Embedded/1.0"), 80)
    if role == "evil":
        tls = lambda name: _tls(cfg["certs"], name)
        await serve(Http("nginx", tasks=cfg["tasks"]), 80)
        await serve(Http("nginx", tasks=cfg["tasks"]), 8080)
        await serve(Http("nginx", tasks=cfg["tasks"]), 443, ssl=tls(cfg["cert"]))
        await serve(Http("cloud", tasks=[0, 20]), 8443, ssl=tls(cfg["cert"]))
        await serve(Http("nginx", tasks=[300, 900, 4000]), 9001, ssl=tls("tor"))
        await serve(stratum, 3333)
        await serve(socks5, 1080)
    print("ready", flush=True)
    await asyncio.Event().wait()


def _tls(folder, name):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(f"{folder}/{name}.crt", f"{folder}/{name}.key")
    return c


asyncio.run(main())
