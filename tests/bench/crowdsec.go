package main

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"weir/tests/peers"
)

func newCrowdSec(folder string, o options) (*contender, error) {
	c := &contender{name: "CrowdSec", cores: 1, slow: true}
	if c.version, c.missing = peers.Version(o.peers, "crowdsec"); c.missing != "" {
		return c, nil
	}
	folder = filepath.Join(folder, "crowdsec")
	peer, err := peers.NewCrowdSec(o.peers, folder)
	if err != nil {
		return nil, err
	}
	dump := filepath.Join(folder, "dump")
	c.args = []string{"sh", "-c", `exec "$0" -c "$1" -type syslog -dsn "file://$2"`, peer.Binary, peer.Config}
	c.tell = []string{"sh", "-c", `"$0" -c "$1" -dump-data "$2" -type syslog -dsn "file://$3" >&2 && exec cat "$2/bucketpour-dump.yaml"`, peer.Binary, peer.Config, dump}
	c.told = crowdsecTold
	return c, os.Mkdir(dump, 0o700)
}

// crowdsecTold reads which events were given to which scenario. Only those
// that its parsers call attempts are counted: the rest are refused recipients.
func crowdsecTold(stdout io.Reader) (refusals, error) {
	told := refusals{}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	scenario, attempt := "", false
	for lines.Scan() {
		line := lines.Text()
		if line != "" && line[0] != ' ' && line[0] != '-' {
			scenario = strings.TrimSuffix(line, ":")
			continue
		}
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "- "):
			attempt = scenario == "crowdsecurity/dovecot-spam" || scenario == "crowdsecurity/exim-bf"
		case strings.HasPrefix(text, "log_type_enh: spam-attempt"):
			attempt = true
		case attempt && scenario != "OK" && strings.HasPrefix(text, "source_ip: "):
			if a, err := netip.ParseAddr(strings.Trim(text[len("source_ip: "):], `"'`)); err == nil {
				told[a]++
			}
			attempt = false
		}
	}
	return told, lines.Err()
}
