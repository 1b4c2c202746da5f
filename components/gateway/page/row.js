// One file on the page, from the moment it is chosen to its result: what its row shows in each state.

export const $ = (id) => document.getElementById(id);

export function showError(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

/** Tells a screen reader. */
export function say(text) {
  $("status").textContent = text;
}

/** Every row, in no order; the list element has the order. */
export const rows = new Set();
const SETTLED = new Set(["done", "failed"]);
export const LIVE = new Set(["queued", "converting"]);
const WORDS = { waiting: "Waiting", queued: "In the queue", done: "Ready", failed: "Failed", refused: "Not uploaded" };
const ACTIONS = {
  play: ["done"],
  download: ["done"],
  retry: ["refused"],
  cancel: ["waiting", "uploading", "refused"],
  delete: ["queued", "converting", "done", "failed"],
};

export class Row {
  constructor(name, size) {
    this.element = $("job-template").content.firstElementChild.cloneNode(true);
    this.part = (selector) => this.element.querySelector(selector);
    this.scope = new AbortController();
    this.name = name;
    this.size = size;
    this.job = null;
    this.file = null;
    this.xhr = null;
    this.streaming = false;
    this.part(".job-name").textContent = name;
    this.part(".meter").setAttribute("aria-label", `Progress of ${name}`);
    for (const button of this.element.querySelectorAll("[data-action]")) this.label(button, button.textContent);
    rows.add(this);
  }

  /** Words on a button; heard without the row around it, it says which file it means. */
  label(button, text) {
    button.textContent = text;
    button.setAttribute("aria-label", `${text}: ${this.name}`);
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
    this.label(this.part("[data-action=cancel]"), state === "refused" ? "Dismiss" : "Cancel");
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
      this.element.dispatchEvent(new CustomEvent("settled", { bubbles: true }));
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

export function rowOf(id) {
  return [...rows].find((row) => row.job?.id === id);
}

function countRows() {
  $("jobs-empty").hidden = rows.size > 0;
  const open = [...rows].filter((row) => !SETTLED.has(row.state) && row.state !== "refused").length;
  $("jobs-count").textContent = open ? `${open} in progress` : "";
}

// --- Numbers and moments in words ----------------------------------------------------------------

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

export function formatTime(text) {
  const moment = new Date(text);
  const today = moment.toDateString() === new Date().toDateString();
  return moment.toLocaleString(undefined, today
    ? { hour: "2-digit", minute: "2-digit" }
    : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}
