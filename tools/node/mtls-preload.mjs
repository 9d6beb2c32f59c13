// Has a program for Node that knows nothing of client certificates speak to a gate:
// every request shows the certificate and the token. For the conformance suite, the
// inspector and the like:
//
//   GATE=localhost:8443 GATE_CA=ca.crt GATE_CERT=agent.crt GATE_KEY=agent.key GATE_TOKEN_FILE=agent.token \
//   NODE_TOOLS=… NODE_OPTIONS="--import …/mtls-preload.mjs" node …
//
// The name localhost is what the certificate of the gate is verified for, so that
// requests with a forged Host get that far, too.
import { createRequire, register } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
const require = createRequire(join(process.env.NODE_TOOLS, 'package.json'));
const http = require('node:http');
const https = require('node:https');
const { Agent, setGlobalDispatcher } = require('undici');

const { GATE, GATE_CA, GATE_CERT, GATE_KEY, GATE_TOKEN_FILE } = process.env;
const authorization = `Bearer ${readFileSync(GATE_TOKEN_FILE, 'utf8').trim()}`;
const shown = {
  ca: readFileSync(GATE_CA),
  cert: readFileSync(GATE_CERT),
  key: readFileSync(GATE_KEY),
  checkServerIdentity: (_, certificate) => tls.checkServerIdentity('localhost', certificate),
};

// The suite takes every server to be plain HTTP, and says so in the Origin that has
// to be taken.
const origin = (value) => (value === `http://${GATE}` ? `https://${GATE}` : value);
const own = (headers) =>
  Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, name.toLowerCase() === 'origin' ? origin(value) : value]));

// fetch, which hands over its headers as names and values in a row, or as an object.
const agent = new Agent({ connect: shown }).compose((dispatch) => (options, handler) => {
  const headers = Array.isArray(options.headers)
    ? [...options.headers.map(origin), 'authorization', authorization]
    : { ...own(options.headers), authorization };
  return dispatch({ ...options, headers }, handler);
});
setGlobalDispatcher(agent);

// http.request, by what means to send a Host of its own.
const request = http.request;
http.request = (options, ...rest) => {
  if (`${options?.hostname}:${options?.port}` !== GATE) return request(options, ...rest);
  return https.request(
    { ...options, ...shown, servername: 'localhost', protocol: 'https:', agent: https.globalAgent, headers: { ...own(options.headers), authorization } },
    ...rest,
  );
};

// Node 20 has no fs.globSync, which the suite imports and the checks of servers do
// not call.
if (!require('node:fs').globSync) {
  const hooks = `
    export async function resolve(name, context, next) {
      if (name === 'fs' && context.parentURL?.includes('conformance')) return { url: 'gate:fs', shortCircuit: true };
      return next(name, context);
    }
    export async function load(url, context, next) {
      if (url !== 'gate:fs') return next(url, context);
      return { format: 'module', shortCircuit: true,
        source: "export * from 'node:fs'; export { default } from 'node:fs'; export function globSync() { return []; }" };
    }`;
  register('data:text/javascript,' + encodeURIComponent(hooks));
}
