// Does in CodeSandbox's words what a line of JSON asks for, and answers with one.
import { createInterface } from "node:readline";
import { CodeSandbox } from "@codesandbox/sdk";

const { sandboxes } = new CodeSandbox(process.env.MOONPOOL_API_KEY, { baseUrl: process.env.MOONPOOL_URL });

async function run(identifier, text) {
  const client = await (await sandboxes.resume(identifier)).connect();
  try {
    return (await client.commands.run(text)).trim();
  } finally {
    await client.disconnect();
    client.dispose();
  }
}

async function ask(verb, identifier, text) {
  if (verb === "create") return (await sandboxes.create()).id;
  if (verb === "list") return (await sandboxes.list()).sandboxes.map((sandbox) => sandbox.id);
  if (verb === "run") return run(identifier, text);
  if (verb === "state") {
    const { vms } = await sandboxes.listRunning();
    return vms.some((vm) => vm.id === identifier) ? "running" : "hibernated";
  }
  if (verb === "name") return (await sandboxes.get(identifier)).title;
  if (verb === "pause") await sandboxes.hibernate(identifier);
  else if (verb === "resume") await sandboxes.resume(identifier);
  else await sandboxes.delete(identifier);
  return null;
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await ask(...JSON.parse(line))));
}
