// A day in the life of a sandbox, as users of Daytona's JavaScript SDK drive it.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import {
  Daytona,
  DaytonaGitBranchNotFoundError,
  DaytonaGitDirtyWorktreeError,
  DaytonaGitPushRejectedError,
  DaytonaGitRepoNotFoundError,
  DaytonaNotFoundError,
} from "@daytonaio/sdk";

const { MOONPOOL_URL: url, MOONPOOL_API_KEY: apiKey } = process.env;
const daytona = new Daytona({ apiKey, apiUrl: `${url}/api` });
const suite = `js-${Date.now()}`;
const local = join(tmpdir(), suite);

async function lists() {
  const found = [];
  for await (const sandbox of daytona.list({ labels: { suite } })) found.push(sandbox);
  return found;
}

async function commands(sandbox) {
  const { process } = sandbox;
  const done = await process.executeCommand("echo $GREETING $OWN; pwd; exit 3", "/tmp", { OWN: "own" });
  assert.deepEqual([done.exitCode, done.result.trim()], [3, "hello own\n/tmp"]);
  const ran = await process.codeRun("console.log(6 * 7, process.argv.slice(2))", { argv: ["x"] });
  assert.equal(ran.exitCode, 0, ran.result);
  assert.match(ran.result, /^42 \[ 'x' \]/);
  const run = await sandbox.codeInterpreter.runCode("x = 20\nprint(x + 1)");
  assert.equal(run.stdout, "21\n");
  const failed = await sandbox.codeInterpreter.runCode("print(x)\n1 / 0");
  assert.deepEqual([failed.stdout, failed.error.name], ["20\n", "ZeroDivisionError"]);
  const context = await sandbox.codeInterpreter.createContext("/tmp");
  const elsewhere = await sandbox.codeInterpreter.runCode("import os; print(os.getcwd())", { context });
  assert.equal(elsewhere.stdout, "/tmp\n");
  assert.ok((await sandbox.codeInterpreter.listContexts()).some((each) => each.id === context.id));
  await sandbox.codeInterpreter.deleteContext(context);
}

async function files({ fs }) {
  await fs.createFolder("work", "755");
  await fs.uploadFile(Buffer.from("one two\n"), "work/one.txt");
  await writeFile(local, Buffer.alloc(300_000, 7));
  await fs.uploadFile(local, "work/large.bin");
  await fs.uploadFiles([{ source: Buffer.from("a"), destination: "work/a" }, { source: local, destination: "work/b" }]);
  await fs.uploadFileStream(Readable.from([Buffer.from("str"), Buffer.from("eam")]), "work/stream");
  assert.equal((await fs.downloadFile("work/one.txt")).toString(), "one two\n");
  await fs.downloadFile("work/large.bin", local);
  assert.ok((await readFile(local)).equals(Buffer.alloc(300_000, 7)));
  assert.equal((await buffer(await fs.downloadFileStream("work/stream"))).toString(), "stream");
  const both = await fs.downloadFiles([{ source: "work/a" }, { source: "work/missing" }]);
  assert.deepEqual([both[0].result.toString(), typeof both[1].error], ["a", "string"]);
  const names = (await fs.listFiles("work")).map((file) => file.name).sort();
  assert.deepEqual(names, ["a", "b", "large.bin", "one.txt", "stream"]);
  await fs.setFilePermissions("work/a", { mode: "600" });
  assert.match((await fs.getFileDetails("work/a")).mode, /rw-------|0?600/);
  assert.deepEqual((await fs.findFiles("work", "two")).map((match) => match.line), [1]);
  assert.equal((await fs.searchFiles("work", "*.txt")).files.length, 1);
  const [replaced] = await fs.replaceInFiles(["work/one.txt"], "two", "three");
  assert.equal(replaced.success, true);
  await fs.moveFiles("work/one.txt", "work/moved.txt");
  assert.equal((await fs.downloadFile("work/moved.txt")).toString(), "one three\n");
  await fs.deleteFile("work", true);
  await assert.rejects(fs.getFileDetails("work"), DaytonaNotFoundError);
}

