# What people and CI do with this repository. `make dev` and `make test` set up
# what they need themselves.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# Key stores and databases of step-ca's that the embedded CA does not use.
TAGS    := noawskms,noazurekms,nocloudkms,nobadger,nomysql
TOOL    := go tool -modfile=tools/go.mod

.PHONY: dev test fuzz fuzz-short scale conformance lint build certs-dev bench bench-short bench-diff profile attack attack-short

# A working gate on https://127.0.0.1:8443, everything in certs-dev/.
dev: build
	@exec bin/sangate dev

# Every test, with the race detector, against a real step-ca too.
test:
	go test -race -timeout 30m -tags '$(TAGS)' ./...

# Every fuzz target for FUZZTIME: `make fuzz FUZZTIME=5m`. Inputs are kept in Go's
# build cache; `go clean -fuzzcache` removes them.
FUZZTIME ?= 30m
fuzz:
	scripts/fuzz $(FUZZTIME)

# 500 inputs for every fuzz target, made of the seeds in the tree: the work is the same
# on every machine.
fuzz-short:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && FUZZDIR="$$dir" scripts/fuzz 500x

# 100,000 tenants, 1,000,000 revoked certificates, 10,000 idle connections, 2,000
# streams, 10,000 strangers, 10,000 rotations, ten days of alerts: without the race
# detector, which has no room or time for them.
SCALE := TestScale|TestQuiet|TestPairRotations|TestReloadUnderLoad|TestSeriesStayTheSame
scale:
	go test -timeout 15m -tags '$(TAGS)' -count=1 -run '$(SCALE)' ./server ./deploy/prometheus

# The conformance suite of the Model Context Protocol through a gate, and what the
# official SDK's own server passes beside it: a line for each revision.
conformance:
	go test -race -timeout 10m -tags '$(TAGS)' -count=1 -v -run TestConformance ./server/conformance

# gofmt, vet, staticcheck, and a go.mod that says what is used.
lint:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "not gofmt-ed:" $$bad; exit 1; }
	go mod tidy -diff
	go vet -tags '$(TAGS)' ./...
	CGO_ENABLED=0 go vet -C tools ./oidc-provider
	$(TOOL) staticcheck -tags '$(TAGS)' ./...

# The one static binary.
build:
	CGO_ENABLED=0 go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/sangate ./cmd/sangate

# The development PKI, without serving.
certs-dev: build
	bin/sangate dev --once

# What the gate costs beside net/http, the SDK and nginx: docs/performance.md.
# Takes a quarter of an hour on a machine that does nothing else.
bench: bin/vegeta build
	go run ./cmd/bench -page docs/performance.md

# The same in seconds, to see that it runs: its figures mean nothing.
bench-short: bin/vegeta build
	go run ./cmd/bench -rounds 1 -length 300ms

bin/vegeta:
	CGO_ENABLED=0 go build -modfile=tools/go.mod -o $@ github.com/tsenart/vegeta/v12

# The profile that `make build` optimises by, taken under the benchmark's load.
profile: bin/vegeta
	go run ./cmd/bench -rounds 1 -length 4s -cpuprofile cmd/sangate/default.pgo

# Denial-of-service cases against a real server: docs/attacks.md. Takes half an
# hour on a machine that does nothing else.
attack: build
	go run ./cmd/attack -binary bin/sangate

# The same in about 90 seconds; latencies are printed, not judged.
attack-short: build
	go run ./cmd/attack -short -binary bin/sangate

# The Go benchmarks of the hot path here and at the last release (or BASE=…),
# compared by benchstat.
bench-diff:
	scripts/bench-diff $(BASE)
