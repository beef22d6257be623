// The life of sandboxes and of the tokens for their hosts, without connecting to any.
import assert from "node:assert/strict";
import { CodeSandbox, VMTier } from "@codesandbox/sdk";

const { MOONPOOL_URL: baseUrl, MOONPOOL_API_KEY: key } = process.env;
const sdk = new CodeSandbox(key, { baseUrl });
const tag = `tag-${Date.now()}`;
const made = [];

async function create(options) {
  const sandbox = await sdk.sandboxes.create({ tags: [tag], ...options });
  made.push(sandbox.id);
  return sandbox;
}

async function running() {
  const { vms } = await sdk.sandboxes.listRunning();
  return new Map(vms.map((vm) => [vm.id, vm]));
}

try {
  const before = Date.now();
  const sandbox = await create({
    title: "A sandbox",
    description: "of the SDK",
    privacy: "unlisted",
    vmTier: VMTier.Nano,
    hibernationTimeoutSeconds: 600,
    automaticWakeupConfig: { http: true, websocket: true },
  });
  assert.equal(sandbox.bootupType, "FORK");
  assert.equal(sandbox.isUpToDate, true);
  assert.equal(typeof sandbox.cluster, "string");

  const info = await sdk.sandboxes.get(sandbox.id);
  assert.equal(info.title, "A sandbox");
  assert.equal(info.description, "of the SDK");
  assert.equal(info.privacy, "unlisted");
  assert.deepEqual(info.tags, [tag, "sdk"]);
  assert.ok(Math.abs(info.createdAt.getTime() - before) < 60_000);

  const vm = (await running()).get(sandbox.id);
  assert.deepEqual(vm.specs, { cpu: 2, memory: 4, storage: 20 });
  assert.ok(Math.abs(vm.sessionStartedAt.getTime() - before) < 60_000);
  await sandbox.updateTier(VMTier.Pico);
  await sandbox.updateHibernationTimeout(1200);
  assert.deepEqual((await running()).get(sandbox.id).specs, { cpu: 1, memory: 2, storage: 20 });

  const copy = await sdk.sandboxes.create({ id: sandbox.id, tags: [tag], privacy: "private" });
  made.push(copy.id);
  assert.equal(copy.bootupType, "FORK");
  assert.equal((await sdk.sandboxes.get(copy.id)).privacy, "private");

  const listed = await sdk.sandboxes.list({ tags: [tag], orderBy: "inserted_at", direction: "asc" });
  assert.deepEqual(listed.sandboxes.map(({ id }) => id), made);
  assert.equal(listed.totalCount, 2);
  assert.equal(listed.hasMore, false);
  const page = await sdk.sandboxes.list({ tags: [tag], limit: 1, pagination: { page: 1, pageSize: 1 } });
  assert.equal(page.sandboxes.length, 1);
  assert.equal(page.pagination.nextPage, 2);

  for (let turn = 0; turn < 2; turn++) await sdk.sandboxes.hibernate(sandbox.id);
  assert.equal((await running()).has(sandbox.id), false);
  assert.equal((await sdk.sandboxes.list({ tags: [tag], status: "running" })).totalCount, 1);
  assert.equal((await sdk.sandboxes.resume(sandbox.id)).bootupType, "RESUME");
  assert.equal((await sdk.sandboxes.resume(sandbox.id)).bootupType, "RUNNING");
  assert.equal((await sdk.sandboxes.restart(sandbox.id, { vmTier: VMTier.Nano })).bootupType, "CLEAN");
  assert.equal((await running()).get(sandbox.id).specs.cpu, 2);
  const many = await Promise.all(Array.from({ length: 4 }, () => sdk.sandboxes.resume(sandbox.id)));
  assert.deepEqual(new Set(many.map(({ bootupType }) => bootupType)), new Set(["RUNNING"]));

  const expiresAt = new Date(Date.now() + 3_600_000);
  const token = await sdk.hosts.createToken(sandbox.id, { expiresAt });
  assert.equal(token.sandboxId, sandbox.id);
  assert.deepEqual(token.expiresAt, expiresAt);
  assert.ok(sdk.hosts.getUrl(token, 3000).includes(token.token));
  const [only] = await sdk.hosts.listTokens(sandbox.id);
  assert.equal(only.tokenId, token.tokenId);
  assert.ok(token.token.startsWith(only.tokenPrefix));
  assert.equal((await sdk.hosts.updateToken(sandbox.id, token.tokenId, null)).expiresAt, null);
  await sdk.hosts.revokeToken(sandbox.id, token.tokenId);
  await sdk.hosts.createToken(sandbox.id, { expiresAt });
  await sdk.hosts.revokeAllTokens(sandbox.id);
  assert.deepEqual(await sdk.hosts.listTokens(sandbox.id), []);

  await sdk.sandboxes.shutdown(sandbox.id);
  await sdk.sandboxes.delete(sandbox.id);
  await assert.rejects(sdk.sandboxes.get(sandbox.id), /Sandbox not found/);
  await assert.rejects(sdk.sandboxes.create({ id: "nowhere" }), /Sandbox not found/);
  await assert.rejects(create({ title: "x".repeat(256) }), /title/);
  await assert.rejects(new CodeSandbox("wrong-key", { baseUrl }).sandboxes.list(), /Invalid credentials/);
} finally {
  await Promise.all(made.map((id) => sdk.sandboxes.delete(id).catch(() => {})));
}
