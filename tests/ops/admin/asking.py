"""Asks an app as an operator does, without a network."""

import httpx
from starlette.types import ASGIApp


class Operator:
    """Sends requests to an app. Times out never: time is virtual."""

    def __init__(self, app: ASGIApp, peer: str = "127.0.0.1") -> None:
        transport = httpx.ASGITransport(app, client=(peer, 50000))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9424", timeout=None)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, **headers: str) -> httpx.Response:
        return await self.ask("POST", path, **headers)

    async def post_body(self, path: str, body: bytes) -> httpx.Response:
        return await self._client.request("POST", path, content=body)

    async def ask(self, method: str, path: str, content: str = "", **headers: str) -> httpx.Response:
        return await self._client.request(method, path, headers=headers, content=content)
