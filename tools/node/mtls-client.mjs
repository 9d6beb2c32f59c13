// A client of the Model Context Protocol over mTLS, by the official TypeScript
// SDK: it lists what the gate has, makes the calls it is given on standard input,
// and prints what came of each as one JSON object.
//
//   node mtls-client.mjs URL CA CERT KEY TOKEN_FILE [revision] <calls.json
//
// calls.json: {"calls":[{"name":"…","arguments":{…}}],"read":["uri"],"prompts":[{"name":"…"}]}
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

// The packages are where the tests have installed them.
const require = createRequire(join(process.env.NODE_TOOLS, 'package.json'));
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const { Client, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');
const { Agent, fetch } = await load('undici');

const [url, ca, cert, key, tokenFile, revision] = process.argv.slice(2);
const dispatcher = new Agent({ connect: { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) } });
const token = readFileSync(tokenFile, 'utf8').trim();
const transport = new StreamableHTTPClientTransport(new URL(url), {
  fetch: (to, init) => fetch(to, { ...init, dispatcher }),
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const options = revision === '2026-07-28' ? { versionNegotiation: { mode: 'auto' } } : {};
const client = new Client({ name: 'mtls-client', version: '1' }, options);
await client.connect(transport);

const wanted = JSON.parse(readFileSync(0, 'utf8'));
const all = async (method, field) => {
  try {
    const out = [];
    let cursor;
    do {
      const page = await client[method](cursor ? { cursor } : {});
      out.push(...page[field]);
      cursor = page.nextCursor;
    } while (cursor);
    return out;
  } catch (err) {
    return [{ error: String(err) }];
  }
};
const attempt = async (what) => {
  try {
    return await what();
  } catch (err) {
    return { error: String(err) };
  }
};
const out = {
  server: client.getServerVersion(),
  tools: await all('listTools', 'tools'),
  calls: {},
  resources: [],
  templates: [],
  prompts: [],
  read: {},
  got: {},
};
const capabilities = client.getServerCapabilities() ?? {};
if (capabilities.resources) {
  out.resources = await all('listResources', 'resources');
  out.templates = await all('listResourceTemplates', 'resourceTemplates');
}
if (capabilities.prompts) out.prompts = await all('listPrompts', 'prompts');
for (const call of wanted.calls ?? []) out.calls[call.name] = await attempt(() => client.callTool(call));
for (const uri of wanted.read ?? []) out.read[uri] = await attempt(() => client.readResource({ uri }));
for (const prompt of wanted.prompts ?? []) out.got[prompt.name] = await attempt(() => client.getPrompt(prompt));
console.log(JSON.stringify(out));
await client.close();
await dispatcher.close();
