package main

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"weir/userspace/control"
)

// showFrom is from how many prefixes on progress is worth showing.
const showFrom = control.MaxChunk

// bulk has list sent by send, with a bar on a terminal. It tells how far it
// came when it fails.
func (a *app) bulk(_ *cobra.Command, list *prefixList, verb string, send func(progress func(done int)) (control.Progress, error)) (control.Progress, error) {
	progress := func(int) {}
	if list.count >= showFrom && a.isTerminal(a.stderr) {
		bar := a.bar(int64(list.count), verb, progressbar.OptionShowIts(), progressbar.OptionSetItsString("prefixes"))
		progress = func(done int) { _ = bar.Set(done) } // a bar that cannot be drawn is no reason to stop
	}
	done, err := send(progress)
	if err != nil && done.Done > 0 {
		err = fmt.Errorf("%w\n%s of %s were done before and stand", err, count(done.Done), count(list.count))
	}
	return done, err
}

// bar draws progress on the error stream and takes it away when it is done.
func (a *app) bar(total int64, what string, options ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, append(options,
		progressbar.OptionSetWriter(a.stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)...)
}
