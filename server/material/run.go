package material

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// firstCertificate bounds the wait for the first certificate of what a changed
// configuration names. The start waits as long as it takes.
const firstCertificate = 30 * time.Second

// Run keeps fresh what the configuration in force wants, and calls changed,
// one call at a time, when there is something new for Reload. It returns when
// ctx has ended and all it started, too.
func (k *Keeper) Run(ctx context.Context, changed func()) {
	for ctx.Err() == nil {
		running, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		k.start(running, &wg)
		resume := k.follow(ctx, changed)
		stop()
		wg.Wait()
		select {
		case <-resume:
		case <-ctx.Done():
		}
	}
}

func (k *Keeper) start(ctx context.Context, wg *sync.WaitGroup) {
	cur := k.parts()
	wg.Go(func() {
		if err := cur.origin.run(ctx); err != nil {
			k.opts.Logger.Error("the certificate is not kept alive", "err", err)
		}
	})
	if cur.lists == nil {
		return
	}
	wg.Go(func() {
		if err := cur.lists.Run(ctx); err != nil {
			k.opts.Logger.Error("the revocation lists are not kept fresh", "err", err)
		}
	})
}

// follow tells of news until ctx ends or somebody wants what runs stopped until
// the channel it returns is closed.
func (k *Keeper) follow(ctx context.Context, changed func()) (resume <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return nil
		case resume := <-k.yield:
			return resume
		case <-k.news:
			changed()
		}
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
	wg.Go(func() { ended <- o.run(ctx) })
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
