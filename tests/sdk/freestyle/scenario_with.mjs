// The packages with-nodejs and with-python, on freestyle-sandboxes 0.1.46. What they fetch from the internet is put there.
import { Freestyle, VmSpec } from "freestyle-sandboxes";
import { VmNodeJs } from "@freestyle-sh/with-nodejs";
import { VmPython } from "@freestyle-sh/with-python";
import { deepEqual, equal, step } from "./expect.mjs";

const freestyle = new Freestyle({ baseUrl: process.env.MOONPOOL_URL, apiKey: process.env.MOONPOOL_API_KEY });

// In place of curl: what nvm's own installer would leave, for the node that is there.
const CURL = `#!/bin/sh
echo 'mkdir -p /opt/nvm && echo "nvm() { echo nvm \\$*; }" > /opt/nvm/nvm.sh'
`;

const { vm } = await step("create", () => freestyle.vms.create({
  spec: new VmSpec({
    snapshot: new VmSpec({ additionalFiles: { "/usr/local/bin/curl": { content: CURL, executable: true } } }),
    with: { node: new VmNodeJs(), python: new VmPython() },
  }),
}));
try {
  await step("node", async () => {
    equal((await vm.exec("test -s /opt/nvm/nvm.sh && test -s /etc/profile.d/nvm.sh")).statusCode, 0);
    const ran = await vm.node.runCode({
      code: "console.log(JSON.stringify({ sum: 6 * 7, kind: process.env.KIND, argv: process.argv.slice(1) }))",
      argv: ["it's"],
      env: { KIND: "a b" },
      workdir: "/tmp",
    });
    deepEqual(ran.result, { sum: 42, kind: "a b", argv: ["it's"] }, JSON.stringify(ran));
    equal((await vm.node.runCode("process.exit(3)")).statusCode, 3);
  });
  await step("python", async () => {
    const ran = await vm.python.runCode("import json; print(json.dumps({'sum': 6 * 7}))");
    deepEqual([ran.result, ran.statusCode], [{ sum: 42 }, 0]);
    equal((await vm.python.runCode("raise SystemExit(4)")).statusCode, 4);
  });
} finally {
  await vm.delete();
}
