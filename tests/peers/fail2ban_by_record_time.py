"""Has fail2ban judge a log by the log's own time.

usage: fail2ban_by_record_time.py ETC JAIL... <LOG >DECISIONS

fail2ban's server reads live logs by the clock. Here its own parts do what
they do there: its configuration reader, filters, failure counters and ban
list, as configured in ETC, while its clock (MyTime, which its tests set the
same way) shows the time of the line at hand. Each ban, new or prolonged, is written as
`weir replay --output jsonl` writes a decision. Actions are never run.
"""
import json
import logging
import sys
from datetime import datetime, timezone

from fail2ban.client.jailreader import JailReader
from fail2ban.server.banmanager import BanManager
from fail2ban.server.mytime import MyTime
from fail2ban.server.server import Server
from fail2ban.server.ticket import BanTicket

LEFT_OUT = {"addaction", "action", "addlogpath", "addjournalmatch"}


def stamp(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def jails(etc, names):
    server = Server(daemon=False)
    for name in names:
        reader = JailReader(name, basedir=etc, force_enable=True)
        if not reader.read() or not reader.getOptions():
            sys.exit("cannot read jail " + name)
        for command in reader.convert(allow_no_files=True):
            if command[0] == "add":
                command = ["add", name, "polling"]
            if command[0] == "start" or len(command) > 2 and command[2] in LEFT_OUT:
                continue
            status, answer = server._Server__transm.proceed(command)
            if status != 0:
                sys.exit("%s: %s" % (command, answer))
        jail = server._Server__jails[name]
        jail.filter.setUseDns("no")
        bans = BanManager()
        bans.setBanTime(jail.actions.getBanTime())
        yield jail, bans


def main():
    logging.getLogger("fail2ban").setLevel(logging.CRITICAL)
    active = list(jails(sys.argv[1], sys.argv[2:]))
    for line in sys.stdin:
        now = datetime.fromisoformat(line[:26]).replace(tzinfo=timezone.utc).timestamp()
        MyTime.setTime(now)
        for jail, bans in active:
            jail.filter.processLineAndAdd(line.rstrip("\n"))
            while jail.hasFailTickets:
                ticket, reason = BanTicket.wrap(jail.getFailTicket()), {}
                bans.unBanList(now)
                if not bans.addBanTicket(ticket, reason):
                    if "prolong" not in reason:
                        continue
                    ticket = reason["ticket"]  # the ban that stands goes on
                address = str(ticket.getIP())
                print(json.dumps({
                    "time": stamp(now), "action": "drop", "rule": jail.name,
                    "source": "%s/%d" % (address, 128 if ":" in address else 32),
                    "until": stamp(ticket.getEndOfBanTime(bans.getBanTime())),
                }))


main()
