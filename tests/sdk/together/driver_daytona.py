"""Does in Daytona's words what a line of JSON asks for, and answers with one."""

import json
import sys

from daytona import Daytona

daytona = Daytona()


def ask(verb: str, identifier: str, text: str) -> object:
    if verb == "create":
        return daytona.create().id
    if verb == "list":
        return [sandbox.id for sandbox in daytona.list()]
    sandbox = daytona.get(identifier)
    if verb == "run":
        return sandbox.process.exec(text).result.strip()
    if verb == "state":
        return str(sandbox.state.value)
    if verb == "name":
        return sandbox.name
    {"pause": sandbox.pause, "resume": sandbox.start, "destroy": lambda: sandbox.delete(wait=True)}[verb]()
    return None


for line in sys.stdin:
    print(json.dumps(ask(*json.loads(line))), flush=True)
