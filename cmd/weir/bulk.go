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

// bulk has list sent by send, with a bar on a terminal. When it fails, it
// tells how far it came.
func (a *app) bulk(cmd *cobra.Command, list *control.List, verb string,
	send func(c *control.Client, progress func(done int)) (control.Progress, error)) (control.Progress, error) {
	client, err := a.client(cmd)
	if err != nil {
		return control.Progress{}, err
	}
	defer client.Close()
	progress := func(int) {}
	if list.Count() >= showFrom && a.isTerminal(a.stderr) {
		bar := a.bar(int64(list.Count()), verb, progressbar.OptionShowCount())
		progress = func(done int) { _ = bar.Set(done) } // a bar that cannot be drawn is no reason to stop
	}
	done, err := send(client, progress)
	if err != nil && done.Done > 0 {
		err = fmt.Errorf("%w\n%s of %s were done before and stand", err, count(done.Done), count(list.Count()))
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
