// Opens a Vite dev server's page in Chromium through its preview, edits its source, and sees the page change by itself.
import { chromium } from "playwright-core";

const { PREVIEW_URL, MOONPOOL_URL, MOONPOOL_API_KEY, SANDBOX } = process.env;
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];

const upload = async (path, text) => {
  const form = new FormData();
  form.append("file", new Blob([text]), "file");
  const url = `${MOONPOOL_URL}/toolbox/${SANDBOX}/files/upload?path=${encodeURIComponent(path)}`;
  const answer = await fetch(url, { method: "POST", body: form, headers: { Authorization: `Bearer ${MOONPOOL_API_KEY}` } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
};

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [...flags, "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage();
  let loads = 0;
  page.on("load", () => loads++);
  page.on("console", (message) => console.error(message.text()));
  page.on("requestfailed", (request) => console.error(request.url(), request.failure()?.errorText));
  await page.goto(PREVIEW_URL);
  await page.locator("#app", { hasText: "before" }).waitFor();
  await page.waitForFunction(() => globalThis.connected);
  await upload("/tmp/site/text.js", 'export const text = "after";\n');
  await page.locator("#app", { hasText: "after" }).waitFor();
  console.log(`changed after ${loads} load`);
} finally {
  await browser.close();
}
