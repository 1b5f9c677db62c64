"""A handler with extensions inside its process; it tells what they were answered."""

import json
import threading
from typing import Any

from calls import EVENT_NEXT, NEXT, REGISTER, call

answers: list[Any] = []
events: list[Any] = []
UNKNOWN = "5b8b5b3e-9c5b-4c5a-8b3e-9c5b4c5a8b3e"


def take_events(identifier: str) -> None:
    while True:
        events.append(call("GET", EVENT_NEXT, None, {"Lambda-Extension-Identifier": identifier}))


def register(body: str, name: str | None = None) -> None:
    answer = call("POST", REGISTER, body, {"Lambda-Extension-Name": name} if name else {})
    answers.append([body, name, answer])
    if identifier := answer[1].get("lambda-extension-identifier"):
        threading.Thread(target=take_events, args=(identifier,), daemon=True).start()


def ask(method: str, path: str, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answers.append([method, path, call(method, path, None, named)])


register('{"events": []}')
register("no JSON", "a")
register("[]", "b")
register("", "c")
register('{"events": "INVOKE"}', "d")
register('{"events": ["INVOKE", "SHUTDOWN"]}', "e")
register('{"events": ["OTHER"]}', "f")
register("{}", "silent")
register('{"events": []}', "silent")
register('{"events": ["INVOKE"]}', "listens")
ask("GET", EVENT_NEXT)
ask("GET", EVENT_NEXT, Lambda_Extension_Identifier="no UUID")
ask("GET", EVENT_NEXT, Lambda_Extension_Identifier=UNKNOWN)
for place in ("init", "exit"):
    ask("POST", f"/2020-01-01/extension/{place}/error")
    ask("POST", f"/2020-01-01/extension/{place}/error", Lambda_Extension_Identifier=UNKNOWN)
ask("POST", NEXT)
ask("GET", REGISTER)
ask("GET", "/2018-06-01/nowhere")


def handler(event: Any, context: Any) -> Any:
    register('{"events": []}', "late")
    return json.loads(json.dumps([answers, events]))
