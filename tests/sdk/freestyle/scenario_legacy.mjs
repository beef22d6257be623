// freestyle-sandboxes 0.1.46: turns specs into templates, and layers into snapshots, by itself.
import { Freestyle, VmSpec } from "freestyle-sandboxes";
import { deepEqual, equal, ok, rejects, step } from "./expect.mjs";

const freestyle = new Freestyle({ baseUrl: `${process.env.MOONPOOL_URL}/`, apiKey: process.env.MOONPOOL_API_KEY });

const { vm, vmId } = await step("create", () => freestyle.vms.create({
  workdir: "/work",
  idleTimeoutSeconds: 300,
  additionalFiles: { "/work/file": { content: "dGV4dA==", encoding: "base64" } },
  systemd: { services: [{ name: "once", mode: "oneshot", bash: "echo ran > /work/once" }] },
}));

await step("use", async () => {
  equal((await vm.exec("pwd; cat file once")).stdout, "/work\ntextran\n");
  await vm.fs.writeTextFile("/work/new", "new");
  equal(await vm.fs.readTextFile("/work/new"), "new");
  ok((await vm.fs.readDir("/work")).some(({ name, kind }) => name === "new" && kind === "file"));
  await rejects(vm.fs.readFile("/nothing"), "FileNotFoundError");
  equal((await vm.systemd.getStatus({ serviceId: "once" })).activeState, "active");
  await vm.exec({ command: "echo here", terminal: "t" });
  deepEqual((await vm.terminals.list()).terminals.map(({ name }) => name), ["t"]);
});

await step("states", async () => {
  await vm.suspend();
  await vm.start();
  const { forks } = await vm.fork({ count: 1 });
  equal((await forks[0].vm.exec("cat new")).stdout, "new");
  await freestyle.vms.delete({ vmId: forks[0].vmId });
  await vm.delete();
  await rejects(vm.getInfo(), "VmDeletedError");
});

await step("layers", async () => {
  const spec = new VmSpec({ snapshot: new VmSpec({ additionalFiles: { "/srv/inner": { content: "inner" } } }) });
  const made = await freestyle.vms.create({ spec });
  equal((await made.vm.exec("cat /srv/inner")).stdout, "inner");
  await made.vm.delete();
});

await step("errors", async () => {
  const error = await rejects(freestyle.vms.create({
    systemd: { services: [{ name: "wrong", mode: "oneshot", exec: ["/bin/sh -c 'echo reason >&2; exit 1'"] }] },
  }), "VmSetupFailedError");
  ok(JSON.stringify(error.body.diagnostics).includes("reason"));
  await freestyle.vms.snapshots.delete({ snapshotId: error.body.snapshotId });
  await rejects(freestyle.vms.ref({ vmId: "b".repeat(20) }).exec("true"), "VmNotFoundError");
});
ok(vmId);
