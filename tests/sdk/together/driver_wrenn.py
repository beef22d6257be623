"""Does in Wrenn's words what a line of JSON asks for, and answers with one."""

import json
import sys

from wrenn import Capsule


def ask(verb: str, identifier: str, text: str) -> object:
    if verb == "create":
        return Capsule(wait=True).capsule_id.removeprefix("cl-")
    if verb == "list":
        return [capsule.id.removeprefix("cl-") for capsule in Capsule.list()]
    if verb == "state":
        return str(Capsule.get_info(identifier).status.value)
    if verb == "name":
        return identifier
    if verb == "run":
        return Capsule.connect(identifier).commands.run(text).stdout.strip()
    if verb == "pause":
        Capsule.pause(identifier, wait=True)
    elif verb == "resume":
        Capsule.resume(identifier, wait=True)
    else:
        Capsule.destroy(identifier, wait=True)
    return None


for line in sys.stdin:
    print(json.dumps(ask(*json.loads(line))), flush=True)
