"""The description at /openapi.json says what the HTTP port answers."""

import json
from collections.abc import Collection
from typing import Any

import httpx
import trio

from candled.domain.interval import INTERVALS, MINUTE
from candled.domain.limits import TIME_MAX
from candled.stream.web.requests import LIMIT_MAX
from tests.web.stand import NOW, Stand, made_up_bar


async def described(address: str) -> Any:
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        return (await client.get("/openapi.json")).json()


def conforms(value: Any, schema: Any, whole: Any) -> bool:
    """Whether a value has the type, the properties and the allowed words of a schema."""
    if "$ref" in schema:
        return conforms(value, whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return any(conforms(value, each, whole) for each in schema["anyOf"])
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
        "null": type(None),
    }  # fmt: skip
    if not any(isinstance(value, kinds[name]) for name in names):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        return all(conforms(item, properties.get(name, extra), whole) for name, item in value.items()) and _has(
            value, schema.get("required", ())
        )
    if isinstance(value, list):
        return all(conforms(item, schema["items"], whole) for item in value)
    return "enum" not in schema or value in schema["enum"]


def _has(value: dict[str, Any], names: Collection[str]) -> bool:
    return set(names) <= set(value)


async def test_answers_are_as_described() -> None:
    """Every answer of the API, refusals too, has the form that the description gives it."""
    stand = Stand()
    stand.stored.add(*(made_up_bar(open_time=NOW - ago * MINUTE) for ago in range(5, 0, -1)))
    with trio.fail_after(20):
        async with stand.serving() as address:
            api = await described(address)
            async with httpx.AsyncClient(base_url=f"http://{address}") as client:
                for path, query in (
                    ("/api/symbols", ""), ("/api/status", ""), ("/api/bars", "?symbol=BTCUSDT&limit=3"),
                    ("/api/bars", "?symbol=XRPUSDT"), ("/api/bars", "?symbol=BTCUSDT&limit=0"),
                ):  # fmt: skip
                    answer = await client.get(path + query)
                    responses = api["paths"][path]["get"]["responses"]
                    schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
                    assert conforms(answer.json(), schema, api), (path, query, answer.text)


async def test_events_are_as_described() -> None:
    """Bars and the daemon's state come down the stream in the forms described."""
    stand = Stand()
    stand.emit(made_up_bar(closed=False, complete=False))
    seen: set[str] = set()
    with trio.fail_after(20):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            api = await described(address)
            async with client.stream("GET", "/api/stream?symbol=BTCUSDT") as answer:
                name = ""
                async for line in answer.aiter_lines():
                    key, _, value = line.partition(": ")
                    name = value if key == "event" else name
                    if key == "data":
                        schema = {"$ref": {"bar": "Message", "status": "Status"}[name]}
                        assert conforms(json.loads(value), schema, api)
                        seen.add(name)
                    if seen == {"bar", "status"}:
                        break


async def test_parameters_and_their_limits_are_described() -> None:
    """Intervals, page size and times have the limits that requests are held to."""
    with trio.fail_after(20):
        async with Stand().serving() as address:
            api = await described(address)
    [_, interval, end, limit] = api["paths"]["/api/bars"]["get"]["parameters"]
    assert interval["schema"]["enum"] == list(INTERVALS)
    assert end["schema"]["maximum"] == TIME_MAX // 1000
    assert limit["schema"]["maximum"] == LIMIT_MAX
