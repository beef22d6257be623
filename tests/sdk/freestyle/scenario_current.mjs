// freestyle 0.1.63: the life of VMs as its users write it.
import { Freestyle, VmSpec, VmBaseImage } from "freestyle";
import { deepEqual, equal, ok, rejects, step } from "./expect.mjs";

const freestyle = new Freestyle({ baseUrl: process.env.MOONPOOL_URL, apiKey: process.env.MOONPOOL_API_KEY });

const { vm, vmId } = await step("create", () => freestyle.vms.create({ name: "first" }));
ok(/^[a-z0-9]{20}$/.test(vmId));
const first = await vm.getInfo();
equal(first.state, "running");
equal(first.name, "first");
ok((await freestyle.vms.list()).vms.some((listed) => listed.id === vmId));

await step("exec", async () => {
  const hello = await vm.exec("echo out; echo err >&2; pwd; exit 3");
  deepEqual(hello, { stdout: "out\n/root\n", stderr: "err\n", statusCode: 3 });
  const error = await rejects(vm.exec({ command: "sleep 30", timeoutMs: 300 }), "ExecTimedOutError");
  equal(error.body.timeoutMs, 300);
});

await step("files", async () => {
  await vm.fs.writeTextFile("/root/a b/ä.txt", "text\n");
  equal(await vm.fs.readTextFile("/root/a b/ä.txt"), "text\n");
  const bytes = Buffer.from([0, 255, 1, 254]);
  await vm.fs.writeFile("/root/a b/bytes", bytes);
  ok(bytes.equals(await vm.fs.readFile("/root/a b/bytes")));
  await vm.fs.mkdir("/root/a b/folder/deep", true);
  deepEqual(await vm.fs.readDir("/root/a b"), [
    { name: "bytes", kind: "file" },
    { name: "folder", kind: "directory" },
    { name: "ä.txt", kind: "file" },
  ]);
  const info = await vm.fs.stat("/root/a b/bytes");
  deepEqual([info.size, info.isFile, info.owner], [4, true, "root"]);
  await vm.fs.remove("/root/a b", true);
  equal(await vm.fs.exists("/root/a b"), false);
  await rejects(vm.fs.readFile("/root/nothing"), "FileNotFoundError");
});

await step("watch", async () => {
  const events = vm.fs.watchFiles();
  const seen = events.next();
  let told = false;
  seen.then(() => { told = true; });
  // The stream has begun once something that happens is told; what happened before it had is not.
  for (let number = 0; !told; number++) await vm.fs.writeTextFile(`/root/watched/deeper/${number}.txt`, "x");
  const { value } = await seen;
  ok(value.filename.startsWith("/root/watched"), value.filename);
  ok(["create", "modify", "rename"].includes(value.eventType), value.eventType);
  await events.return();
});

await step("terminal", async () => {
  await vm.exec({ command: "cd /tmp; export COLOR=red", terminal: "main" });
  const ran = await vm.exec({ command: "echo $COLOR in $PWD; test -t 1 && echo a terminal; false", terminal: "main" });
  deepEqual([ran.stdout, ran.statusCode], ["red in /tmp\na terminal\n", 1]);
  const { terminals } = await vm.terminals.list();
  deepEqual(terminals.map(({ name, status }) => [name, status]), [["main", "running"]]);
  const { logs } = await vm.terminals.getLogs({ terminalId: "main" });
  ok(logs.some(({ line }) => line === "red in /tmp"), JSON.stringify(logs));
  ok((await vm.terminals.getOutput({ terminalId: "main" })).output.includes("red in /tmp"));
});

await step("services", async () => {
  await vm.systemd.create({ name: "beat", mode: "service", exec: ["/bin/sh -c 'echo beating $KIND; exec sleep 1000'"], env: { KIND: "fast" } });
  const status = await vm.systemd.getStatus({ serviceId: "beat" });
  deepEqual([status.activeState, status.subState], ["active", "running"]);
  const { services } = await vm.systemd.list();
  ok(services.some(({ name }) => name === "beat.service"), JSON.stringify(services));
  const { results } = await vm.systemd.stop({ services: [{ id: "beat" }] });
  deepEqual(results.map(({ serviceId, success }) => [serviceId, success]), [["beat", true]]);
  await vm.systemd.start({ services: [{ id: "beat" }] });
  const { logs } = await vm.systemd.getLogs({ serviceId: "beat" });
  ok(logs.some(({ message }) => message === "beating fast"), JSON.stringify(logs));
  await rejects(vm.systemd.create({ name: "beat", mode: "service", exec: ["/bin/true"] }), "ServiceAlreadyExistsError");
  await vm.systemd.delete({ serviceId: "beat" });
  await rejects(vm.systemd.getStatus({ serviceId: "beat" }), "ServiceNotFoundError");
});

