package agent

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notifier tells systemd how the agent is (sd_notify(3)); without systemd it
// does nothing.
type notifier struct {
	log      *slog.Logger
	watchdog time.Duration // between two signs of life, 0: none are wanted
	beat     time.Time     // of the last one
	status   string
}

func newNotifier(log *slog.Logger) *notifier {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog's interval cannot be read", "error", err)
	}
	return &notifier{log: log, watchdog: every / 2}
}

func (n *notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("systemd cannot be told", "error", err)
	}
}

func (n *notifier) ready()    { n.send(daemon.SdNotifyReady) }
func (n *notifier) stopping() { n.send(daemon.SdNotifyStopping) }

// reloading needs the time, so that systemd can tell it from an older one
// (systemd.service(5), Type=notify-reload).
func (n *notifier) reloading() {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		n.log.Warn("systemd cannot be told", "error", err)
		return
	}
	n.send(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, ts.Nano()/1000))
}

// alive is called in turns of the core, and by nothing else: while that hangs
// there are no signs of life.
func (n *notifier) alive(now time.Time, status string) {
	if status != n.status {
		n.status = status
		n.send("STATUS=" + status)
	}
	if n.watchdog > 0 && now.Sub(n.beat).Abs() >= n.watchdog-tickTime {
		n.beat = now
		n.send(daemon.SdNotifyWatchdog)
	}
}
