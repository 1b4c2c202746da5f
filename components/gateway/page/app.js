// The page of the media application: accounts, uploads, live jobs, results. No framework.
//
// What a test or a user script can rely on:
//   #email #password #log-in #sign-up #account-error    the account card; shown while #welcome is
//   #log-out #who                                       shown while someone is logged in
//   #drop-zone #file-input                              takes files (drop, pick, set)
//   #jobs > li[data-state]                              one file; states in order:
//       waiting uploading | refused (not taken, only on this page)
//       queued converting | done | failed               (then also [data-job="ID"])
//     .job-name .job-state .job-meta                    its words
//     [role=progressbar][aria-valuenow]                 0 to 100, of the upload, then the conversion
//     .job-error                                        why it was refused or failed
//     [data-action=play|download|retry|cancel|delete]   its buttons, hidden where they do not apply
//     .player audio                                     after play
//   #notices > li[data-job][data-outcome]               what the notifier said
//   #page-error #account-error .job-error               all carry the class .error
//   #status                                             what a screen reader is told

import { $, LIVE, Row, formatTime, rowOf, rows, say, showError } from "/row.js";
import { Failure, authorized, eventsOf, request, session, whenExpired, wordsForStatus } from "/server.js";

/** Uploads at once, and jobs followed by event streams at once. Over HTTP/1.1 a browser opens six
    connections to a host: these leave one for everything else. */
const UPLOADS_MAX = 2;
const STREAMS_MAX = 3;
/** How often jobs without an event stream are asked for. */
const POLL_MS = 1500;
/** Pauses before an event stream is opened again. */
const RECONNECT_MS = [500, 1000, 2000, 5000, 10000];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// --- Account card -------------------------------------------------------------------------------

const form = $("account-form");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  withAccount(logIn);
});
$("sign-up").addEventListener("click", () => {
  withAccount(async (email, password) => {
    await request("/register", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email, password }),
    });
    await logIn(email, password);
  });
});
$("log-out").addEventListener("click", () => leave());
whenExpired(leave);

async function withAccount(action) {
  const email = $("email").value.trim();
  const password = $("password").value;
  const missing = !email ? $("email") : !password ? $("password") : null;
  for (const input of [$("email"), $("password")]) {
    input.setAttribute("aria-invalid", String(input === missing));
  }
  if (missing) {
    showError($("account-error"), missing === $("email") ? "Enter your e-mail address." : "Enter a password.");
    missing.focus();
    return;
  }
  showError($("account-error"), "");
  setBusy(true);
  try {
    await action(email, password);
  } catch (error) {
    showError($("account-error"), error.message);
  } finally {
    setBusy(false);
  }
}

async function logIn(email, password) {
  const response = await request("/login", {
    method: "POST",
    headers: { Authorization: `Basic ${base64(`${email}:${password}`)}` },
  });
  const { token } = await response.json();
  session.begin(token, email);
  $("password").value = "";
  enter();
  $("file-input").focus();
}

function base64(text) {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
}

function setBusy(busy) {
  $("log-in").disabled = busy;
  $("sign-up").disabled = busy;
}

function enter() {
  $("who").textContent = session.email;
  $("welcome").hidden = true;
  $("session").hidden = false;
  $("workspace").hidden = false;
  say("Logged in.");
  refreshJobs();
  refreshNotices();
}

function leave(reason = "") {
  if (!session.token) return;
  session.end();
  for (const row of [...rows]) row.remove();
  uploads.length = 0;
  $("notices").replaceChildren();
  $("notices-section").hidden = true;
  showError($("page-error"), "");
  showWelcome();
  showError($("account-error"), reason);
  $("email").focus();
  say(reason || "Logged out.");
}

function showWelcome() {
  $("session").hidden = true;
  $("workspace").hidden = true;
  $("welcome").hidden = false;
}

$("jobs").addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  const row = button && [...rows].find((candidate) => candidate.element.contains(button));
  if (row) act(row, button);
});

async function act(row, button) {
  const actions = { play, download, delete: deleteJob, retry: retryUpload, cancel: (r) => r.remove() };
  // Not disabled meanwhile: that would take the keyboard's focus away.
  if (row.busy) return;
  row.busy = true;
  button.setAttribute("aria-busy", "true");
  try {
    await actions[button.dataset.action](row);
  } catch (error) {
    if (error.name !== "AbortError") showError(row.part(".job-error"), error.message);
  } finally {
    row.busy = false;
    button.removeAttribute("aria-busy");
  }
}

