// Does in Freestyle's words what a line of JSON asks for, and answers with one.
import { createInterface } from "node:readline";
import { Freestyle } from "freestyle";

const freestyle = new Freestyle({ apiKey: process.env.MOONPOOL_API_KEY, baseUrl: process.env.MOONPOOL_URL });

async function ask(verb, identifier, text) {
  if (verb === "create") return (await freestyle.vms.create()).vmId;
  if (verb === "list") return (await freestyle.vms.list()).vms.map((vm) => vm.id);
  const { vm } = await freestyle.vms.get({ vmId: identifier });
  if (verb === "run") return (await vm.exec(text)).stdout.trim();
  const info = await vm.getInfo();
  if (verb === "state") return info.state;
  if (verb === "name") return info.name;
  await { pause: () => vm.suspend(), resume: () => vm.start(), destroy: () => vm.delete() }[verb]();
  return null;
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await ask(...JSON.parse(line))));
}