async function sessions({ process }) {
  await process.createSession("work");
  await process.executeSessionCommand("work", { command: "cd /tmp && export KEPT=kept" });
  const kept = await process.executeSessionCommand("work", { command: "echo $KEPT $PWD; echo bad >&2; (exit 4)" });
  assert.deepEqual([kept.exitCode, kept.stdout, kept.stderr], [4, "kept /tmp\n", "bad\n"]);
  const { cmdId } = await process.executeSessionCommand("work", {
    command: "read line; echo got $line; echo oops >&2",
    runAsync: true,
  });
  const seen = { out: "", err: "" };
  const followed = process.getSessionCommandLogs(
    "work",
    cmdId,
    (chunk) => (seen.out += chunk),
    (chunk) => (seen.err += chunk),
  );
  await process.sendSessionCommandInput("work", cmdId, "input\n");
  await followed;
  assert.match(seen.out, /got input\n$/);
  assert.equal(seen.err, "oops\n");
  assert.equal((await process.getSessionCommand("work", cmdId)).exitCode, 0);
  assert.equal((await process.getSessionCommandLogs("work", cmdId)).stderr, "oops\n");
  assert.ok((await process.listSessions()).some((session) => session.sessionId === "work"));
  assert.equal((await process.getSession("work")).commands.length, 3);
  assert.ok((await process.getEntrypointSession()).sessionId);
  await process.deleteSession("work");
  await assert.rejects(process.getSession("work"), DaytonaNotFoundError);
}

async function terminals({ process }) {
  let shown = "";
  const decoder = new TextDecoder();
  const handle = await process.createPty({
    id: "term",
    cols: 90,
    rows: 30,
    envs: { FROM_PTY: "yes" },
    onData: (data) => void (shown += decoder.decode(data, { stream: true })),
  });
  await handle.waitForConnection();
  const info = await process.resizePtySession("term", 100, 40);
  assert.deepEqual([info.cols, info.rows], [100, 40]);
  assert.deepEqual((await process.listPtySessions()).map((each) => each.id), ["term"]);
  assert.equal((await process.getPtySessionInfo("term")).active, true);
  await handle.sendInput("echo $FROM_PTY-$((6 * 7)); stty size; exit 5\n");
  const result = await handle.wait();
  assert.equal(result.exitCode, 5);
  assert.match(shown, /yes-42\r\n40 100\r\n/);

  const killed = await process.createPty({ id: "killed", onData: () => {} });
  await killed.waitForConnection();
  await process.killPtySession("killed");
  await killed.wait();
}

async function life(sandbox) {
  assert.equal(await sandbox.getUserHomeDir(), "/home/daytona");
  assert.equal(await sandbox.getWorkDir(), "/home/daytona");
  await sandbox.setLabels({ suite, changed: "yes" });
  await sandbox.setAutostopInterval(30);
  await sandbox.setAutoArchiveInterval(60);
  await sandbox.setAutoDeleteInterval(120);
  await sandbox.refreshActivity();
  await sandbox.refreshData();
  assert.deepEqual([sandbox.labels.changed, sandbox.autoStopInterval, sandbox.autoDeleteInterval], ["yes", 30, 120]);
  const metrics = await sandbox.getMetricsLatest();
  assert.ok(Object.keys(metrics).length > 0);
  await sandbox.stop();
  assert.equal(sandbox.state, "stopped");
  await sandbox.archive();
  await sandbox.start(120);
  assert.equal((await sandbox.process.executeCommand("echo back")).result.trim(), "back");
  await sandbox.pause();
  assert.equal(sandbox.state, "paused");
  await sandbox.start();
  assert.deepEqual((await lists()).map((each) => each.id), [sandbox.id]);
  assert.equal((await daytona.get(sandbox.name)).id, sandbox.id);
}

