# What people and CI do with this repository. `make dev` and `make test` set up
# what they need themselves.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# Key stores and databases of step-ca's that the embedded CA does not use.
TAGS    := noawskms,noazurekms,nocloudkms,nobadger,nomysql
TOOL    := go tool -modfile=tools/go.mod

.PHONY: dev test lint build certs-dev bench profile

# A working gate on https://127.0.0.1:8443, everything in certs-dev/.
dev: build
	@exec bin/sangate dev

# Every test, with the race detector, against a real step-ca too.
test:
	go test -race -timeout 30m -tags '$(TAGS)' ./...

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

# What the gate costs beside net/http, the SDK and nginx: a table in
# docs/performance.md. Takes about ten minutes, on a machine that does nothing else.
bench: build
	@command -v nginx >/dev/null || { echo "nginx is missing: apt-get install nginx-light"; exit 1; }
	CGO_ENABLED=0 go build -modfile=tools/go.mod -o bin/vegeta github.com/tsenart/vegeta/v12
	go run ./bench -page docs/performance.md

# The profile that `make build` optimises by, taken under the load of the benchmark.
profile:
	CGO_ENABLED=0 go build -modfile=tools/go.mod -o bin/vegeta github.com/tsenart/vegeta/v12
	go run ./bench -rounds 1 -length 4s -cpuprofile cmd/sangate/default.pgo
