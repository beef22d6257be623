// Everything that a connected client of the official SDK can do in a sandbox, once.
import assert from "node:assert/strict";
import http from "node:http";
import { CodeSandbox } from "@codesandbox/sdk";

const sdk = new CodeSandbox(process.env.MOONPOOL_API_KEY, { baseUrl: process.env.MOONPOOL_URL });
const PATIENCE = 60_000; // milliseconds

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing came in time`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Resolves with the first event that is right; for emitters that are called with a listener.
function event(subscribe, right, what) {
  const coming = new Promise((resolve) => {
    const subscription = subscribe((value) => {
      if (right(value)) {
        subscription.dispose();
        resolve(value);
      }
    });
  });
  return within(coming, what);
}

async function commands(client) {
  assert.equal(await client.commands.run("echo hi"), "hi\n");
  assert.equal(await client.commands.run(["cd /usr", "pwd"]), "/usr\n");
  assert.equal(await client.commands.run("pwd"), `${client.workspacePath}\n`);
  assert.equal(await client.commands.run("pwd", { cwd: "/tmp" }), "/tmp\n");
  assert.equal(await client.commands.run("echo $A:$B", { env: { A: "one two", B: "it's" } }), "one two:it's\n");
  const failed = await client.commands.run("echo out; exit 3").catch((error) => error);
  assert.equal(failed.name, "CommandError");
  assert.equal(failed.exitCode, 3);
  assert.equal(failed.output, "out\n");
  for (let count = 0; count < 30; count += 1) {
    assert.equal(await client.commands.run(`echo ${count}`), `${count}\n`);
  }
  const several = Array.from({ length: 10 }, (_, count) => client.commands.run(`echo ${count}`));
  assert.deepEqual(await Promise.all(several), Array.from({ length: 10 }, (_, count) => `${count}\n`));
}

async function background(client) {
  const command = await client.commands.runBackground("echo begun; exec sleep 1000", { name: "sleeper" });
  await event(command.onOutput, (text) => text.includes("begun"), "output");
  const [found] = (await client.commands.getAll()).filter((one) => one.name === "sleeper");
  assert.equal(found.command, "echo begun; exec sleep 1000");
  assert.match(await found.open(), /begun/);
  await command.restart();
  const ended = event(found.onStatusChange, (status) => status === "KILLED", "status");
  await command.kill();
  await ended;
  assert.equal((await client.commands.getAll()).filter((one) => one.name === "sleeper").length, 0);
}

async function terminals(client) {
  const terminal = await client.terminals.create("bash", { name: "mine", dimensions: { cols: 90, rows: 20 } });
  await terminal.open({ cols: 90, rows: 20 });
  const shown = event(terminal.onOutput, (text) => text.includes("20 90"), "size");
  await terminal.run("stty size", { cols: 90, rows: 20 });
  await shown;
  const [found] = await client.terminals.getAll();
  assert.equal(found.id, terminal.id);
  assert.equal(found.name, "mine");
  assert.equal((await client.terminals.get(terminal.id)).id, terminal.id);
  assert.match(await found.open(), /20 90/);
  await terminal.kill();
  assert.deepEqual(await client.terminals.getAll(), []);
}

async function interpreters(client) {
  assert.equal(await client.interpreters.javascript("6 * 7"), "42\n");
  assert.equal(await client.interpreters.python("print('hi from python')"), "hi from python\n");
}

async function files(client) {
  await client.fs.writeTextFile("folder/text.txt", "text äöü");
  assert.equal(await client.fs.readTextFile("folder/text.txt"), "text äöü");
  assert.equal(await client.fs.readTextFile(`${client.workspacePath}/folder/text.txt`), "text äöü");
  const bytes = Uint8Array.from({ length: 300_000 }, (_, at) => at % 256);
  await client.fs.writeFile("/binary", bytes);
  assert.deepEqual(new Uint8Array(await client.fs.readFile("/binary")), bytes);
  const stat = await client.fs.stat("folder/text.txt");
  assert.equal(stat.type, "file");
  assert.equal(stat.size, 11);
  assert.ok(Math.abs(stat.mtime - Date.now()) < 3_600_000);
  assert.deepEqual(await client.fs.readdir("folder"), [{ name: "text.txt", type: "file", isSymlink: false }]);
  assert.ok((await client.fs.readdir("/")).some((entry) => entry.name === "binary"));
  await client.fs.mkdir("a/b", true);
  await assert.rejects(client.fs.mkdir("c/d"), { message: /^2: / });
  await client.fs.copy("folder", "copied", true);
  await client.fs.rename("copied/text.txt", "copied/renamed.txt");
  await assert.rejects(client.fs.readFile("copied/text.txt"), { message: /^2: ENOENT: / });
  await client.fs.remove("copied", true);
  await assert.rejects(client.fs.stat("copied"), { message: /^2: / });
  await assert.rejects(client.fs.writeFile("folder/text.txt", bytes, { overwrite: false }), { message: /^17: / });
  await client.fs.batchWrite([
    { path: "batch/one.txt", content: "one" },
    { path: "batch/deep/two.bin", content: bytes },
    { path: "batch/größe 日本/ünï's \"drei\".txt", content: "drei" },
    { path: "/srv/batch/four.txt", content: "four" },
    { path: `${client.workspacePath}/batch/five.txt`, content: "five" },
  ]);
  assert.equal(await client.fs.readTextFile("/srv/batch/four.txt"), "four");
  assert.equal(await client.fs.readTextFile("batch/five.txt"), "five");
  assert.equal(await client.fs.readTextFile("batch/größe 日本/ünï's \"drei\".txt"), "drei");
  assert.deepEqual((await client.fs.readdir("batch/größe 日本")).map(({ name }) => name), ["ünï's \"drei\".txt"]);
  assert.equal(await client.fs.readTextFile("batch/one.txt"), "one");
  assert.deepEqual(new Uint8Array(await client.fs.readFile("batch/deep/two.bin")), bytes);
}

async function largeFile(client) {
  const bytes = new Uint8Array(101 * 1024 * 1024);
  bytes.fill(7, 50_000_000);
  await client.fs.writeFile("large", bytes);
  assert.equal((await client.fs.stat("large")).size, bytes.length);
  assert.equal(await client.commands.run("rm large && echo gone"), "gone\n");
}

async function watching(client) {
  await client.fs.mkdir("watched", true);
  const watcher = await client.fs.watch("watched", { recursive: true, excludes: ["node_modules"] });
  const ending = (path) => (told) => told.paths.some((one) => one.endsWith(path));
  const added = event(watcher.onEvent, (told) => told.type === "add" && ending("watched/new")(told), "add");
  await client.fs.writeTextFile("watched/new", "x");
  await added;
  const removed = event(watcher.onEvent, (told) => told.type === "remove" && ending("watched/new")(told), "remove");
  await client.fs.remove("watched/new");
  await removed;
  watcher.dispose();
}

async function downloads(client) {
  await client.fs.writeTextFile("to-download.txt", "downloaded");
  const { downloadUrl } = await client.fs.download("to-download.txt");
  assert.equal(await (await fetch(downloadUrl)).text(), "downloaded");
  const folder = await client.fs.download("batch");
  const archive = new Uint8Array(await (await fetch(folder.downloadUrl)).arrayBuffer());
  assert.equal(String.fromCharCode(archive[0], archive[1]), "PK");
}

async function ports(client) {
  const opened = client.ports.waitForPort(4321, { timeoutMs: PATIENCE });
  const server = await client.commands.runBackground("exec python3 -m http.server 4321");
  const port = await opened;
  assert.equal(port.port, 4321);
  assert.ok(port.host.startsWith(`${client.id}-4321.`));
  assert.deepEqual(await client.ports.get(4321), port);
  const closed = event(client.ports.onDidPortClose, (number) => number === 4321, "port closed");
  await server.kill();
  await closed;
}

// The name of a host may lead nowhere here: the server is told by the header which one is meant.
function visit(host, path = "/", headers = {}) {
  const { hostname, port } = new URL(process.env.MOONPOOL_URL);
  return new Promise((resolve, reject) => {
    const asked = http.get({ host: hostname, port, path, headers: { host, ...headers } }, (answer) => {
      answer.setEncoding("utf8");
      let text = "";
      answer.on("data", (piece) => { text += piece; });
      answer.on("end", () => resolve({ status: answer.statusCode, text }));
    });
    asked.on("error", reject);
  });
}

async function hosts() {
  const sandbox = await sdk.sandboxes.create({ privacy: "private" });
  try {
    const client = await sandbox.connect();
    const opened = client.ports.waitForPort(8123, { timeoutMs: PATIENCE });
    await client.commands.runBackground("echo secret > index.html; exec python3 -m http.server 8123");
    const { host } = await opened;
    assert.ok(!(await visit(host)).text.includes("secret"));
    const token = await sdk.hosts.createToken(sandbox.id, { expiresAt: new Date(Date.now() + 600_000) });
    const { search } = new URL(sdk.hosts.getUrl(token, 8123));
    const [[name, value]] = Object.entries(sdk.hosts.getCookies(token));
    const ways = [["/", sdk.hosts.getHeaders(token)], ["/", { cookie: `${name}=${value}` }], [`/${search}`, {}]];
    for (const [path, headers] of ways) assert.equal((await visit(host, path, headers)).text, "secret\n");
    const session = await sandbox.connect({ id: "anna", hostToken: token });
    assert.deepEqual(session.hosts.getHeaders(), sdk.hosts.getHeaders(token));
    assert.equal(new URL(session.hosts.getUrl(8123)).search, search);
    assert.ok((await sdk.hosts.listTokens(sandbox.id))[0].tokenId === token.tokenId);
    await sdk.hosts.revokeToken(sandbox.id, token.tokenId);
    for (const [path, headers] of ways) assert.ok(!(await visit(host, path, headers)).text.includes("secret"));
    // The SDK asks for them at its connection, and brings the program down when it is let go before it is told.
    assert.deepEqual((await session.ports.getAll()).map(({ port }) => port), [8123]);
    session.dispose();
    client.dispose();
  } finally {
    await sdk.sandboxes.delete(sandbox.id);
  }
}

async function installing(sandbox) {
  const client = await sandbox.connect();
  const package_ = JSON.stringify({ name: "local", version: "1.0.0" });
  await client.fs.batchWrite([{ path: "local/package.json", content: package_ }, { path: "app/package.json", content: "{}" }]);
  const install = "cd app && echo begun && npm install --offline --no-audit ../local && touch installed";
  const command = await client.commands.runBackground(install);
  await event(command.onOutput, (text) => text.includes("begun"), "begun");
  const hibernated = event(client.onStateChange, (state) => state === "HIBERNATED", "hibernated");
  await sdk.sandboxes.hibernate(sandbox.id);
  await hibernated;
  await client.reconnect();
  const look = "cd app && until [ -e installed ]; do sleep 0.1; done; ls node_modules";
  assert.equal(await within(client.commands.run(look), "npm"), "local\n");
  client.dispose();
}

async function tasks(sandbox) {
  const client = await sandbox.connect();
  const serve = "echo serving; exec python3 -m http.server 5432";
  const document = {
    setupTasks: [{ name: "Prepare", command: "echo prepared > prepared.txt" }],
    tasks: { web: { name: "Web", command: serve, preview: { port: 5432 } } },
  };
  await client.fs.writeTextFile(".codesandbox/tasks.json", JSON.stringify(document));
  client.dispose();

  const again = await sandbox.connect();
  await within(again.setup.waitUntilComplete(), "setup");
  const [step] = again.setup.getSteps();
  assert.equal(step.name, "Prepare");
  assert.equal(step.status, "SUCCEEDED");
  await within(step.open(), "step");
  assert.equal(await again.fs.readTextFile("prepared.txt"), "prepared\n");

  const task = await again.tasks.get("web");
  assert.equal(task.status, "IDLE");
  const running = event(task.onStatusChange, (status) => status === "RUNNING", "task running");
  await task.run();
  await running;
  // In this version a task's own waitForPort only ever succeeds when the port is open already.
  await again.ports.waitForPort(5432, { timeoutMs: PATIENCE });
  assert.equal((await task.waitForPort()).port, 5432);
  assert.match(await task.open(), /serving/);
  const stopped = event(task.onStatusChange, (status) => status === "KILLED", "task stopped");
  await task.stop();
  await stopped;
  again.dispose();
}

async function sessions(sandbox) {
  const writer = await sandbox.connect({
    id: "anna",
    env: { GREETING: "hello" },
    git: { provider: "github.com", username: "anna", accessToken: "t0ken", email: "anna@example.com", name: "Anna" },
  });
  const told = await writer.commands.run("echo $GREETING; git config user.email");
  assert.deepEqual(told.split(/\n+/), ["hello", "anna@example.com", ""]);
  assert.notEqual((await writer.commands.run("id -un")).trim(), "root");
  const commit = ["git init -q", "git add to-download.txt", "git commit -qm anna", "git --no-pager log --format=%an"];
  assert.equal(await writer.commands.run(commit), "Anna\n");
  await writer.fs.writeTextFile("from-anna.txt", "hers");
  const reader = await sandbox.connect({ id: "rita", permission: "read" });
  assert.equal(await reader.fs.readTextFile("from-anna.txt"), "hers");
  await assert.rejects(reader.fs.writeTextFile("from-rita.txt", "x"), { message: /only read/ });
  await assert.rejects(reader.commands.run("true"), { message: /only read/ });
  writer.dispose();
  reader.dispose();
}

async function say(terminal, word) {
  const shown = event(terminal.onOutput, (text) => text.includes(`kept=${word}`), word);
  await terminal.run("echo kept=$KEPT");
  await shown;
}

async function forking(sandbox) {
  const client = await sandbox.connect();
  const terminal = await client.terminals.create("bash");
  await terminal.run("export KEPT=first");
  await say(terminal, "first");
  const counting = await client.commands.runBackground("for i in $(seq 100000); do echo $i; sleep 0.1; done");
  await event(counting.onOutput, () => true, "counting");
  const fork = await sdk.sandboxes.create({ id: sandbox.id });
  try {
    // The source goes on, and so do those who look at it.
    await say(terminal, "first");
    await event(counting.onOutput, () => true, "counting after the fork");
    const other = await fork.connect();
    const [copied] = await other.terminals.getAll();
    assert.equal(copied.id, terminal.id);
    await copied.open();
    await copied.run("export KEPT=second");
    await say(copied, "second");
    await say(terminal, "first");
    assert.equal((await other.commands.getAll()).length, 1);
    other.dispose();
  } finally {
    await sdk.sandboxes.delete(fork.id);
  }
  await counting.kill();
  await terminal.kill();
  client.dispose();
}

async function hibernation(sandbox) {
  const client = await sandbox.connect();
  client.keepActiveWhileConnected(true);
  const terminal = await client.terminals.create("bash");
  await terminal.run("export KEPT=yes");
  const hibernated = event(client.onStateChange, (state) => state === "HIBERNATED", "hibernated");
  await sdk.sandboxes.hibernate(sandbox.id);
  await hibernated;
  assert.equal(client.state, "HIBERNATED");
  await client.reconnect();
  assert.equal(client.state, "CONNECTED");
  const kept = await client.terminals.get(terminal.id);
  await kept.open();
  await say(kept, "yes");
  assert.equal(await client.commands.run("echo back"), "back\n");
  await client.disconnect();
  assert.equal(client.state, "DISCONNECTED");
  client.dispose();
}

async function waking(sandbox) {
  await sdk.sandboxes.hibernate(sandbox.id);
  const client = await sandbox.connect();
  assert.equal(await client.commands.run("echo awake"), "awake\n");
  client.dispose();
  const sleeper = await sdk.sandboxes.create({ automaticWakeupConfig: { http: true, websocket: false } });
  try {
    await sdk.sandboxes.hibernate(sleeper.id);
    await assert.rejects(sleeper.connect(), { message: /409/ });
  } finally {
    await sdk.sandboxes.delete(sleeper.id);
  }
}

async function ending(sandbox) {
  await sdk.sandboxes.resume(sandbox.id);
  const client = await sandbox.connect();
  const command = await client.commands.runBackground("echo begun; exec sleep 1000");
  await event(command.onOutput, (text) => text.includes("begun"), "output");
  const waiting = assert.rejects(within(command.waitUntilComplete(), "its end"), { name: "CommandError" });
  await sdk.sandboxes.shutdown(sandbox.id);
  await waiting;
  assert.equal(command.status, "KILLED");
  client.dispose();
}

async function main() {
  const sandbox = await sdk.sandboxes.create({ automaticWakeupConfig: { http: true, websocket: true } });
  try {
    const client = await sandbox.connect();
    assert.equal(client.state, "CONNECTED");
    assert.equal(client.isUpToDate, true);
    assert.equal(client.setup.status, "FINISHED");
    await within(client.setup.waitUntilComplete(), "setup");
    const parts = { commands, background, terminals, interpreters, files, largeFile, watching, downloads, ports };
    for (const [name, part] of Object.entries(parts)) {
      const begun = Date.now();
      await part(client);
      console.log(`${name}: ${Date.now() - begun} ms`);
    }
    client.dispose();
    for (const [name, part] of Object.entries({ hosts, installing, tasks, sessions, forking, hibernation, waking })) {
      const begun = Date.now();
      await part(sandbox);
      console.log(`${name}: ${Date.now() - begun} ms`);
    }
  } finally {
    await sdk.sandboxes.delete(sandbox.id);
  }
}

await main();
