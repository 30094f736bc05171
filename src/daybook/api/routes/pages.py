"""The page that describes every route, from the OpenAPI document; all of it is served from here."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

SCRIPT, STYLE, START = "swagger-ui-bundle.js", "swagger-ui.css", "start.js"
_ASSETS = "fastapi_offline"
_SECONDS_KEPT = 86_400

POLICY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
}
"""The library styles its elements one by one, and so wants styles within them."""

_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Daybook: the HTTP API</title>
<link rel="stylesheet" href="/docs/{STYLE}">
<link rel="icon" href="data:,">
</head>
<body>
<div id="routes"></div>
<script src="/docs/{SCRIPT}"></script>
<script src="/docs/{START}"></script>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#routes",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  validatorUrl: null,
});
"""


@router.get("/docs")
async def page() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_PAGE, headers=POLICY)


@router.get(f"/docs/{START}")
async def start() -> Response:
    """What fills the page."""
    return Response(_START, media_type="text/javascript")


@router.get(f"/docs/{SCRIPT}")
async def script() -> Response:
    """The library."""
    return _asset(SCRIPT, "text/javascript")


@router.get(f"/docs/{STYLE}")
async def style() -> Response:
    """Its styles."""
    return _asset(STYLE, "text/css")


def _asset(name: str, media_type: str) -> Response:
    content = (files(_ASSETS) / "static" / name).read_bytes()
    kept = {"cache-control": f"private, max-age={_SECONDS_KEPT}"}
    return Response(content, media_type=media_type, headers=kept)