await step("pty", async () => {
  let shown = "";
  let heard = () => {};
  const onData = (data) => { shown += new TextDecoder().decode(data); heard(); };
  const until = async (text) => { while (!shown.includes(text)) await new Promise((resolve) => { heard = resolve; }); };
  const ended = {};
  ended.promise = new Promise((resolve) => { ended.resolve = resolve; });
  const pty = await vm.pty.open({ cols: 100, rows: 30, sessionId: "mine", onData, onExit: ended.resolve });
  equal(pty.sessionId, "mine");
  pty.write("stty size; echo o''ne\n");
  await until("one");
  ok(shown.includes("30 100"), shown);
  pty.resize({ cols: 90, rows: 20 });
  pty.write("stty size; echo t''wo\n");
  await until("20 90");
  pty.detach();
  const again = await vm.pty.attach({ sessionId: "mine", cols: 90, rows: 20, onData, onExit: ended.resolve });
  const [session] = (await vm.pty.list()).sessions;
  deepEqual([session.sessionId, session.running, session.cols], ["mine", true, 90]);
  again.write("exit 7\n");
  equal(await ended.promise, 7);
  deepEqual(await vm.pty.close({ sessionId: "mine" }), { sessionId: "mine", exitCode: 7 });
  await rejects(vm.pty.close({ sessionId: "mine" }), "SessionNotFoundError");
});

await step("identities", async () => {
  const account = await freestyle.whoami();
  const { identity, identityId } = await freestyle.identities.create();
  const { token, tokenId } = await identity.tokens.create();
  const guest = new Freestyle({ baseUrl: process.env.MOONPOOL_URL, accessToken: token });
  deepEqual(await guest.whoami(), { accountId: account.accountId, identityId });
  const theirs = guest.vms.ref({ vmId });
  await rejects(theirs.exec("true"), "VmAccessDeniedError");
  await identity.permissions.vms.grant({ vmId, allowedUsers: ["nobody"] });
  await rejects(theirs.exec("true"), "VmAccessDeniedError");
  equal((await theirs.user({ username: "nobody" }).exec("id -un")).stdout, "nobody\n");
  await identity.permissions.vms.update({ vmId, allowedUsers: null });
  equal((await theirs.exec("id -un")).stdout, "root\n");
  await rejects(guest.vms.create(), "AccessDeniedError");
  equal((await identity.permissions.vms.list()).total, 1);
  await identity.permissions.vms.revoke({ vmId });
  await rejects(identity.permissions.vms.get({ vmId }), "VmPermissionNotFoundError");
  await identity.tokens.revoke({ tokenId });
  await rejects(theirs.exec("true"), "UnauthorizedError");
  ok((await freestyle.identities.list()).identities.some(({ id }) => id === identityId));
  await freestyle.identities.delete({ identityId });
  await rejects(freestyle.identities.delete({ identityId }), "IdentityNotFoundError");
});

await step("logs", async () => {
  await vm.systemd.create({ name: "talk", mode: "oneshot", exec: ["/bin/sh -c 'echo said by talk'"] });
  const { logs } = await vm.getLogs({ vmService: "talk" });
  ok(logs.some(({ message, vmService }) => message === "said by talk" && vmService === "talk.service"), JSON.stringify(logs));
  ok((await freestyle.observability.getLogs({ vmId, search: "said by" })).logs.length > 0);
  await rejects(freestyle.observability.getLogs({}), "LogsNotFoundError");
});

await step("domains", async () => {
  const domain = `${vmId}.example.com`;
  equal((await freestyle.domains.mappings.create({ domain, vmId, vmPort: 8000 })).vmPort, 8000);
  ok((await freestyle.domains.mappings.list({ limit: 1000 })).mappings.some((mapping) => mapping.domain === domain));
  ok((await freestyle.domains.list()).some((owned) => owned.domain === domain));
  await freestyle.domains.mappings.delete({ domain });
  await rejects(freestyle.domains.verifications.create({ domain }), "FailedToCreateVerificationCodeError");
});

