package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Client speaks to the agent behind a socket. Its errors are written for
// operators and wrap ErrNotRunning, ErrForbidden, ErrNotFound, ErrInvalid,
// ErrBusy or ErrProtocol where one of them applies.
type Client struct {
	socket  string
	version string
	http    http.Client
}

// silence is how long the agent may say nothing while it is asked. Its
// slowest step is to make a chunk of pins durable.
const silence = time.Minute

// NewClient returns a client for the agent at socket. version is that of the
// program, told to the agent. Nothing is connected yet.
func NewClient(socket, version string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		conn, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, err
		}
		return &impatientConn{Conn: conn, asked: make(chan struct{})}, nil
	}
	return &Client{socket: socket, version: version, http: http.Client{Transport: &http.Transport{
		DialContext:           dial,
		DisableCompression:    true,
		ExpectContinueTimeout: silence,
	}}}
}

// Close lets go of the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// impatientConn fails a read that waits for longer than silence. It reads
// nothing before something was asked: net/http takes the words of an agent
// that has no room for noise, if they come before its request has gone out.
type impatientConn struct {
	net.Conn
	asked chan struct{} // closed by the first Write, or by Close
	once  sync.Once
}

func (c *impatientConn) Write(b []byte) (int, error) {
	defer c.once.Do(func() { close(c.asked) })
	return c.Conn.Write(b)
}

func (c *impatientConn) Close() error {
	c.once.Do(func() { close(c.asked) })
	return c.Conn.Close()
}

func (c *impatientConn) Read(b []byte) (int, error) {
	<-c.asked
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Status tells how the agent is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Explain tells all that concerns target, a source or a user.
func (c *Client) Explain(ctx context.Context, target string) (*Explanation, error) {
	return ask[Explanation](ctx, c, http.MethodGet, "/v1/explanation", url.Values{"target": {target}})
}

// Release lifts the automatic decisions on target, a source or a user.
func (c *Client) Release(ctx context.Context, target, reason string) (*ReleaseResult, error) {
	return ask[ReleaseResult](ctx, c, http.MethodPost, "/v1/release", url.Values{"target": {target}, "reason": {reason}})
}

// ask sends a request without a body and reads its answer.
func ask[T any](ctx context.Context, c *Client, method, path string, query url.Values) (*T, error) {
	resp, err := c.do(ctx, method, path, query, nil)
	if err != nil {
		return nil, err
	}
	defer closeBody(resp)
	answer := new(T)
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return nil, c.explain(err)
	}
	return answer, nil
}

// Decisions yields the decisions that f selects, as the agent sends them. An
// error ends it.
func (c *Client) Decisions(ctx context.Context, f Filter) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for line, err := range c.DecisionLines(ctx, f) {
			var row Row
			if err == nil {
				if err = json.Unmarshal(line, &row); err != nil {
					err = c.explain(err)
				}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// maxRow bounds a line of the decisions stream. Reasons and names are far
// shorter.
const maxRow = 64 << 10

// DecisionLines is Decisions for those who pass them on: each is one Row in
// JSON, without its line's end, and valid until the next.
func (c *Client) DecisionLines(ctx context.Context, f Filter) iter.Seq2[[]byte, error] {
	return c.lines(ctx, "/v1/decisions", f.query())
}

// lines yields the lines of a stream, as DecisionLines does.
func (c *Client) lines(ctx context.Context, path string, query url.Values) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx) // a caller who stops early need not read the rest
		defer cancel()
		resp, err := c.do(ctx, http.MethodGet, path, query, nil)
		if err != nil {
			yield(nil, err)
			return
		}
		defer closeBody(resp)
		for in := bufio.NewReaderSize(resp.Body, maxRow); ; {
			line, err := in.ReadSlice('\n')
			switch {
			case errors.Is(err, io.EOF) && len(line) == 0:
				return
			case err != nil: // or an end in the middle of a line
				err = c.explain(err)
			case bytes.HasPrefix(line, []byte(lastWordsBegin)):
				err = c.lastWords(line)
			}
			if !yield(bytes.TrimSuffix(line, []byte("\n")), err) || err != nil {
				return
			}
		}
	}
}

// lastWords returns the error that a line of a stream tells of.
func (c *Client) lastWords(line []byte) error {
	var last lastWords
	if err := json.Unmarshal(line, &last); err != nil {
		return c.explain(err)
	}
	return last.Error
}

// Pin makes every prefix of list, one "PREFIX [# comment]" a line, stand
// under terms. progress is told how many stand. An error in the list names
// its line; what was pinned before it stays, as Progress.Done tells.
func (c *Client) Pin(ctx context.Context, terms Terms, list io.Reader, progress func(done int)) (Progress, error) {
	first, err := json.Marshal(terms)
	if err != nil {
		return Progress{}, fmt.Errorf("write terms: %w", err)
	}
	return c.bulk(ctx, "/v1/pins", nil, io.MultiReader(strings.NewReader(string(first)+"\n"), list), progress)
}

