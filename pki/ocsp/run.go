package ocsp

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sangate/sangate/pki/contain"
)

// Run looks certificates up until ctx ends, and returns when all looks ended. A
// panic while looking does not end it. A cache runs once.
func (c *Cache) Run(ctx context.Context) error {
	if c.begun.Swap(true) {
		return errors.New("ocsp: a cache runs once, and this one did")
	}
	defer close(c.ended)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() { contain.Loop(ctx, c.opts.Logger, "look certificates up by OCSP", c.work) })
	}
	wg.Wait()
	if c.ours {
		c.client.CloseIdleConnections()
	}
	return nil
}

func (c *Cache) work(ctx context.Context) {
	for ctx.Err() == nil {
		e, pause := c.next(c.opts.Now())
		if e != nil {
			c.look(ctx, e)
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// look asks about e once, keeps what came of it, and tells about it.
func (c *Cache) look(ctx context.Context, e *Entry) {
	var a *answer
	outcome := Failed
	err := contain.Do(c.opts.Logger, "ask an OCSP responder", func() (err error) {
		a, outcome, err = c.ask(ctx, e)
		return err
	})
	outcome, changed, again, err := c.keep(ctx, e, a, outcome, err)
	if err != nil && ctx.Err() != nil { // Run ends: that says nothing about the responder
		return
	}
	defer c.tell(news{changed: changed})
	c.report(ctx, e, outcome, err, changed, again)
	c.opts.OnAnswer(outcome, err)
}

// keep takes what came of a look, plans the next one and tells those who wait, even if
// the answer makes it panic. again reports whether the look before had failed, too.
func (c *Cache) keep(ctx context.Context, e *Entry, a *answer, outcome Outcome, err error) (_ Outcome, changed, again bool, _ error) {
	now := c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer e.finish()
	e.busy = false
	if err != nil && ctx.Err() != nil {
		return outcome, false, false, err
	}
	if err == nil {
		if err = contain.Do(c.opts.Logger, "keep an OCSP answer", func() (err error) {
			changed, err = e.take(a, now)
			return err
		}); err != nil {
			outcome = Refused
		}
	}
	again = e.failed > 0
	if err != nil {
		e.lament(err)
	}
	if err != nil || outcome == AnsweredUnknown {
		e.failed++
	} else {
		e.failed = 0
	}
	if e.held.Load() {
		c.schedule(e, now)
	}
	return outcome, changed, again, err
}

// ask gets an answer about e and checks it.
func (c *Cache) ask(ctx context.Context, e *Entry) (*answer, Outcome, error) {
	q := question{serial: e.serial, issuer: e.issuer}
	der, err := c.exchange(ctx, e.address, q)
	if err != nil {
		return nil, Failed, err
	}
	a, err := c.opts.read(der, q, c.opts.Now())
	switch {
	case errors.Is(err, errNoAnswer):
		return nil, Failed, err
	case err != nil:
		return nil, Refused, err
	}
	return a, a.outcome(), nil
}

// report logs a look: failures once in a row, and changes.
func (c *Cache) report(ctx context.Context, e *Entry, outcome Outcome, err error, changed, again bool) {
	level, message := slog.LevelDebug, "OCSP answer"
	switch {
	case err != nil:
		message = "no OCSP answer about a certificate; what was known stays until its end"
		if !again {
			level = slog.LevelWarn
		}
	case changed && outcome == AnsweredRevoked:
		level, message = slog.LevelWarn, "certificate revoked, says its OCSP responder"
	case changed:
		level, message = slog.LevelWarn, "certificate no longer revoked, says its OCSP responder"
	case outcome == AnsweredUnknown && !again:
		level, message = slog.LevelWarn, "OCSP responder does not know a certificate"
	}
	if !c.opts.Logger.Enabled(ctx, level) {
		return
	}
	s := e.state.Load()
	attrs := []slog.Attr{
		slog.String("serial", e.serial.Text(16)),
		slog.String("issuer", clip(e.issuer.Subject.String())),
		slog.String("responder", clip(e.address)),
		slog.String("outcome", string(outcome)),
	}
	if s.answered() {
		attrs = append(attrs, slog.Time("this_update", s.thisUpdate), slog.Time("next_update", s.until))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	c.opts.Logger.LogAttrs(ctx, level, message, attrs...)
}
