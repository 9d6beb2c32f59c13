package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// startNginx starts nginx with mTLS in front of a bare handler over plain HTTP,
// on connections that are kept, as one would in production.
func (f *field) startNginx(ctx context.Context, name, behind, tickets string) (*process, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		return nil, fmt.Errorf("%w; on Debian: apt-get install nginx-light", err)
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir := f.w.path(name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`daemon off;
master_process on;
worker_processes auto;
pid %[1]s/pid;
error_log stderr error;
events { worker_connections 16384; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream bare { server %[2]s; keepalive 32; keepalive_requests 1000000000; }
  server {
    listen %[3]s ssl;
    keepalive_requests 1000000000;
    ssl_certificate %[4]s; ssl_certificate_key %[5]s;
    ssl_client_certificate %[6]s; ssl_verify_client on; ssl_verify_depth 3;
    ssl_protocols TLSv1.3; ssl_session_tickets %[7]s; ssl_session_cache none;
    location / { proxy_pass http://bare; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`, dir, behind, addr, f.w.path("server.crt"), f.w.path("server.key"), f.w.path("root.crt"), tickets)
	config := f.w.path(name + ".conf")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return f.keep(start(ctx, exec.CommandContext(ctx, program, "-c", config, "-p", dir), addr, ""))
}
