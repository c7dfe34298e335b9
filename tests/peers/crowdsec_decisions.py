"""Writes what CrowdSec has decided as `weir replay --output jsonl` would.

usage: crowdsec_decisions.py DATABASE >DECISIONS

A decision's time is that of the event which overflowed the bucket; it ends
when CrowdSec says that it does. CrowdSec has both by the log's own time.
"""
import json
import sqlite3
import sys

QUERY = """
    select a.stopped_at, d.until, d.scenario, d.scope, d.value
    from decisions d join alerts a on a.id = d.alert_decisions
    order by a.stopped_at, d.id"""


def stamp(text):
    return text.replace(" ", "T", 1)


for at, until, scenario, scope, value in sqlite3.connect(sys.argv[1]).execute(QUERY):
    if scope == "Ip":
        value += "/128" if ":" in value else "/32"
    print(json.dumps({"time": stamp(at), "action": "drop", "rule": scenario, "source": value, "until": stamp(until)}))
