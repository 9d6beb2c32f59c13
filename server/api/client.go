package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
)

// A Client is an admin's. Its fields must be set.
type Client struct {
	Gate  string      // the gate's URL, https
	TLS   *tls.Config // with the admin's certificate and the gate's CA
	Token string      // the admin's key
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// AddRevocation has the gate refuse what the entry names; it is in force when
// this returns. The error carries what the gate said.
func (c *Client) AddRevocation(ctx context.Context, entry, comment string) (err error) {
	u, err := url.Parse(c.Gate)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no https URL of a gate", c.Gate)
	}
	body, err := jsonv2.Marshal(map[string]string{"entry": entry, "comment": comment})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.JoinPath("api", "revocations").String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: c.TLS, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	if res.StatusCode == http.StatusCreated || res.StatusCode == http.StatusOK {
		return nil
	}
	var said struct{ Message, RequestID string }
	_ = json.Unmarshal(data, &said) // what is no JSON says nothing more than the status
	return fmt.Errorf("the gate at %s did not take %s: %s: %q (request id %q)", u.Host, entry, res.Status, said.Message, said.RequestID)
}
