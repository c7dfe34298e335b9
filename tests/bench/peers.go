package main

import (
	"bufio"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	"weir/tests/peers"
)

// newSSHGuard is the parser of sshguard, a lexer and grammar compiled to C. It
// writes "SERVICE ADDRESS KIND WEIGHT" for each attack; 100 is SSH.
func newSSHGuard(o options) *contender {
	c := &contender{name: "sshguard's parser", cores: 1, stdin: true, args: []string{filepath.Join(o.peers, "usr/libexec/sshguard/sshg-parser")}}
	c.version, c.missing = peers.Version(o.peers, "sshguard")
	c.told = func(stdout io.Reader) (refusals, error) {
		return eachLine(stdout, func(line string, told refusals) {
			fields := strings.Fields(line)
			if len(fields) < 2 || fields[0] == "100" {
				return
			}
			if a, err := netip.ParseAddr(fields[1]); err == nil {
				told[a]++
			}
		})
	}
	return c
}

// newFail2ban is fail2ban-regex, which runs the same filter engine as the
// server, with one filter at a time: on a mail host each of these reads the
// whole log.
func newFail2ban(o options) (list []*contender) {
	version, missing := peers.Version(o.peers, "fail2ban")
	for _, filter := range []string{"postfix[mode=auth]", "dovecot", "exim"} {
		list = append(list, &contender{
			name: "fail2ban, filter " + filter, cores: 1, slow: true, version: version, missing: missing,
			env: []string{"PYTHONPATH=" + filepath.Join(o.peers, "usr/lib/python3/dist-packages"), "FILTER=" + filter},
			// The filter stands behind the log.
			args: []string{"sh", "-c", `exec python3 "$0" -c "$1" --usedns=no -e UTF-8 -o ip "$2" "$FILTER"`,
				filepath.Join(o.peers, "usr/bin/fail2ban-regex"), filepath.Join(o.peers, "etc/fail2ban")},
			told: func(stdout io.Reader) (refusals, error) {
				return eachLine(stdout, func(line string, told refusals) {
					if a, err := netip.ParseAddr(line); err == nil {
						told[a]++
					}
				})
			},
		})
	}
	return list
}

func eachLine(in io.Reader, read func(line string, told refusals)) (refusals, error) {
	told := refusals{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		read(lines.Text(), told)
	}
	return told, lines.Err()
}