async function versions({ git, fs, process }) {
  await git.init("up", true, "main");
  await git.init("work", false, "main");
  await git.configureUser("An Agent", "agent@example.com");
  assert.equal(await git.getConfig("user.name"), "An Agent");
  await fs.uploadFile(Buffer.from("one\n"), "work/one.txt");
  await git.add("work", ["one.txt"]);
  const { sha } = await git.commit("work", "first", "An Agent", "agent@example.com");
  assert.match(sha, /^[0-9a-f]{40}$/);
  await git.remoteAdd("work", "origin", "../up");
  await git.push("work", undefined, undefined, "main", "origin", true);
  assert.equal((await git.status("work")).branchPublished, true);
  await git.clone("/home/daytona/up", "copy", "main");
  await git.createBranch("copy", "feature");
  assert.deepEqual((await git.branches("copy")).branches.sort(), ["feature", "main"]);
  await git.checkoutBranch("copy", "main");
  await git.deleteBranch("copy", "feature");
  await process.executeCommand("echo two >one.txt && git commit -qam second && git push -q", "copy");
  await fs.uploadFile(Buffer.from("dirty\n"), "work/one.txt");
  await assert.rejects(git.pull("work"), DaytonaGitDirtyWorktreeError);
  await git.restore("work", ["one.txt"]);
  await git.pull("work");
  assert.equal((await fs.downloadFile("work/one.txt")).toString(), "two\n");
  await git.reset("work", "hard", sha);
  await git.commit("work", "another", "An Agent", "agent@example.com", true);
  await assert.rejects(git.push("work"), DaytonaGitPushRejectedError);
  await assert.rejects(git.clone("/nowhere", "none"), DaytonaGitRepoNotFoundError);
  await assert.rejects(git.checkoutBranch("work", "nope"), DaytonaGitBranchNotFoundError);
}

async function languages(sandbox) {
  await sandbox.fs.createFolder("project", "755");
  await sandbox.fs.uploadFile(Buffer.from("import json\n\n\ndef greet():\n    json.\n"), "project/main.py");
  const server = await sandbox.createLspServer("python", "project");
  await assert.rejects(server.documentSymbols("project/main.py"), /Start it first/);
  await server.start();
  await server.didOpen("project/main.py");
  const { items } = await server.completions("project/main.py", { line: 4, character: 9 });
  assert.ok(items.some(({ label }) => label.startsWith("dumps")));
  assert.ok((await server.documentSymbols("project/main.py")).some(({ name }) => name === "greet"));
  assert.ok((await server.sandboxSymbols("greet")).some(({ name }) => name === "greet"));
  await server.didClose("project/main.py");
  await server.stop();
}

async function copies(sandbox) {
  await sandbox.process.executeCommand("echo kept > kept; nohup sleep 4711 >/dev/null 2>&1 &");
  const fork = await sandbox.fork({ name: `${suite}-fork` });
  const running = await fork.process.executeCommand("cat kept; pgrep -f 'sleep 4711' >/dev/null && echo alive");
  assert.equal(running.result.trim(), "kept\nalive");
  assert.equal((await fork.process.executeCommand("echo $DAYTONA_SANDBOX_ID")).result.trim(), fork.id);
  await fork.delete(60, true);

  await sandbox.createSnapshot(suite);
  const made = await daytona.create({ snapshot: suite, labels: { suite } });
  assert.equal((await made.process.executeCommand("cat kept")).result, "kept\n");
  await daytona.snapshot.delete(await daytona.snapshot.get(suite));
  assert.equal((await made.process.executeCommand("cat kept")).result, "kept\n");
  await made.delete(60, true);
}

const snapshots = await daytona.snapshot.list();
assert.ok(snapshots.items.some((snapshot) => snapshot.name === "daytona-small"));
assert.equal((await daytona.snapshot.get("daytona-small")).cpu, 1);

const sandbox = await daytona.create({
  name: suite,
  language: "javascript",
  envVars: { GREETING: "hello" },
  labels: { suite },
});
try {
  assert.equal(sandbox.state, "started");
  for (const part of [commands, files, sessions, terminals, versions, languages, copies, life]) await part(sandbox);
} finally {
  await sandbox.delete(60, true);
}
await assert.rejects(daytona.get(sandbox.id), DaytonaNotFoundError);
assert.deepEqual(await lists(), []);
console.log("finished");
process.exit(0); // The SDK's own connection for events would keep Node running.
