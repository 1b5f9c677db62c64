"""A runtime of its own: it takes events as soon as it is imported, and tells all that it was answered."""

import json

from calls import NEXT, call

said = []
while True:
    event = call("GET", NEXT)
    said.append(["next", event])
    invocation = f"/2018-06-01/runtime/invocation/{event[1]['lambda-runtime-aws-request-id']}"
    if event[2] == '"report"':
        call("POST", f"{invocation}/response", json.dumps(said))
    elif event[2] == '"error"':
        document = json.dumps({"errorType": "Mine", "errorMessage": "told", "extra": 1})
        headers = {"Lambda-Runtime-Function-Error-Type": "Function.Mine"}
        said.append(["error", call("POST", f"{invocation}/error", document, headers)])
    else:
        said.append(["no such id", call("POST", "/2018-06-01/runtime/invocation/x/response", "1")])
        said.append(["no such id", call("POST", "/2018-06-01/runtime/invocation/x/error", "{}")])
        said.append(["response", call("POST", f"{invocation}/response", event[2])])
        said.append(["a second response", call("POST", f"{invocation}/response", event[2])])
