// The operations that the SDK has methods for, and no part of it uses.
import assert from "node:assert/strict";
import { API } from "@codesandbox/sdk";

const { MOONPOOL_URL: baseUrl, MOONPOOL_API_KEY: apiKey } = process.env;
const api = new API({ apiKey, config: { baseUrl } });
const made = [];

async function keep(promise) {
  const answer = await promise;
  made.push(answer.id);
  return answer;
}

try {
  const { data: info } = await api.getMetaInfo();
  assert.ok(info.auth.scopes.includes("vm_manage"));
  assert.ok(info.rate_limits.concurrent_vms.remaining > 0);
  const { clusters } = await api.listVmClusters();
  assert.equal(clusters.length, 1);

  const files = { "src/index.js": { code: "console.log(6 * 7)" } };
  const sandbox = await keep(api.createSandbox({ files, title: "With files", runtime: "vm", privacy: 2 }));
  const started = await api.startVm(sandbox.id, { tier: "Nano", retryDelay: 200 });
  assert.equal(started.bootupType, "FORK");
  assert.equal((await api.updateVmSpecs2(sandbox.id, { tier: "Pico" })).tier, "Pico");
  const { tag_id } = await api.createVmTag({ vm_ids: [sandbox.id] });
  const alias = `v${Date.now()}`;
  assert.equal((await api.assignVmTagAlias("raw-api", alias, { tag_id })).tag_id, tag_id);
  const copy = await keep(api.forkSandbox(`raw-api@${alias}`, { start_options: { tier: "Pico" } }));
  assert.equal(copy.start_response.id, copy.id);

  const git = { git_user_name: "Anna", git_user_email: "anna@example.com", git_access_token: "t0ken" };
  const session = await api.createSession(copy.id, { session_id: "anna", permission: "write", ...git });
  assert.equal(session.username, "csb-anna");
  assert.equal(session.user_workspace_path, started.userWorkspacePath);

  const token = await api.createToken(info.auth.team, { description: alias, scopes: ["sandbox_read"] });
  const reader = new API({ apiKey: token.token, config: { baseUrl } });
  assert.equal((await reader.getSandbox(sandbox.id)).title, "With files");
  await assert.rejects(reader.deleteVm(sandbox.id), /Unauthorized/);
  const expires_at = new Date(Date.now() - 1000).toISOString();
  await api.updateToken(info.auth.team, token.token_id, { expires_at });
  await assert.rejects(reader.getSandbox(sandbox.id), /expired/);
  const workspace = await api.createWorkspace({ name: "another" });
  assert.equal(workspace.name, "another");
  assert.notEqual(workspace.id, info.auth.team);
  await assert.rejects(api.createToken(workspace.id, { description: "of another" }), /not found/i);
  await assert.rejects(api.createSandbox({ files: { "../x": { code: "" } } }), /no path/);
} finally {
  await Promise.all(made.map((id) => api.deleteVm(id).catch(() => {})));
}
