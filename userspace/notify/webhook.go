package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Webhook posts the report as JSON. With a secret, the header Weir-Signature
// is "sha256=" and the HMAC of the body in hexadecimal (RFC 2104).
type Webhook struct {
	URL    string
	Secret string
	Pause  time.Duration // before the second try; five times as long before the third
	client http.Client
}

const (
	webhookTries = 3
	webhookTime  = 10 * time.Second // of one try
)

// NewWebhook returns a Webhook. Redirections are not followed: what is told is
// for the one that was named.
func NewWebhook(address, secret string) *Webhook {
	return &Webhook{URL: address, Secret: secret, Pause: 2 * time.Second, client: http.Client{
		Timeout:       webhookTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Name implements Channel.
func (w *Webhook) Name() string { return "webhook" }

// Deliver implements Channel. An answer that says "later" is tried again.
func (w *Webhook) Deliver(ctx context.Context, r *Report) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	pause := w.Pause
	for try := 1; ; try++ {
		again, err := w.post(ctx, body)
		if err == nil || !again || try == webhookTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause *= 5
	}
}

func (w *Webhook) post(ctx context.Context, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "weir")
	if w.Secret != "" {
		mac := hmac.New(sha256.New, []byte(w.Secret))
		mac.Write(body)
		request.Header.Set("Weir-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	response, err := w.client.Do(request)
	if err != nil {
		if why := (*url.Error)(nil); errors.As(err, &why) {
			err = why.Err // without the address: many a webhook's is its secret
		}
		return true, err
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, 256)) // for the message alone
	if response.StatusCode/100 == 2 {
		return false, nil
	}
	again = response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests
	return again, fmt.Errorf("it answers %s: %s", response.Status, bytes.TrimSpace(said))
}