// Unpin lifts the pin of every prefix of list, written as for Pin.
func (c *Client) Unpin(ctx context.Context, list io.Reader, reason string, progress func(done int)) (Progress, error) {
	return c.bulk(ctx, "/v1/unpins", url.Values{"reason": {reason}}, list, progress)
}

func (c *Client) bulk(ctx context.Context, path string, query url.Values, body io.Reader, progress func(done int)) (Progress, error) {
	var last Progress
	resp, err := c.do(ctx, http.MethodPost, path, query, body)
	if err != nil {
		return last, err
	}
	defer closeBody(resp)
	for d := json.NewDecoder(resp.Body); !last.Final; {
		var p Progress
		if err := d.Decode(&p); err != nil {
			return last, c.explain(err)
		}
		last = p
		progress(p.Done + p.Missing)
	}
	if last.Error != nil {
		return last, last.Error
	}
	return last, nil
}

// insist is how long, and how often, a client that is turned away because
// others are served comes again.
const (
	insist      = 5 * time.Second
	insistEvery = 20 * time.Millisecond
)

// do sends a request and returns an answer that is a success. Where there was
// no room for it, nothing was done, and it is tried again; so is what changes
// nothing where the agent made room for others.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	for begun := time.Now(); ; {
		resp, err := c.once(ctx, method, path, query, body)
		again := errors.Is(err, ErrBusy) || errors.Is(err, errUnasked) || errors.Is(err, errEnded) && method == http.MethodGet
		if !again || body != nil || time.Since(begun) > insist {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(insistEvery):
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "weir", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set(headerProtocol, Protocol)
	req.Header.Set(headerVersion, c.version)
	if sudoer := os.Getenv("SUDO_USER"); sudoer != "" {
		req.Header.Set(headerSudoUser, sudoer)
	}
	if body != nil {
		req.Header.Set("Expect", "100-continue") // a refusal comes before a million lines are sent
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if err := c.check(resp); err != nil {
		closeBody(resp)
		return nil, err
	}
	return resp, nil
}

// check returns the error that resp tells of.
func (c *Client) check(resp *http.Response) error {
	spoken := resp.Header.Get(headerProtocol)
	if spoken == "" {
		return &sayError{fmt.Sprintf("what listens at %s is not weir: check control_socket", c.socket), ErrProtocol}
	}
	if resp.StatusCode == http.StatusOK && spoken == Protocol {
		return nil
	}
	var p Problem
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p); err == nil && p.Message != "" {
		return &p
	}
	return &sayError{fmt.Sprintf("the agent is weir %s and speaks control protocol %s, this command is weir %s and speaks %s: use the command of the agent's version, or restart the agent (systemctl restart weir)",
		orUnknown(resp.Header.Get(headerVersion)), spoken, orUnknown(c.version), Protocol), ErrProtocol}
}

// closeBody ends resp; what was to be read was read.
func closeBody(resp *http.Response) { _ = resp.Body.Close() }

// Either the agent stops, or it made room for others: errEnded after it was
// asked perhaps, errUnasked before.
var (
	errEnded   = fmt.Errorf("%w any more, or serves too many clients", ErrNotRunning)
	errUnasked = fmt.Errorf("%w, and nothing was done", errEnded)
)

// explain says in the operator's words what kept c from the agent.
func (c *Client) explain(err error) error {
	say := func(is error, format string, args ...any) error {
		return &sayError{fmt.Sprintf(format, args...), is}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, fs.ErrNotExist):
		return say(ErrNotRunning, "weir is not running, or control_socket differs (%s is not there): start it with systemctl start weir, or name its configuration with --config", c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return say(ErrNotRunning, "weir is not running (nobody listens at %s): start it with systemctl start weir", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return say(ErrForbidden, "%s is not yours to use: run the command as root, or join group weir (usermod -aG weir USER) and log in again", c.socket)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EAGAIN):
		return say(ErrNotRunning, "weir does not answer at %s: look at journalctl -u weir, restart it with systemctl restart weir", c.socket)
	case errors.Is(err, syscall.EPIPE):
		return say(errUnasked, "weir ended the connection at %s before it was asked: it serves as many clients as it may already; try again in a moment", c.socket)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return say(errEnded, "weir ended the connection at %s: it was stopped, or serves too many clients; try again", c.socket)
	case errors.Is(err, syscall.ENOTSOCK):
		return say(ErrNotRunning, "%s is not a socket: check control_socket", c.socket)
	}
	return fmt.Errorf("ask weir at %s: %w", c.socket, err)
}
