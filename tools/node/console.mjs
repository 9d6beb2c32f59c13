// Looks at the console as people do, in a real Chromium, at the word of a test: one
// JSON command a line on standard input, one JSON answer a line on standard output.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";

const require = createRequire(process.env.NODE_TOOLS + "/");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox"] });
let context, page, troubles = [];

const seen = (is) => page.evaluate((is) => {
  Object.defineProperty(document, "hidden", { value: !is, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}, is);

const commands = {
  // open shows a view, in a window of that width, light or dark; it waits until it is followed,
  // or the state is another. With clock its time is the test's.
  async open({ url, width = 1280, theme = "light", script = true, state = "live", clock = false }) {
    if (context) await context.close();
    troubles = [];
    context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme, javaScriptEnabled: script, bypassCSP: false });
    page = await context.newPage();
    if (clock) await page.clock.install();
    page.on("console", (m) => { if (m.type() === "error" || m.type() === "warning") troubles.push(m.text()); });
    page.on("pageerror", (e) => troubles.push(String(e)));
    page.on("requestfailed", (r) => { if (!r.url().includes("/live?")) troubles.push(r.url() + " " + r.failure().errorText); });
    const res = await page.goto(url, { waitUntil: "load" });
    if (script) await page.waitForFunction((s) => document.getElementById("state").textContent.startsWith(s), state, { timeout: 10000 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    return { status: res.status(), title: await page.title(), wide };
  },
  // axe checks what is shown for people who do not see it, or not well.
  async axe() {
    const found = await (async () => {
      const cdp = await context.newCDPSession(page); // past the page's own policy, which allows no script of ours
      await cdp.send("Runtime.evaluate", { expression: axe });
      const { result } = await cdp.send("Runtime.evaluate", { expression: "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}).then((r) => JSON.stringify(r.violations.map((v) => v.id + ': ' + v.help + ' ' + v.nodes.map((n) => n.html.slice(0, 200)).join(' | '))))", awaitPromise: true, returnByValue: true });
      return JSON.parse(result.value);
    })();
    return { violations: found };
  },
  async troubles() { return { troubles }; },
  // wait until an element says something, and for how long it took.
  async wait({ selector, text, timeout = 10000 }) {
    const began = Date.now();
    await page.waitForFunction(([s, t]) => [...document.querySelectorAll(s)].some((e) => e.innerText.includes(t)), [selector, text], { timeout });
    return { ms: Date.now() - began };
  },
  async focus({ selector }) { await page.locator(selector).first().focus(); return {}; },
  // hide does what a browser does to a tab behind another, and show to one that comes forward.
  async hide() { await seen(false); return {}; },
  async show() { await seen(true); return {}; },
  async forward({ ms }) { await page.clock.fastForward(ms); return {}; },
  // at is what is in focus.
  async at() { return { text: await page.evaluate(() => document.activeElement.innerText) }; },
  async text({ selector }) { return { text: await page.locator(selector).first().innerText() }; },
  async click({ selector }) { await page.locator(selector).first().click(); await page.waitForLoadState("load"); return { url: page.url() }; },
  async press({ key }) {
    await page.keyboard.press(key);
    if (key === "Enter") { await page.waitForLoadState("load"); return {}; }
    return { at: await page.evaluate(() => { const e = document.activeElement; return (e.id || e.getAttribute("href") || e.tagName) + (e.matches(":focus-visible") ? " seen" : ""); }) };
  },
  async type({ text }) { await page.keyboard.type(text); return {}; },
  async shot({ file }) { await page.screenshot({ path: file }); return {}; },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { do: name, ...args } = JSON.parse(line);
    answer = await commands[name](args);
  } catch (e) {
    answer = { error: String(e).slice(0, 1000) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
