// A desktop, as users of Daytona's JavaScript SDK drive it.
import assert from "node:assert/strict";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Daytona } from "@daytonaio/sdk";

const { MOONPOOL_URL: url, MOONPOOL_API_KEY: apiKey } = process.env;
const daytona = new Daytona({ apiKey, apiUrl: `${url}/api` });
const EDITOR = "setsid mousepad notes.txt >/dev/null 2>&1 & xdotool search --sync --onlyvisible --class mousepad";

function size({ screenshot }) {
  const png = Buffer.from(screenshot, "base64");
  return [png.readUInt32BE(16), png.readUInt32BE(20)];
}

async function type(sandbox) {
  const { mouse, keyboard, display } = sandbox.computerUse;
  await sandbox.process.executeCommand("echo before >notes.txt");
  await sandbox.process.executeCommand(EDITOR, undefined, undefined, 60);
  const window = (await display.getWindows()).windows.find(({ title }) => title.includes("notes.txt"));
  await mouse.click(window.x + Math.floor(window.width / 2), window.y + Math.floor(window.height / 2));
  assert.equal((await mouse.getPosition()).x, window.x + Math.floor(window.width / 2));
  await keyboard.hotkey("ctrl+a");
  await keyboard.type("typed by an agent");
  await keyboard.press("s", ["ctrl"]);
  await sandbox.process.executeCommand("until grep -q 'by an agent' notes.txt; do sleep 0.1; done", undefined, undefined, 60);
  assert.equal(await mouse.scroll(500, 400, "down", 2), true);
  await mouse.drag(300, 300, 400, 350);
  await assert.rejects(mouse.click(5000, 5), /1024 x 768/);
  await assert.rejects(keyboard.press("NoSuchKey"), /is no key/);
}

async function elements({ computerUse: { accessibility } }) {
  const { root } = await accessibility.getTree({ scope: "all", maxDepth: 2 });
  assert.equal(root.role, "desktop frame");
  const { matches } = await accessibility.findNodes({ scope: "all", role: "text" });
  await accessibility.setNodeValue(matches[0].id, "set by its element");
  await accessibility.focusNode(matches[0].id);
}

async function films({ computerUse: { recording } }, folder) {
  const { id } = await recording.start("a film");
  await assert.rejects(recording.delete(id), /still runs/);
  const whole = await recording.stop(id);
  assert.equal(whole.status, "completed");
  const file = join(folder, "film.mp4");
  await recording.download(id, file);
  assert.equal((await readFile(file)).length, whole.sizeBytes);
  assert.deepEqual((await recording.list()).recordings.map((each) => each.id), [id]);
  await recording.delete(id);
  await assert.rejects(recording.get(id), /not found/);
}

const sandbox = await daytona.create({ snapshot: "daytona-desktop", envVars: { VNC_RESOLUTION: "1024x768" } });
try {
  const { computerUse } = sandbox;
  await assert.rejects(computerUse.screenshot.takeFullScreen(), /does not run/);
  await computerUse.start();
  assert.equal((await computerUse.getStatus()).status, "active");
  assert.deepEqual(size(await computerUse.screenshot.takeFullScreen(true)), [1024, 768]);
  assert.deepEqual(size(await computerUse.screenshot.takeCompressed({ scale: 0.5 })), [512, 384]);
  await type(sandbox);
  await elements(sandbox);
  await films(sandbox, await mkdtemp(join(tmpdir(), "desktop-")));
  await computerUse.restartProcess("xvfb");
  assert.equal((await computerUse.getStatus()).status, "active");
  assert.deepEqual(size(await computerUse.screenshot.takeFullScreen()), [1024, 768]);
  await computerUse.stop();
  assert.equal((await computerUse.getProcessStatus("xvfb")).running, false);
} finally {
  await sandbox.delete();
}
console.log("finished");