await step("suspend, resume by a command, stop, start", async () => {
  await vm.exec("echo kept > /dev/shm/memory");
  const suspended = await vm.suspend();
  ok(/^sl-[a-z0-9]{16}$/.test(suspended.snapshotLayerId));
  equal((await vm.getInfo()).state, "suspended");
  equal((await vm.exec("cat /dev/shm/memory")).stdout, "kept\n");
  const resumed = (await vm.getInfo()).vmInstanceId;
  ok(resumed !== suspended.vmInstanceId);
  equal((await vm.stop()).vmInstanceId, resumed);
  await rejects(vm.stop(), "VmNotRunningError");
  await rejects(vm.exec("true"), "VmNotRunningError");
  await vm.start({ idleTimeoutSeconds: 600 });
  equal((await vm.exec("cat /dev/shm/memory")).statusCode, 1);
});

await step("fork", async () => {
  await vm.exec("echo mine > /dev/shm/memory");
  const { forks } = await vm.fork({ count: 2 });
  equal(forks.length, 2);
  for (const fork of forks) {
    equal((await fork.vm.exec("cat /dev/shm/memory; echo other > /dev/shm/memory")).stdout, "mine\n");
    await fork.vm.delete();
  }
  equal((await vm.exec("cat /dev/shm/memory")).stdout, "mine\n");
});

await step("snapshot", async () => {
  const { snapshotId, sourceVmId } = await vm.snapshot({ name: "mine" });
  equal(sourceVmId, vmId);
  const copy = await freestyle.vms.create({ snapshotId });
  equal((await copy.vm.exec("cat /dev/shm/memory")).stdout, "mine\n");
  await copy.vm.delete();
  const handle = freestyle.vms.snapshots.ref({ snapshotId });
  equal((await handle.get()).state, "ready");
  await handle.update({ name: "renamed" });
  const { snapshots } = await freestyle.vms.snapshots.list();
  ok(snapshots.some((listed) => listed.snapshotId === snapshotId && listed.name === "renamed"));
  await freestyle.vms.snapshots.delete({ snapshotId });
  await rejects(freestyle.vms.snapshots.delete({ snapshotId }), "SnapshotAlreadyDeletedError");
});

await step("spec with a cached layer", async () => {
  const spec = () => new VmSpec()
    .users([{ name: "ada", groups: [] }])
    .additionalFiles({ "/opt/hello.sh": { content: "#!/bin/sh\necho hello\n", executable: true } })
    .runCommands("echo prepared > /root/prepared")
    .snapshot()
    .workdir("/srv");
  const one = await freestyle.vms.create({ spec: spec() });
  equal((await one.vm.exec("/opt/hello.sh; cat /root/prepared; pwd")).stdout, "hello\nprepared\n/srv\n");
  equal((await one.vm.user({ username: "ada" }).exec("id -un")).stdout, "ada\n");
  const build = await one.vm.getBuild();
  equal((await build.get()).state, "succeeded");
  ok((await build.phases()).length > 0);
  const two = await freestyle.vms.create({ spec: spec() });
  equal(two.snapshotId, one.snapshotId);
  await Promise.all([one.vm.delete(), two.vm.delete()]);
});

await step("errors", async () => {
  const failing = new VmSpec().runCommands("echo to be seen; exit 7");
  const error = await rejects(freestyle.vms.create({ spec: failing }), "VmSetupFailedError");
  ok(error.message.includes("to be seen"), error.message);
  const debug = await freestyle.vms.create({ snapshotId: error.body.snapshotId });
  await debug.vm.delete();
  const image = new VmSpec().baseImage(new VmBaseImage("FROM debian:trixie-slim\nNO"));
  await rejects(freestyle.vms.create({ spec: image }), "CreateVmBadRequestError");
  await rejects(freestyle.vms.create({ spec: new VmSpec().vcpuCount(3) }), "CreateVmVcpuNotPowerOfTwoError");
  await rejects(freestyle.vms.create({ snapshotId: "sc-aaaaaaaaaaaaaaaaaaaa" }), "SnapshotNotFoundError");
  await rejects(freestyle.vms.ref({ vmId: "a".repeat(20) }).getInfo(), "VmNotFoundError");
  const stranger = new Freestyle({ baseUrl: process.env.MOONPOOL_URL, apiKey: "no-such-key" });
  await rejects(stranger.vms.create(), "UnauthorizedError");
});

await step("resize", async () => {
  await vm.resize({ cpu: 2, storage: 20 });
  await rejects(vm.resize({ storage: 1 }), "ResizeVmRootfsShrinkNotSupportedError");
});

await step("await, kill, delete", async () => {
  const ended = vm.waitForExit();
  await vm.kill();
  deepEqual((await ended).id, vmId);
  await vm.delete();
  await rejects(vm.getInfo(), "VmDeletedError");
});