/** Ids that an answer which was already on its way must not bring back. */
const deleted = new Set();

async function deleteJob(row) {
  try {
    await authorized(`/jobs/${row.job.id}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  deleted.add(row.job.id);
  row.remove();
  say(`${row.name} was deleted.`);
}

// --- Results ------------------------------------------------------------------------------------

/** Gives a URL of the result in this tab: a plain link could not carry the token. */
async function resultUrl(row) {
  if (!row.url) {
    const response = await authorized(`/download?fid=${row.job.id}`, { signal: row.scope.signal });
    try {
      row.url = URL.createObjectURL(await response.blob());
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("The download broke off. Try again.");
    }
  }
  return row.url;
}

function resultName(row) {
  return `${row.name.replace(/(.)\.[^.]*$/, "$1")}.mp3`;
}

async function play(row) {
  const url = await resultUrl(row);
  const player = row.part(".player");
  let audio = player.querySelector("audio");
  if (!audio) {
    audio = document.createElement("audio");
    audio.controls = true;
    audio.setAttribute("aria-label", resultName(row));
    audio.src = url;
    player.append(audio);
    player.hidden = false;
  }
  row.part("[data-action=play]").hidden = true;
  // One at a time.
  for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
  audio.focus();
  // Where playing needs another click, the controls are there.
  await audio.play().catch(() => {});
}

async function download(row) {
  const link = document.createElement("a");
  link.href = await resultUrl(row);
  link.download = resultName(row);
  document.body.append(link);
  link.click();
  link.remove();
}

// --- Uploads ------------------------------------------------------------------------------------

/** Rows that wait for their turn. */
const uploads = [];
let uploading = 0;

function addFiles(files) {
  for (const file of files) {
    const row = new Row(file.name, file.size);
    row.file = file;
    $("jobs").prepend(row.element);
    row.show("waiting");
    uploads.push(row);
  }
  if (files.length) say(files.length === 1 ? `Uploading ${files[0].name}.` : `Uploading ${files.length} files.`);
  startUploads();
}

function startUploads() {
  while (uploading < UPLOADS_MAX && uploads.length) {
    const row = uploads.shift();
    if (!rows.has(row)) continue;
    uploading += 1;
    upload(row)
      .then((id) => {
        row.file = null;
        row.update({ id, name: row.name, state: "queued", progress: 0, size_bytes: row.size, created_at: new Date().toISOString() });
        follow();
      })
      .catch((error) => {
        if (!rows.has(row)) return;
        row.show("refused", 0, error.message);
        say(`${row.name} was not uploaded. ${error.message}`);
        if (error.status === 401) leave(error.message);
        // An upload that is refused early can look like a broken line: ask what is really wrong.
        if (error.status === 0) refreshJobs();
      })
      .finally(() => {
        uploading -= 1;
        startUploads();
      });
  }
}

/** Sends a row's file and gives the new job's id. XMLHttpRequest, because fetch does not tell how far
    a request is. */
function upload(row) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    row.xhr = xhr;
    row.show("uploading", 0);
    xhr.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) row.show("uploading", event.loaded / event.total);
    });
    xhr.addEventListener("load", () => {
      row.xhr = null;
      if (xhr.status === 202 && xhr.response?.id) return resolve(xhr.response.id);
      reject(new Failure(xhr.response?.error ?? wordsForStatus(xhr.status), xhr.status));
    });
    xhr.addEventListener("error", () => reject(new Failure("The connection broke off; nothing was kept. Try again.")));
    xhr.addEventListener("abort", () => reject(new Failure("Cancelled.")));
    xhr.open("POST", "/upload");
    xhr.responseType = "json";
    xhr.setRequestHeader("Authorization", `Bearer ${session.token}`);
    const body = new FormData();
    body.append("file", row.file, row.file.name);
    xhr.send(body);
  });
}

function retryUpload(row) {
  row.show("waiting");
  uploads.push(row);
  startUploads();
}

$("file-input").addEventListener("change", (event) => {
  addFiles([...event.target.files]);
  event.target.value = "";
});

// A file that is dropped beside the zone must not replace the page.
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => event.preventDefault());
}
const zone = $("drop-zone");
let dragDepth = 0;
function drag(delta) {
  dragDepth = Math.max(0, dragDepth + delta);
  zone.classList.toggle("over", dragDepth > 0);
}
zone.addEventListener("dragenter", () => drag(1));
zone.addEventListener("dragleave", () => drag(-1));
zone.addEventListener("drop", (event) => {
  drag(-dragDepth);
  addFiles([...event.dataTransfer.files]);
});

// --- Jobs, live ---------------------------------------------------------------------------------

async function refreshJobs() {
  try {
    const jobs = await (await authorized("/jobs?limit=100")).json();
    showJobs(jobs);
    showError($("page-error"), "");
  } catch (error) {
    if (error.name === "AbortError" || error.status === 401) return;
    showError($("page-error"), error.message);
  }
  follow();
}

/** Takes the newest jobs, newest first. */
function showJobs(jobs) {
  for (const job of [...jobs].reverse()) {
    if (deleted.has(job.id)) continue;
    let row = rowOf(job.id);
    if (!row) {
      // Still being uploaded by this page: the upload's own answer names it in a moment.
      if ([...rows].some((r) => r.state === "uploading" && r.name === job.name)) continue;
      row = new Row(job.name, job.size_bytes);
      $("jobs").prepend(row.element);
    }
    row.update(job);
  }
}

/** Gives the oldest live jobs an event stream each, as many as there may be, and asks for the rest. */
function follow() {
  const live = [...rows].filter((row) => LIVE.has(row.state))
    .sort((a, b) => a.job.created_at.localeCompare(b.job.created_at));
  for (const row of live) {
    if ([...rows].filter((r) => r.streaming).length >= STREAMS_MAX) break;
    if (!row.streaming) stream(row);
  }
  if (live.some((row) => !row.streaming)) pollSoon();
}

let pollTimer = 0;
function pollSoon() {
  if (pollTimer) return;
  pollTimer = setTimeout(() => {
    pollTimer = 0;
    if (session.token) refreshJobs();
  }, POLL_MS);
}

/** Follows one job by server-sent events until it is settled or gone. Read with fetch, because an
    EventSource cannot carry the token. */
async function stream(row) {
  row.streaming = true;
  const scope = AbortSignal.any([session.signal, row.scope.signal]);
  let failures = 0;
  try {
    while (LIVE.has(row.state) && rows.has(row)) {
      try {
        const response = await authorized(`/jobs/${row.job.id}/events`, { signal: scope });
        for await (const { event, data } of eventsOf(response.body)) {
          failures = 0;
          if (event === "gone") row.remove();
          if (event === "job") row.update(JSON.parse(data));
        }
      } catch (error) {
        if (scope.aborted || error.status === 401) return;
        if (error.status === 404) return row.remove();
      }
      if (!LIVE.has(row.state)) break;
      await pause(RECONNECT_MS[Math.min(failures, RECONNECT_MS.length - 1)]);
      failures += 1;
    }
  } finally {
    row.streaming = false;
    if (session.token) follow();
  }
}

// --- Notices ------------------------------------------------------------------------------------

// The notifier hears of a job's end when this page does; look twice.
$("jobs").addEventListener("settled", () => {
  for (const ms of [700, 3000]) setTimeout(() => session.token && refreshNotices(), ms);
});

async function refreshNotices() {
  let notices;
  try {
    notices = await (await authorized("/notices?limit=10")).json();
  } catch {
    // The list stays as it is: each file says for itself how it went.
    return;
  }
  $("notices").replaceChildren(...notices.map((notice) => {
    const item = document.createElement("li");
    item.dataset.job = notice.job;
    item.dataset.outcome = notice.outcome;
    const text = document.createElement("span");
    text.textContent = notice.text;
    const when = document.createElement("time");
    when.dateTime = notice.created_at;
    when.textContent = formatTime(notice.created_at);
    item.append(text, when);
    return item;
  }));
  $("notices-section").hidden = notices.length === 0;
}

// --- Start --------------------------------------------------------------------------------------

if (session.token) {
  enter();
} else {
  showWelcome();
}
