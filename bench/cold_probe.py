"""Measures one cold start in a fresh interpreter: INIT of a module, and its first reply.

`python -m bench.cold_probe <module>`, with the event on standard input. Excludes the start of the interpreter.
"""

import json
import sys
import time

event = json.load(sys.stdin)
modules_before = set(sys.modules)
began_s, began_cpu_s = time.perf_counter(), time.process_time()

entry = __import__(sys.argv[1], fromlist=["handler"])
init_s = time.perf_counter() - began_s
response = entry.handler(event, None)

took_s, used_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
modules = len(set(sys.modules) - modules_before)

with open("/proc/self/status") as file:  # noqa: PTH123 — avoids the import of pathlib
    peak_kib = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

print(
    json.dumps(
        {
            "status": response["statusCode"],
            "body_bytes": len(response["body"]),
            "init_ms": init_s * 1000,
            "reply_ms": took_s * 1000,
            "cpu_ms": used_s * 1000,
            "modules": modules,
            "rss_mib": peak_kib / 1024,
        }
    )
)
