"""``/asyncapi.json``: the tick stream as an AsyncAPI 3 document.

It is made from the very Structs of `contract.py` that check what comes in and encode what goes
out, so it cannot say anything else than what is done.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from inspect import getdoc
from typing import Any, get_args

import msgspec

from ctrader_twisted import contract

#: What clients may send: the message's name, and the Struct that reads it.
INCOMING: dict[str, type[msgspec.Struct]] = {
    "connect": contract.Connect,
    "subscribe": contract.Subscribe,
    "unsubscribe": contract.Subscribe,
    "ping": contract.Nothing,
    "getSubscriptions": contract.Nothing,
}

#: The reply to each.
REPLIES = {
    "connect": "status",
    "subscribe": "subscribeResponse",
    "unsubscribe": "unsubscribeResponse",
    "ping": "pong",
    "getSubscriptions": "subscriptions",
}

_WORDS = get_args(contract.Word)
_SCHEMAS = "#/components/schemas/"
_MESSAGES = "#/components/messages/"
_CHANNEL = "#/channels/ticks"


def outgoing() -> dict[str, type[msgspec.Struct]]:
    """What we send: the message's name, and the Struct that writes it."""
    kinds: list[type[msgspec.Struct]] = [contract.TickMessage, *contract.Outgoing.__subclasses__()]
    return {str(kind.__struct_config__.tag): kind for kind in kinds}


def document() -> dict[str, Any]:
    """The document, as what JSON is made of."""
    sent = outgoing()
    names = [*(f"{name}Request" for name in INCOMING), *sent]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ctrader-stream: the tick stream",
            "version": version("ctrader-twisted"),
            "description": "Text JSON over WebSocket, one object a message; `type` decides. Unknown"
            " fields and unknown types are to be ignored. Times are milliseconds since the epoch.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "ticks": {
                "address": "/ws",
                "description": "Also `/`, when the request asks for a WebSocket.",
                "messages": {name: {"$ref": _MESSAGES + name} for name in names},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": _operations(list(sent)),
        "components": _components(sent),
    }


def _operations(sent: list[str]) -> dict[str, Any]:
    def message(name: str) -> dict[str, str]:
        return {"$ref": f"{_CHANNEL}/messages/{name}"}

    channel = {"$ref": _CHANNEL}
    asked = {
        name: {
            "action": "receive",
            "channel": channel,
            "messages": [message(f"{name}Request")],
            "reply": {
                "channel": channel,
                "messages": [message(reply), message("requestError")],
            },
        }
        for name, reply in REPLIES.items()
    }
    told = {"action": "send", "channel": channel, "messages": [message(name) for name in sent]}
    return {**asked, "tell": told}


def _components(sent: dict[str, type[msgspec.Struct]]) -> dict[str, Any]:
    kinds = [contract.Header, contract.Presented, *INCOMING.values(), *sent.values()]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS + "{name}")
    for schema in schemas.values():
        schema["description"] = _for_readers(schema.get("description", ""))
    messages = {
        f"{name}Request": {
            "name": name,
            "title": name,
            "summary": _summary(kind),
            "payload": {
                "allOf": [
                    {"$ref": f"{_SCHEMAS}Header"},
                    {"$ref": _SCHEMAS + kind.__name__},
                    {"properties": {"type": {"const": name}}},
                    *([{"$ref": f"{_SCHEMAS}Presented"}] if name == "connect" else []),
                ]
            },
        }
        for name, kind in INCOMING.items()
    }
    for name, kind in sent.items():
        messages[name] = {
            "name": name,
            "title": name,
            "summary": _summary(kind),
            "payload": {"$ref": _SCHEMAS + kind.__name__},
        }
    return {"messages": messages, "schemas": schemas}


def _summary(kind: type[msgspec.Struct]) -> str:
    return _for_readers((getdoc(kind) or "").split("\n\n", maxsplit=1)[0])


def _for_readers(docstring: str) -> str:
    """Our own docstring, with fields by the names that they have in JSON."""
    words = " ".join(docstring.split())
    return re.sub(r"`+(\w+)`+", lambda name: f"`{_camel(name[1])}`", words).replace("``", "`")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    # Statuses are words of their own, with their underscore.
    return name if name in _WORDS else first + "".join(map(str.title, others))


def encoded() -> bytes:
    """The document as it is served."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2)
