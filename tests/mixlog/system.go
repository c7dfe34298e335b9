package mixlog

// system writes lines of programs that serve no mail: they share a log
// server's file with those that do.
func (g *Generator) system(s start) {
	r, h, at := &g.random, s.host, s.at
	switch n := r.below(100); {
	case n < 25:
		pid := h.once()
		g.line(at, h, "CRON", pid).str("pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)")
		g.line(at+millisecond, h, "CRON", pid+1).str("(root) CMD (   test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.hourly; })")
		g.line(at+g.think(10*millisecond, second), h, "CRON", pid).str("pam_unix(cron:session): session closed for user root")
	case n < 45:
		g.line(at, h, "systemd", 1).str("Starting phpsessionclean.service - Clean php session files...")
		at += g.think(10*millisecond, second)
		g.line(at, h, "systemd", 1).str("phpsessionclean.service: Deactivated successfully.")
		g.line(at+100, h, "systemd", 1).str("Finished phpsessionclean.service - Clean php session files.")
	case n < 70:
		bot, pid := pick(r, g.people.bots), h.once()
		g.line(at, h, "sshd", pid).str("Invalid user ").str(pick(r, guessedNames)).str(" from ").str(bot.text).str(" port ").num(r.between(1024, 65535))
		at += g.think(millisecond, 2*second)
		g.line(at, h, "sshd", pid).str("Received disconnect from ").str(bot.text).str(" port ").num(r.between(1024, 65535)).str(":11: Bye Bye [preauth]")
	case n < 85:
		bot := pick(r, g.people.bots)
		g.line(at, h, "kernel", 0).str("[").num(int(at / second)).str(".123456] [UFW BLOCK] IN=eth0 OUT= MAC=00:00:5e:00:53:01 SRC=").str(bot.text).
			str(" DST=10.0.0.1 LEN=40 TOS=0x00 PREC=0x00 TTL=241 ID=").num(r.below(65536)).str(" PROTO=TCP SPT=").num(r.between(1024, 65535)).
			str(" DPT=").num(r.between(1, 65535)).str(" WINDOW=1024 RES=0x00 SYN URGP=0")
	case n < 90:
		g.line(at, h, "freshclam", h.own.cron).str("ClamAV update process started at Fri Nov 20 07:00:00 2026")
		g.line(at+second, h, "freshclam", h.own.cron).str("Database updated from database.clamav.example (5 signatures)")
	default:
		bot := pick(r, g.people.bots)
		const program = "postfix/anvil"
		g.line(at, h, program, h.own.anvil).str("statistics: max connection rate ").num(r.between(1, 9)).str("/60s for (smtp:").str(bot.text).str(") at Nov 20 07:00:00")
		g.line(at+50, h, program, h.own.anvil).str("statistics: max connection count ").num(r.between(1, 9)).str(" for (smtp:").str(bot.text).str(") at Nov 20 07:00:00")
		g.line(at+100, h, program, h.own.anvil).str("statistics: max cache size ").num(r.between(1, 90)).str(" at Nov 20 07:00:00")
	}
}
