package upstream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/credential"
)

// A command has this long to end by itself when its input has ended.
const commandGrace = 700 * time.Millisecond

// spawn starts the command of a stdio upstream. It gets an environment of its own:
// what the gate's holds, secrets among it, is not its business.
func (s *Server) spawn(ctx context.Context) (link, error) {
	cmd := exec.Command(s.conf.Command[0], s.conf.Command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8"}
	for name, value := range s.conf.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if s.conf.CredentialEnv != "" {
		secret, err := s.secret(ctx)
		if err != nil {
			return nil, err
		}
		s.scrub.UseSecret(secret)
		cmd.Env = append(cmd.Env, s.conf.CredentialEnv+"="+secret.Value)
	}
	s.mu.Lock()
	err := s.restarts.due(time.Now())
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	p, err := start(cmd, s.log, s.scrub)
	if err != nil {
		return nil, err
	}
	pipe := newPipe(p.in, s.conf.Timeout())
	s.background.Go(pipe.write)
	l, err := s.session(ctx, s.commandConn(pipe, p.out), func() {
		_ = pipe.Close()
		p.stop()
	})
	if err != nil {
		return nil, err
	}
	l.raw, l.room = pipe, pipe.room
	s.background.Go(func() {
		<-pipe.ended
		if pipe.failure() != nil { // a command that does not read its input is started again
			s.drop(l)
			s.Wake()
		}
	})
	// Told at once when it ends by itself: the next look starts it again.
	s.background.Go(func() {
		<-p.done
		s.mu.Lock()
		s.restarts.note(time.Since(begun), time.Now())
		s.mu.Unlock()
		s.drop(l) // others may hold its output open: nothing else would tell
		s.Wake()
	})
	return l, nil
}

// A process is a running command.
type process struct {
	cmd  *exec.Cmd
	in   *os.File
	out  *os.File
	done chan struct{}
	once sync.Once
}

func start(cmd *exec.Cmd, log *slog.Logger, scrub *credential.Scrubber) (*process, error) {
	read, in, err := os.Pipe() // not StdinPipe: that takes no deadline
	if err != nil {
		return nil, err
	}
	// Not StdoutPipe: Wait would close it under the reader.
	out, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, read.Close(), in.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = read, write, &logged{log: log, scrub: scrub}
	cmd.WaitDelay = time.Second // others may hold its standard error
	ownGroup(cmd)
	err = cmd.Start()
	_, _ = read.Close(), write.Close()
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	p := &process{cmd: cmd, in: in, out: out, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		err := cmd.Wait()
		log.Info("command of upstream has ended", "err", err)
	}()
	return p, nil
}

// stop ends the process, with all it has started, and waits for it. What has left its group stays, but for the process
// itself.
func (p *process) stop() {
	p.once.Do(func() {
		_ = p.in.Close()
		select {
		case <-p.done:
		case <-time.After(commandGrace):
		}
		killGroup(p.cmd)
		_ = p.cmd.Process.Kill()
		<-p.done
		_ = p.out.Close()
	})
}

// logged takes what a command says on standard error into the log, line by line.
type logged struct {
	log   *slog.Logger
	scrub *credential.Scrubber
	line  []byte
}

// A line of the log is bounded; more of it is read, so that a secret at its end is
// found whole.
const (
	maxLine = 2 << 10
	maxRead = 64 << 10
)

func (l *logged) Write(p []byte) (int, error) {
	defer contain.Panic(l.log, "log the standard error of an upstream") // on a goroutine of os/exec
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		if room := maxRead - len(l.line); room > 0 {
			l.line = append(l.line, part[:min(len(part), room)]...)
		}
		if p = rest; ended {
			line := l.scrub.Bytes(l.line)
			if len(l.line) == maxRead {
				line = l.scrub.Cut(l.line)
			}
			l.log.Debug("command of upstream says", "line", string(line[:min(len(line), maxLine)]))
			l.line = l.line[:0]
		}
	}
	return n, nil
}
