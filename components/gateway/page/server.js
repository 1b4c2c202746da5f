// Talking to the server: who is logged in, requests, and failures in words for a person.
//
// The token lives in sessionStorage: it ends with the tab.

export const session = {
  get token() { return sessionStorage.getItem("token"); },
  get email() { return sessionStorage.getItem("email"); },
  get signal() { return scope.signal; },
  begin(token, email) {
    scope = new AbortController();
    sessionStorage.setItem("token", token);
    sessionStorage.setItem("email", email);
  },
  end() {
    scope.abort();
    sessionStorage.removeItem("token");
    sessionStorage.removeItem("email");
  },
};

/** Ends every request of a session when it does. */
let scope = new AbortController();

/** Called with the reason when the server no longer accepts the token. */
let onExpired = () => {};
export function whenExpired(callback) {
  onExpired = callback;
}

/** A failure in words for a person. */
export class Failure extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const OFFLINE = "The server cannot be reached. Check your connection and try again.";

export async function request(path, options = {}) {
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

export function wordsForStatus(status) {
  if (status === 413) return "This file is too large.";
  if (status === 503) return "The server is busy. Try again in a moment.";
  return `The server answered with an error (${status}). Try again.`;
}

/** A request in the name of who is logged in. */
export async function authorized(path, options = {}) {
  try {
    return await request(path, {
      signal: session.signal,
      ...options,
      headers: { ...options.headers, Authorization: `Bearer ${session.token}` },
    });
  } catch (error) {
    if (error.status === 401) onExpired(error.message);
    throw error;
  }
}

/** Splits a stream of server-sent events (HTML, section 9.2) into events with data. */
export async function* eventsOf(body) {
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
