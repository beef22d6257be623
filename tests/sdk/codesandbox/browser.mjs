// The SDK's client for browsers, in Chromium, on a page of another origin: it is given a session and no key.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { CodeSandbox } from "@codesandbox/sdk";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const sdk = new CodeSandbox(process.env.MOONPOOL_API_KEY, { baseUrl: process.env.MOONPOOL_URL });
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];

const PAGE = `
import { connectToSandbox } from "@codesandbox/sdk/browser";

const next = (subscribe, right) => new Promise((resolve) => {
  const subscription = subscribe((value) => {
    if (!right(value)) return;
    subscription.dispose();
    resolve(value);
  });
});

globalThis.connect = async () => {
  const onFocusChange = (notify) => { globalThis.focus = notify; return () => {}; };
  globalThis.client = await connectToSandbox({ session: await getSession(), getSession, onFocusChange });
};

globalThis.work = async () => {
  const watcher = await client.fs.watch("./", { recursive: true });
  const told = next(watcher.onEvent, (event) => event.paths.some((path) => path.endsWith("/page.txt")));
  await client.fs.writeTextFile("page.txt", "from a page");
  await told;
  const { downloadUrl } = await client.fs.download("page.txt");
  const terminal = await client.terminals.create();
  await terminal.open();
  const shown = next(terminal.onOutput, (text) => text.includes("shown=42"));
  await terminal.run("echo shown=$((6 * 7))");
  await shown;
  return [await client.commands.run("echo $WHO"), await (await fetch(downloadUrl)).text()];
};

globalThis.hibernated = () =>
  client.state === "HIBERNATED" || next(client.onStateChange, (state) => state === "HIBERNATED");

globalThis.back = async () => {
  const connected = next(client.onStateChange, (state) => state === "CONNECTED");
  focus(true);
  await connected;
  return client.fs.readTextFile("page.txt");
};
`;

const stdin = { contents: PAGE, resolveDir: import.meta.dirname };
const bundle = await build({ stdin, bundle: true, write: false, platform: "browser", format: "iife" });
const [script] = bundle.outputFiles;
const site = createServer((request, response) => {
  const [type, body] = request.url === "/page.js" ? ["text/javascript", script.text] : ["text/html", "<script src=page.js></script>"];
  response.setHeader("Content-Type", type).end(body);
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
const sandbox = await sdk.sandboxes.create({ title: "browsed" });
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error.message));
  await page.exposeFunction("getSession", async () => {
    const resumed = await sdk.sandboxes.resume(sandbox.id);
    return JSON.parse(JSON.stringify(await resumed.createSession({ id: "mary", env: { WHO: "mary" } })));
  });
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  await page.evaluate(() => connect());
  console.error("connected");
  assert.deepEqual(await page.evaluate(() => work()), ["mary\n", "from a page"]);
  await sdk.sandboxes.hibernate(sandbox.id);
  console.error("hibernated");
  await page.evaluate(() => hibernated());
  console.error("the page knows");
  assert.equal(await page.evaluate(() => back()), "from a page");
} finally {
  await browser.close();
  await sdk.sandboxes.delete(sandbox.id);
  site.close();
}
