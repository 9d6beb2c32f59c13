package material

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sangate/sangate/pki/contain"
)

// firstCertificate bounds the wait for the first certificate of what a changed
// configuration names. The start waits as long as it takes.
const firstCertificate = 30 * time.Second

// Run keeps fresh what the configuration in force wants, and calls changed,
// one call at a time, when there is something new for Reload. It returns when
// ctx has ended and all it started, too.
func (k *Keeper) Run(ctx context.Context, changed func()) {
	var origin, lists, responders job
	defer func() {
		for _, j := range []*job{&origin, &lists, &responders} {
			j.end()
		}
	}()
	for ctx.Err() == nil {
		cur := k.parts()
		origin.become(ctx, k.opts.Logger, cur.origin, cur.origin.run, k.failed("the certificate is not kept alive"))
		if cur.lists == nil {
			lists.end()
		} else {
			lists.become(ctx, k.opts.Logger, cur.lists, cur.lists.Run, k.failed("the revocation lists are not kept fresh"))
		}
		if cur.ocsp == nil {
			responders.end()
		} else {
			responders.become(ctx, k.opts.Logger, cur.ocsp, cur.ocsp.Run, k.failed("OCSP responders are not asked"))
		}
		select {
		case <-ctx.Done():
		case <-k.refit:
		case <-k.news:
			changed()
		case resume := <-k.yield:
			origin.end()
			select {
			case <-resume:
			case <-ctx.Done():
			}
		}
	}
}

func (k *Keeper) failed(what string) func(error) {
	return func(err error) { k.opts.Logger.Error(what, "err", err) }
}

// A job runs one thing, or nothing.
type job struct {
	of   any
	stop context.CancelFunc
	done chan struct{}
}

// become ends what runs, unless it is of the same, and runs the other until ctx
// ends; again after a pause if it panics.
func (j *job) become(ctx context.Context, log *slog.Logger, of any, run func(context.Context) error, failed func(error)) {
	if j.of == of {
		return
	}
	j.end()
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	*j = job{of, stop, done}
	go func() {
		defer close(done)
		contain.Loop(ctx, log, "keep certificates and revocation data fresh", func(ctx context.Context) {
			if err := run(ctx); err != nil {
				failed(err)
			}
		})
	}()
}

// end returns when nothing runs any more.
func (j *job) end() {
	if j.of != nil {
		j.stop()
		<-j.done
		*j = job{}
	}
}

// wait returns once the parts have a certificate, and roots where those come with
// it. What is stored and still good is there at once, CA or no CA. Nothing else
// may be listening for news.
func (k *Keeper) wait(ctx context.Context, p parts) error {
	o, t := p.origin, &p.config.TLS
	if o.ready(t) {
		return nil
	}
	k.opts.Logger.Info("waiting for the first certificate", "from", o.String())
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	ended := make(chan error, 1)
	wg.Go(func() {
		ended <- contain.Do(k.opts.Logger, "get the first certificate", func() error { return o.run(ctx) })
	})
	defer k.tell() // whoever listens next looks for himself
	for !o.ready(t) {
		select {
		case <-k.news:
		case err := <-ended:
			return fmt.Errorf("no certificate from %s: %w", o, errors.Join(err, context.Cause(ctx)))
		}
	}
	return nil
}
