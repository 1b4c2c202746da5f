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
//
// The token lives in sessionStorage: it ends with the tab.

const $ = (id) => document.getElementById(id);

/** Uploads at once, and jobs followed by event streams at once. Over HTTP/1.1 a browser opens six
    connections to a host: these leave one for everything else. */
const UPLOADS_MAX = 2;
const STREAMS_MAX = 3;
/** How often jobs without an event stream are asked for. */
const POLL_MS = 1500;
/** Pauses before an event stream is opened again. */
const RECONNECT_MS = [500, 1000, 2000, 5000, 10000];

// --- Session ------------------------------------------------------------------------------------

const session = {
  get token() { return sessionStorage.getItem("token"); },
  get email() { return sessionStorage.getItem("email"); },
  begin(token, email) {
    sessionStorage.setItem("token", token);
    sessionStorage.setItem("email", email);
  },
  end() {
    sessionStorage.removeItem("token");
    sessionStorage.removeItem("email");
  },
};

/** Ends every request of a session when it does. */
let sessionScope = new AbortController();

/** A failure in words for a person. */
class Failure extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const OFFLINE = "The server cannot be reached. Check your connection and try again.";

async function request(path, options = {}) {
  let response;
  try {
    // Without credentials, a 401 never opens the browser's own password dialog.
    response = await fetch(path, { credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(OFFLINE);
  }
  if (response.ok) return response;
  throw new Failure(await wordsOf(response), response.status);
}

async function wordsOf(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string" && error) return error;
  } catch {
    // Not JSON: whatever stands in front of the gateway answered.
  }
  return wordsForStatus(response.status);
}

function wordsForStatus(status) {
  if (status === 413) return "This file is too large.";
  if (status === 503) return "The server is busy. Try again in a moment.";
  return `The server answered with an error (${status}). Try again.`;
}

/** A request in the name of who is logged in. */
async function authorized(path, options = {}) {
  try {
    return await request(path, {
      signal: sessionScope.signal,
      ...options,
      headers: { ...options.headers, Authorization: `Bearer ${session.token}` },
    });
  } catch (error) {
    if (error.status === 401) leave(error.message);
    throw error;
  }
}

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
  sessionScope = new AbortController();
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
  sessionScope.abort();
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

// --- Small things -------------------------------------------------------------------------------

function showError(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

function say(text) {
  $("status").textContent = text;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const UNITS = ["B", "kB", "MB", "GB", "TB"];
function formatBytes(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${bytes.toLocaleString(undefined, { maximumFractionDigits: unit && bytes < 100 ? 1 : 0 })} ${UNITS[unit]}`;
}

function formatDuration(seconds) {
  const whole = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function formatTime(text) {
  const moment = new Date(text);
  const today = moment.toDateString() === new Date().toDateString();
  return moment.toLocaleString(undefined, today
    ? { hour: "2-digit", minute: "2-digit" }
    : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

// --- Rows: one file each ------------------------------------------------------------------------

/** Every row, in no order; the list element has the order. */
const rows = new Set();
const SETTLED = new Set(["done", "failed"]);
const LIVE = new Set(["queued", "converting"]);
const WORDS = { waiting: "Waiting", queued: "In the queue", done: "Ready", failed: "Failed", refused: "Not uploaded" };
const ACTIONS = {
  play: ["done"],
  download: ["done"],
  retry: ["refused"],
  cancel: ["waiting", "uploading", "refused"],
  delete: ["queued", "converting", "done", "failed"],
};

class Row {
  constructor(name, size) {
    this.element = $("job-template").content.firstElementChild.cloneNode(true);
    this.part = (selector) => this.element.querySelector(selector);
    this.scope = new AbortController();
    this.job = null;
    this.file = null;
    this.xhr = null;
    this.streaming = false;
    this.part(".job-name").textContent = name;
    this.part(".meter").setAttribute("aria-label", `Progress of ${name}`);
    for (const button of this.element.querySelectorAll("[data-action]")) {
      button.setAttribute("aria-label", `${button.textContent}: ${name}`);
    }
    this.name = name;
    this.size = size;
    rows.add(this);
  }

  get state() { return this.element.dataset.state; }

  show(state, progress = 0, error = "") {
    this.element.dataset.state = state;
    const percent = Math.round(progress * 100);
    this.part(".job-state").textContent =
      state === "uploading" ? (percent < 100 ? `Uploading ${percent} %` : "Finishing upload")
        : state === "converting" ? `Converting ${percent} %`
          : WORDS[state];
    const meter = this.part(".meter");
    meter.setAttribute("aria-valuenow", String(percent));
    meter.setAttribute("aria-valuetext", this.part(".job-state").textContent);
    this.part(".meter-fill").style.transform = state === "queued" ? "" : `scaleX(${progress})`;
    showError(this.part(".job-error"), error);
    for (const [action, states] of Object.entries(ACTIONS)) {
      this.part(`[data-action=${action}]`).hidden = !states.includes(state);
    }
    this.part(".job-meta").textContent = this.meta();
    countRows();
  }

  meta() {
    const parts = [];
    if (this.job?.duration_seconds !== undefined) parts.push(formatDuration(this.job.duration_seconds));
    parts.push(formatBytes(this.job?.size_bytes ?? this.size));
    if (this.job) parts.push(formatTime(this.job.created_at));
    return parts.join(" · ");
  }

  /** Shows what the server says of this job. A settled job stays as it is. */
  update(job) {
    if (SETTLED.has(this.state)) return;
    const before = this.state;
    this.job = job;
    this.element.dataset.job = job.id;
    this.show(job.state, job.progress, job.error);
    if (before !== job.state && SETTLED.has(job.state) && before) {
      say(job.state === "done" ? `${job.name} is ready.` : `${job.name} failed. ${job.error}`);
      noticesSoon();
    }
  }

  /** Takes the row off the page, with whatever still runs for it. */
  remove() {
    const hadFocus = this.element.contains(document.activeElement);
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
    this.scope.abort();
    this.xhr?.abort();
    if (this.url) URL.revokeObjectURL(this.url);
    rows.delete(this);
    this.element.remove();
    countRows();
    if (hadFocus) (next?.querySelector("[data-action]:not([hidden])") ?? $("file-input")).focus();
  }
}

function rowOf(id) {
  return [...rows].find((row) => row.job?.id === id);
}

function countRows() {
  $("jobs-empty").hidden = rows.size > 0;
  const open = [...rows].filter((row) => !SETTLED.has(row.state) && row.state !== "refused").length;
  $("jobs-count").textContent = open ? `${open} in progress` : "";
}

$("jobs").addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  const row = button && [...rows].find((candidate) => candidate.element.contains(button));
  if (row) act(row, button);
});

async function act(row, button) {
  const actions = { play, download, delete: deleteJob, retry: retryUpload, cancel: (r) => r.remove() };
  button.disabled = true;
  try {
    await actions[button.dataset.action](row);
  } catch (error) {
    if (error.name !== "AbortError") showError(row.part(".job-error"), error.message);
  } finally {
    button.disabled = false;
  }
}

async function deleteJob(row) {
  try {
    await authorized(`/jobs/${row.job.id}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) throw error;
  }
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
  const scope = AbortSignal.any([sessionScope.signal, row.scope.signal]);
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

/** Splits a stream of server-sent events (HTML, section 9.2) into events with data. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (pending + value).split("\n\n");
      pending = blocks.pop();
      for (const block of blocks) {
        const event = { event: "message", data: "" };
        for (const line of block.split("\n")) {
          const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
          if (field === "event") event.event = text;
          if (field === "data") event.data += text;
        }
        if (event.data) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// --- Notices ------------------------------------------------------------------------------------

/** The notifier hears of a job's end when this page does; look twice. */
function noticesSoon() {
  for (const ms of [700, 3000]) setTimeout(() => session.token && refreshNotices(), ms);
}

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
