"""How the admin port refuses: `{"error": "one sentence"}`, of a router and a state server alike."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


async def refuse_http(request: Request, error: Exception) -> Response:
    """What the framework refuses (no such page, no such method), as a sentence."""
    assert isinstance(error, HTTPException)
    sentences = {
        404: f"there is nothing at {request.url.path}",
        405: f"{request.method} is not for {request.url.path}; expected {_allowed(error)}",
    }
    sentence = sentences.get(error.status_code, str(error.detail))
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


def refuse(status: int, sentence: str, **more: object) -> Response:
    return JSONResponse({"error": sentence, **more}, status)


def _allowed(error: HTTPException) -> str:
    methods = (error.headers or {}).get("Allow", "another method").split(", ")
    return " or ".join(each for each in sorted(methods) if each != "HEAD")
