package main

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// newCrowdSec is CrowdSec reading a log once ("time machine"), with the
// parsers and scenarios for mail servers that its Debian package carries. Even
// so it wants its local API, here on a port of the loopback interface and with
// a database of its own; it is told nothing of the central one.
func newCrowdSec(folder string, o options) (*contender, error) {
	c := &contender{name: "CrowdSec", cores: 1, slow: true}
	if c.version, c.missing = packageVersion(o, "crowdsec"); c.missing != "" {
		return c, nil
	}
	folder = filepath.Join(folder, "crowdsec")
	hub := filepath.Join(o.peers, "usr/share/crowdsec/hub")
	if err := fillCrowdSec(folder, hub, filepath.Join(o.peers, "etc/crowdsec")); err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "config.yaml")
	enrol := exec.Command(filepath.Join(o.peers, "usr/bin/cscli"), "-c", config, "machines", "add", "bench",
		"--password", "bench", "--force", "-f", filepath.Join(folder, "credentials.yaml"), "-u", "http://"+crowdsecAPI)
	if out, err := enrol.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cscli: %w: %s", err, tail(string(out)))
	}
	binary, dump := filepath.Join(o.peers, "usr/bin/crowdsec"), filepath.Join(folder, "dump")
	c.args = []string{"sh", "-c", `exec "$0" -c "$1" -type syslog -dsn "file://$2"`, binary, config}
	c.tell = []string{"sh", "-c", `"$0" -c "$1" -dump-data "$2" -type syslog -dsn "file://$3" >&2 && exec cat "$2/bucketpour-dump.yaml"`, binary, config, dump}
	c.told = crowdsecTold
	return c, os.Mkdir(dump, 0o700)
}

const crowdsecAPI = "127.0.0.1:18080"

func fillCrowdSec(folder, hub, etc string) error {
	for _, name := range []string{"etc/parsers/s00-raw", "etc/parsers/s01-parse", "etc/parsers/s02-enrich", "etc/scenarios", "etc/postoverflows", "data"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o700); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{
		"etc/patterns":                            etc + "/patterns",
		"etc/simulation.yaml":                     etc + "/simulation.yaml",
		"etc/profiles.yaml":                       etc + "/profiles.yaml",
		"etc/parsers/s00-raw/syslog-logs.yaml":    hub + "/parsers/s00-raw/crowdsecurity/syslog-logs.yaml",
		"etc/parsers/s01-parse/postfix-logs.yaml": hub + "/parsers/s01-parse/crowdsecurity/postfix-logs.yaml",
		"etc/parsers/s01-parse/dovecot-logs.yaml": hub + "/parsers/s01-parse/crowdsecurity/dovecot-logs.yaml",
		"etc/parsers/s01-parse/exim-logs.yaml":    hub + "/parsers/s01-parse/crowdsecurity/exim-logs.yaml",
		"etc/parsers/s02-enrich/dateparse.yaml":   hub + "/parsers/s02-enrich/crowdsecurity/dateparse-enrich.yaml",
		"etc/scenarios/postfix-spam.yaml":         hub + "/scenarios/crowdsecurity/postfix-spam.yaml",
		"etc/scenarios/dovecot-spam.yaml":         hub + "/scenarios/crowdsecurity/dovecot-spam.yaml",
		"etc/scenarios/exim-bf.yaml":              hub + "/scenarios/crowdsecurity/exim-bf.yaml",
		"etc/scenarios/exim-spam.yaml":            hub + "/scenarios/crowdsecurity/exim-spam.yaml",
	} {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "credentials.yaml"), nil, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "config.yaml"), []byte(strings.NewReplacer("FOLDER", folder, "HUB", hub, "API", crowdsecAPI).Replace(`
common: {daemonize: false, log_media: stdout, log_level: warning, working_dir: .}
config_paths:
  config_dir: FOLDER/etc
  data_dir: FOLDER/data
  simulation_path: FOLDER/etc/simulation.yaml
  hub_dir: HUB
  index_path: HUB/.index.json
  notification_dir: FOLDER/etc
  plugin_dir: FOLDER/etc
crowdsec_service: {parser_routines: 1}
cscli: {output: human}
prometheus: {enabled: false}
db_config: {log_level: error, type: sqlite, db_path: FOLDER/data/crowdsec.db, use_wal: true}
api:
  client: {credentials_path: FOLDER/credentials.yaml}
  server: {log_level: error, listen_uri: "API", profiles_path: FOLDER/etc/profiles.yaml}
`)), 0o600)
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
