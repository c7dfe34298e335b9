package peers

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// CrowdSec is CrowdSec set up to read logs once ("time machine"), with the
// parsers and scenarios for mail servers that its Debian package carries. Even
// so it wants its local API, here on a port of the loopback interface and with
// a database of its own; it is told nothing of the central one.
type CrowdSec struct {
	Binary string
	Config string
}

// NewCrowdSec sets CrowdSec up in a folder of its own. packages is the folder
// that `tests/setup.sh bench` names.
func NewCrowdSec(packages, folder string) (*CrowdSec, error) {
	hub := filepath.Join(packages, "usr/share/crowdsec/hub")
	api, err := freePort()
	if err != nil {
		return nil, err
	}
	if err := fillCrowdSec(folder, hub, filepath.Join(packages, "etc/crowdsec"), api); err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "config.yaml")
	enrol := exec.Command(filepath.Join(packages, "usr/bin/cscli"), "-c", config, "machines", "add", "bench",
		"--password", "bench", "--force", "-f", filepath.Join(folder, "credentials.yaml"), "-u", "http://"+api)
	if err := run(enrol, nil, io.Discard); err != nil {
		return nil, fmt.Errorf("cscli: %w", err)
	}
	return &CrowdSec{Binary: filepath.Join(packages, "usr/bin/crowdsec"), Config: config}, nil
}

// freePort returns an address of the loopback interface that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func fillCrowdSec(folder, hub, etc, api string) error {
	for _, name := range []string{"etc/parsers/s00-raw", "etc/parsers/s01-parse", "etc/parsers/s02-enrich", "etc/scenarios", "etc/postoverflows", "data"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o700); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{
		"etc/patterns":                                 etc + "/patterns",
		"etc/simulation.yaml":                          etc + "/simulation.yaml",
		"etc/profiles.yaml":                            etc + "/profiles.yaml",
		"etc/parsers/s00-raw/syslog-logs.yaml":         hub + "/parsers/s00-raw/crowdsecurity/syslog-logs.yaml",
		"etc/parsers/s01-parse/postfix-logs.yaml":      hub + "/parsers/s01-parse/crowdsecurity/postfix-logs.yaml",
		"etc/parsers/s01-parse/dovecot-logs.yaml":      hub + "/parsers/s01-parse/crowdsecurity/dovecot-logs.yaml",
		"etc/parsers/s01-parse/exim-logs.yaml":         hub + "/parsers/s01-parse/crowdsecurity/exim-logs.yaml",
		"etc/parsers/s02-enrich/dateparse-enrich.yaml": hub + "/parsers/s02-enrich/crowdsecurity/dateparse-enrich.yaml",
		"etc/scenarios/postfix-spam.yaml":              hub + "/scenarios/crowdsecurity/postfix-spam.yaml",
		"etc/scenarios/dovecot-spam.yaml":              hub + "/scenarios/crowdsecurity/dovecot-spam.yaml",
		"etc/scenarios/exim-bf.yaml":                   hub + "/scenarios/crowdsecurity/exim-bf.yaml",
		"etc/scenarios/exim-spam.yaml":                 hub + "/scenarios/crowdsecurity/exim-spam.yaml",
	} {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "credentials.yaml"), nil, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "config.yaml"), []byte(strings.NewReplacer("FOLDER", folder, "HUB", hub, "API", api).Replace(`
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
