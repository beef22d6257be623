// Images as users of Daytona's JavaScript SDK declare them: their files go by way of the object storage.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Daytona, Image } from "@daytonaio/sdk";

const { MOONPOOL_URL: url, MOONPOOL_API_KEY: apiKey, IMAGE } = process.env;
const daytona = new Daytona({ apiKey, apiUrl: `${url}/api` });
const folder = await mkdtemp(join(tmpdir(), "builds-"));
await mkdir(join(folder, "dir/deep"), { recursive: true });
await writeFile(join(folder, "one"), "1\n");
await writeFile(join(folder, "dir/deep/two"), "2\n");
await writeFile(join(folder, "Dockerfile"), `FROM ${IMAGE}\nWORKDIR /app\nCOPY one dir ./\nCOPY d*/deep /deep\n`);

async function check(image, command, expected) {
  const said = [];
  const sandbox = await daytona.create({ image }, { timeout: 120, onSnapshotCreateLogs: (line) => said.push(line) });
  const done = await sandbox.process.executeCommand(command);
  assert.deepEqual([done.exitCode, done.result.split(/\s+/).filter(Boolean)], [0, expected], said.join(""));
  await sandbox.delete();
}

const declared = Image.base(IMAGE)
  .addLocalFile(join(folder, "one"), "/srv/one")
  .addLocalDir(join(folder, "dir"), "/srv/dir")
  .env({ THREE: "3" })
  .workdir("/srv")
  .runCommands("cat one dir/deep/two > made && echo $THREE >> made")
  .dockerfileCommands(["COPY one /srv/copied"], folder)
  .cmd(["sleep", "1000"]);
await check(declared, "cat /srv/made /srv/copied; pwd", ["1", "2", "3", "1", "/srv"]);
await check(Image.fromDockerfile(join(folder, "Dockerfile")), "cat one deep/two /deep/two", ["1", "2", "2"]);
process.stdout.write("finished\n");
