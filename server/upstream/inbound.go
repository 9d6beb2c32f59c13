package upstream

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/turns"
)

// Bounds on what an upstream sends beside its answers: the SDK queues notifications, and starts a goroutine for each
// request, without a limit.
const (
	maxUnasked    = 64 << 10 // bytes of a request or notification; larger ones are dropped
	unaskedPerSec = 1000     // of both; further ones are read later
	unaskedPiece  = 4 << 10  // bytes that count as one
	askedPerSec   = 1        // requests, such as ping; further ones are dropped
	askedBurst    = 10
)

// inbound bounds the requests and notifications that come in one session. Responses pass.
type inbound struct {
	all, requests *rate.Limiter
	ended         <-chan struct{} // the session's end
	wake          func()          // has the session looked at
	silences      atomic.Int64
}

func newInbound(ended <-chan struct{}) *inbound {
	all := rate.NewLimiter(unaskedPerSec, unaskedPerSec)
	return &inbound{all: all, requests: rate.NewLimiter(askedPerSec, askedBurst), ended: ended, wake: func() {}}
}

// passes reports whether the SDK may have a message. It waits while there are too many. It takes more messages for
// requests than the SDK does (names of members in any case), never fewer.
func (i *inbound) passes(message []byte) bool {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method json.RawMessage `json:"method"`
	}
	if json.Unmarshal(message, &m) != nil || m.Method == nil {
		return true // a response, or what the SDK ends the session for
	}
	return i.pause(min(1+len(message)/unaskedPiece, unaskedPerSec)) && len(message) <= maxUnasked &&
		(m.ID == nil || i.requests.Allow())
}

// pause waits while there are too many messages; it reports false if the session has ended meanwhile.
func (i *inbound) pause(cost int) bool {
	if wait := i.all.ReserveN(time.Now(), cost).Delay(); wait > 0 {
		select {
		case <-time.After(wait):
		case <-i.ended:
			return false
		}
	}
	return true
}

// silentEvents is how many events without data, such as comments, count as one message.
const silentEvents = 32

// silent counts an event without data.
func (i *inbound) silent() {
	if i.silences.Add(1)%silentEvents == 0 {
		i.pause(1)
	}
}

// responseTime is how long the head of an answer may take if nobody waits for it: the SDK sends responses to requests
// of the upstream, and notifications, without a limit.
const responseTime = 10 * time.Second

// begun sends a request and returns its response, the head of which takes at most responseTime if r has no deadline.
func begun(base http.RoundTripper, r *http.Request) (*http.Response, error) {
	if _, limited := r.Context().Deadline(); limited || r.Method != http.MethodPost {
		return base.RoundTrip(r)
	}
	ctx, cancel := context.WithCancel(r.Context())
	timer := time.AfterFunc(responseTime, cancel)
	res, err := base.RoundTrip(r.WithContext(ctx))
	timer.Stop()
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = &canceling{res.Body, cancel}
	return res, nil
}

// canceling cancels a request when the body of its response is closed.
type canceling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *canceling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// light counts what a message takes when the SDK decodes it, and refuses what takes more than one message may.
func light(message []byte, taken *intake.Answer) error {
	if len(message) <= intake.Free {
		return nil
	}
	weight := intake.Weight(message)
	if weight > intake.MaxWeight {
		return fmt.Errorf("a message of %d bytes that takes about %d when it is decoded; at most %d may",
			len(message), weight, intake.MaxWeight)
	}
	if err := taken.Pass(sdkCopies * int64(len(message))); err != nil {
		return err
	}
	return taken.Grow(weight)
}

// sdkCopies is how many times the size of a message the MCP SDK takes to decode it, beside its weight: it copies the
// message at each level of decoding, into rooms that grow by doubling.
const sdkCopies = 3

// events reads an event stream and drops the data of events that inbound does not pass. Everything else stays as it
// is. It takes lines and fields apart as the SDK does.
type events struct {
	source io.ReadCloser
	in     *bufio.Reader
	passes func(message []byte) bool
	silent func() // called for an event without data; may be nil
	taken  *intake.Answer
	beside bool // it is of no call, so no answer comes in it
	out    []byte
	err    error
}

func (e *events) Read(p []byte) (int, error) {
	for len(e.out) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		e.out, e.err = e.next()
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	return n, nil
}

func (e *events) Close() error { return e.source.Close() }

// next returns one event with the blank line that ends it, without its data if that does not pass.
func (e *events) next() (event []byte, err error) {
	event, message, err := e.read()
	if message == nil || e.passes(message) && !(e.beside && len(message) > maxUnasked) {
		return event, cmp.Or(e.weighed(message), err)
	}
	var rest []byte
	for line := range bytes.Lines(event) {
		if !bytes.HasPrefix(line, []byte("data:")) {
			rest = append(rest, line...)
		}
	}
	return rest, err
}

// read returns one event with the blank line that ends it, and its data; nil if it has none.
func (e *events) read() (event, message []byte, err error) {
	for line := 0; err == nil; line = len(event) {
		for {
			var part []byte
			part, err = e.in.ReadSlice('\n')
			if event = append(event, part...); len(event) > maxAnswer {
				return nil, nil, errors.New("an event that is too long")
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		text := bytes.TrimRight(event[line:], "\r\n")
		if len(text) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(text, []byte("data:")); ok {
			if message == nil {
				message = []byte{}
			} else {
				message = append(message, '\n')
			}
			message = append(message, bytes.TrimSpace(value)...)
		}
	}
	if message == nil && e.silent != nil {
		e.silent()
	}
	return event, message, err
}

// weighed has a large message counted, and waits for the turn of its request. The stream is one call's, or nobody's.
func (e *events) weighed(message []byte) error {
	if err := light(message, e.taken); err != nil || len(message) <= turns.Large {
		return err
	}
	return e.taken.Turn(len(message))
}
