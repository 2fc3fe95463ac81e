"""Asks Claude's Messages API with Python's standard library alone: body on stdin, answer to stdout."""

import os
import sys
import urllib.request

request = urllib.request.Request(
    os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
    data=sys.stdin.buffer.read(),
    headers={"content-type": "application/json", "x-api-key": "placeholder"},
)
with urllib.request.urlopen(request) as answer:
    for line in answer:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
