// How the page talks to the hub: requests that carry the token, the way in, and answer streams.
// Callers: main.js, chat.js, talk.js, tasks.js, voice.js. Everything else in the page is free of fetch().

const TOKEN = "tron.token";
let asking = null; // one login dialog, however many requests are refused at once

export class HubError extends Error {}

/** GET `path` as JSON; asks for the password when the hub wants one. */
export async function get(path) {
  const response = await send(path, {});
  if (!response.ok) throw await failure(response);
  return response.json();
}

/** POST `body` as JSON. */
export async function post(path, body) {
  const response = await send(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw await failure(response);
  return response.json();
}

async function send(path, options) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (response.status !== 401) return response;
    sessionStorage.removeItem(TOKEN);
    await (asking ??= login().finally(() => { asking = null; }));
  }
}

async function failure(response) {
  const body = await response.json().catch(() => null);
  const error = body?.error ?? body?.detail;
  return new HubError(error?.message ?? (typeof error === "string" ? error : `The hub answered with status ${response.status}.`));
}

function login() {
  const dialog = document.getElementById("login");
  const form = document.getElementById("login-form");
  const field = document.getElementById("password");
  const problem = document.getElementById("login-error");
  return new Promise((opened) => {
    dialog.oncancel = (event) => event.preventDefault(); // nothing works without it
    form.onsubmit = async (event) => {
      event.preventDefault();
      problem.textContent = "";
      try {
        const response = await fetch("/api/auth/login", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ password: field.value }),
        });
        if (!response.ok) throw await failure(response);
        sessionStorage.setItem(TOKEN, (await response.json()).token);
      } catch (error) {
        problem.textContent = error instanceof HubError ? error.message : "The hub does not answer.";
        field.select();
        return;
      }
      field.value = "";
      dialog.close();
      opened();
    };
    dialog.showModal();
    field.focus();
  });
}

/**
 * Ask for a chat completion and yield `{session}`, then `{tool}` and `{chunk}` as they arrive.
 * Throws HubError when the hub refuses, fails on the way or hangs up; AbortError when stopped.
 */
export async function* answer(body, signal) {
  const response = await send("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!response.ok) throw await failure(response);
  yield { session: response.headers.get("x-tron-session") };
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new HubError("The answer broke off: the hub closed the connection.");
    const lines = (waiting + value).split("\n");
    waiting = lines.pop();
    for (const line of lines) {
      if (line.startsWith(": tool ")) yield { tool: line.slice(7).trim() };
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new HubError(chunk.error.message ?? String(chunk.error));
      yield { chunk };
    }
  }
}
