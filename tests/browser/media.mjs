// A person at the page: signs up, drops files, watches, listens, downloads, reads the error.
//
//   node media.mjs URL OUTPUT_DIR CLIP LONG_CLIP NOT_MEDIA
//
// Exits with 0 when everything was as it should be; what was not is the last thing it prints.
// Screenshots and the downloaded file are left in OUTPUT_DIR.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import { chromium } from "playwright-core";

const [url, output, clip, longClip, notMedia] = process.argv.slice(2);

/** Every wait ends: conversions on a busy machine are the slowest of them. */
const WITHIN_MS = 120_000;

const email = `person-${process.pid}-${Date.now()}@example.com`;
const password = "correct horse battery staple";

const profile = await mkdtemp(join(tmpdir(), "wharf-browser-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  viewport: { width: 1100, height: 900 },
  acceptDownloads: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
  ],
});

const complaints = [];
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(WITHIN_MS);
  page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    // A refused login is logged by the browser itself.
    const expected = /status of (401|409)/.test(message.text());
    if (message.type() === "error" && !expected) complaints.push(`console: ${message.text()}`);
  });
  await visit(page);
  assert.deepEqual(complaints, []);
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
console.log("the page does what it should");

async function visit(page) {
  await page.goto(url);
  await page.locator("#welcome").waitFor();
  await shot(page, "1-welcome");

  await refuseWrongLogin(page);
  await signUpByKeyboard(page);
  await shot(page, "2-empty");

  await page.locator("#file-input").setInputFiles([longClip, clip, notMedia]);
  const long = row(page, longClip);
  await seeProgress(page, long);
  await shot(page, "3-converting");

  await reachState(row(page, clip), "done");
  await readError(page);
  await reachState(long, "done");
  await shot(page, "4-done");

  await listen(page);
  await shot(page, "5-playing");
  await download(page);
  await seeNotices(page);
  await comeBack(page);
  await onATelephone(page);
}

async function refuseWrongLogin(page) {
  await page.locator("#email").fill("nobody@example.com");
  await page.locator("#password").fill("not the password");
  await page.locator("#log-in").click();
  await page.locator("#account-error:not([hidden])").waitFor();
  const words = await page.locator("#account-error").textContent();
  assert.match(words, /wrong/i);
  assert.ok(await page.locator("#workspace").isHidden());
}

/** Without a mouse: tab to each field, type, press. */
async function signUpByKeyboard(page) {
  await page.locator("#email").focus();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type(email);
  await page.keyboard.press("Tab");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type(password);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "sign-up");
  await page.keyboard.press("Enter");
  await page.locator("#workspace").waitFor();
  assert.equal((await page.locator("#who").textContent()).trim(), email);
}

function row(page, file) {
  return page.locator("#jobs > li", { hasText: basename(file) });
}

async function reachState(job, state) {
  await job.and(job.page().locator(`[data-state=${state}]`)).waitFor();
}

/** The bar must move while the conversion runs, not only jump to its end. */
async function seeProgress(page, job) {
  await reachState(job, "converting");
  const seen = new Set();
  const deadline = Date.now() + WITHIN_MS;
  while (seen.size < 2) {
    assert.ok(Date.now() < deadline, `the bar moves; seen: ${[...seen]}`);
    const state = await job.getAttribute("data-state");
    const value = Number(await job.locator("[role=progressbar]").getAttribute("aria-valuenow"));
    if (state === "converting" && value > 0 && value < 100) seen.add(value);
    assert.notEqual(state, "done", `only ${[...seen]} were seen before the end`);
    await page.waitForTimeout(50);
  }
}

async function readError(page) {
  const job = row(page, notMedia);
  await reachState(job, "failed");
  const words = (await job.locator(".job-error").textContent()).trim();
  assert.ok(words.length > 10 && words.length < 200, words);
  assert.ok(!/undefined|\[object|Error:|null/.test(words), words);
  assert.ok(await job.locator("[data-action=download]").isHidden());
}

async function listen(page) {
  const job = row(page, clip);
  await job.locator("[data-action=play]").click();
  const audio = job.locator(".player audio");
  await audio.waitFor();
  const played = await audio.evaluate(async (element, limit) => {
    const failed = () => element.error?.message ?? "it does not play";
    const deadline = Date.now() + limit;
    element.muted = true;
    await element.play();
    while (element.currentTime < 0.5) {
      if (Date.now() > deadline || element.error) throw new Error(failed());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return { duration: element.duration, position: element.currentTime };
  }, WITHIN_MS);
  assert.ok(Math.abs(played.duration - 6) < 0.1, `it plays ${played.duration} s`);
}

async function download(page) {
  const [event] = await Promise.all([
    page.waitForEvent("download"),
    row(page, clip).locator("[data-action=download]").click(),
  ]);
  assert.equal(event.suggestedFilename(), basename(clip).replace(/\.\w+$/, ".mp3"));
  await event.saveAs(join(output, event.suggestedFilename()));
}

async function seeNotices(page) {
  await page.locator("#notices > li[data-outcome=converted]").first().waitFor();
  await page.locator("#notices > li[data-outcome=failed]").first().waitFor();
}

/** After a reload the list is the server's; after logging out nothing of it is left. */
async function comeBack(page) {
  await page.reload();
  await reachState(row(page, clip), "done");
  await row(page, notMedia).locator("[data-action=delete]").click();
  await row(page, notMedia).waitFor({ state: "detached" });
  assert.equal(await page.locator("#jobs > li").count(), 2);
}

async function onATelephone(page) {
  await page.setViewportSize({ width: 390, height: 844 });
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  assert.equal(overflow, 0, "nothing sticks out at the side");
  await shot(page, "6-telephone");
  await page.locator("#log-out").click();
  await page.locator("#welcome").waitFor();
  assert.equal(await page.locator("#jobs > li").count(), 0);
}

async function shot(page, name) {
  await page.screenshot({ path: join(output, `${name}.png`), fullPage: true });
}
