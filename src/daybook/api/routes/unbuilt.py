"""Routes of the wire that are not built yet: each says so, and nothing is pretended."""

from __future__ import annotations

from typing import NoReturn

from fastapi import APIRouter

from daybook.api.faults import Fault

router = APIRouter(include_in_schema=False)

PATHS = (
    "/balance-monitors",
    "/hooks",
    "/multi-search",
    "/reconciliation",
    "/search",
)
METHODS = ["GET", "POST", "PUT", "DELETE"]


async def _unbuilt() -> NoReturn:
    raise Fault(501, "GEN_NOT_IMPLEMENTED", "this route is not implemented yet")


for _path in PATHS:
    for _more in ("", "/{rest:path}"):
        router.add_api_route(_path + _more, _unbuilt, methods=METHODS, response_model=None)
for _method, _path in (
    ("DELETE", "/identities/{identity_id}"),
    ("GET", "/identities/{identity_id}/tokenized-fields"),
    ("POST", "/identities/{identity_id}/tokenize"),
    ("POST", "/identities/{identity_id}/tokenize/{field}"),
    ("POST", "/identities/{identity_id}/detokenize"),
    ("GET", "/identities/{identity_id}/detokenize/{field}"),
):
    router.add_api_route(_path, _unbuilt, methods=[_method], response_model=None)
