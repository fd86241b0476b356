// The API page: every route that /openapi.json describes, grouped by what it is for.

import { HubError, get } from "./hub.js";
import { make } from "./people.js";
import { prose, reader, stand } from "./schema.js";

const GROUPS = {
  chat: ["Chat", "Talk with an agent, as any OpenAI-compatible client does."],
  sessions: ["Sessions", "Conversations: list, open, continue, export, delete."],
  voice: ["Voice", "Talking in a browser: sessions, their socket, voices and how quick it all is."],
  calls: ["Calls", "Calls by voice: list, look into, place, end."],
  tasks: ["Tasks", "What personas do that takes more than an answer: hand in, approve, follow, steer."],
  operators: ["Operators", "How the hub is, who lives in it and what they are doing."],
  life: ["Life", "What the personas read, write and work towards."],
  access: ["Access", "The owner’s login, and tokens for programs."],
  internal: ["Internal", "For programs beside the hub: schedulers, Caddy, project servers."],
  integrations: ["Integrations", "What outside systems call."],
  pages: ["Pages", "What a browser is served."],
};
const METHODS = ["get", "post", "put", "patch", "delete"];
const FAILURES = {
  400: "the body or a field is wrong; error.param names it",
  401: "no token, or none that is valid",
  403: "the token, or where the request comes from, does not allow it",
  404: "there is no such thing",
  409: "it does not fit what is going on now",
  413: "the body is too large",
  422: "the language model’s provider refuses the request",
  429: "too many requests, or a budget is used up",
  502: "the language model’s provider failed",
  503: "overloaded, storage is away, or a setting is missing",
  504: "it took too long",
};
const SAID_MS = 2_000;

const at = (id) => document.getElementById(id);
const json = (content) => content?.["application/json"]?.schema;
let routes = []; // {item, group, words}

async function start() {
  const document_ = await get("/openapi.json");
  // Who we are tells whether curl will need a token.
  const bearer = (await get("/api/auth/verify")).name !== "local";
  at("version").textContent = document_.info.version;
  if (!bearer) at("how").textContent = "This hub is open to its own machine: requests from here need no token.";
  const read = reader(document_.components?.schemas ?? {});
  for (const [path, methods] of Object.entries(document_.paths))
    for (const method of METHODS)
      if (methods[method]) routes.push(route(method, path, methods[method], read, bearer));
  const known = Object.keys(GROUPS);
  const named = [...new Set([...known, ...routes.map(({ group }) => group)])];
  for (const name of named) showGroup(name, routes.filter(({ group }) => group === name));
  at("all").disabled = at("save").disabled = false;
  at("save").addEventListener("click", () => save(document_));
  filter();
  openLinked();
}

function showGroup(name, members) {
  if (!members.length) return;
  const [title, about] = GROUPS[name] ?? [name, ""];
  const section = make("section", "group");
  const heading = make("h2", "", title);
  section.id = name;
  heading.id = `${name}-title`;
  section.setAttribute("aria-labelledby", heading.id);
  section.append(heading, make("p", "", about), ...members.map(({ item }) => item));
  at("groups").append(section);
  const link = make("a", "", title);
  link.href = `#${name}`;
  const entry = make("li");
  entry.append(link);
  at("nav").append(entry);
}

function route(method, path, operation, read, bearer) {
  const [, need = "", meaning = ""] = /^Needs: (\w+) \((.*)\)$/m.exec(operation.description ?? "") ?? [];
  const more = (operation.description ?? "").replace(/^Needs: .*$/m, "").trim();
  const group = operation.tags?.[0] ?? "integrations";
  const item = make("details", "route");
  item.id = `${method}${path.replace(/[^A-Za-z0-9]+/g, "-")}`;
  const summary = make("summary");
  summary.append(
    make("span", `method ${method}`, method.toUpperCase()),
    make("code", "path", path),
    make("span", "about", (operation.summary ?? "").replaceAll("`", "")),
  );
  if (need) summary.append(make("span", "need", need));
  // In the address, to be passed on. Only when somebody asked: browsers limit how often it changes.
  summary.addEventListener("click", () => history.replaceState(null, "", `#${item.id}`));
  const inside = make("div", "inside");
  inside.append(...about(more));
  if (need) inside.append(make("p", "type", `Needs ${need === "public" ? "nothing" : need === "internal" ? meaning : `a token with the scope ${need}`}.`));
  inside.append(...parts(operation, read));
  inside.append(...curl(method, path, operation, read, bearer && need !== "public"));
  item.append(summary, inside);
  const fields = [...operation.parameters.map(({ name }) => name), ...read.names(json(operation.requestBody?.content))];
  const words = [method, path, operation.summary, more, need, group, ...fields].join(" ").toLowerCase();
  return { item, group, words };
}

/** Parameters, body, answers and failures, each under its heading. */
function parts(operation, read) {
  const shown = [];
  if (operation.parameters.length) {
    const list = make("ul", "fields");
    list.append(...operation.parameters.map(read.parameter));
    shown.push(make("h3", "", "Parameters"), list);
  }
  const body = json(operation.requestBody?.content);
  if (body) shown.push(make("h3", "", "Body"), ...about(body.description), ...read.show(body));
  const failures = [];
  for (const [status, { description, content }] of Object.entries(operation.responses)) {
    const schema = read.resolve(json(content));
    if (schema.title === "ErrorAnswer") failures.push([status, schema]);
    else shown.push(make("h3", "", `Answer ${status}`), ...about(description), given(read.show(schema)));
  }
  if (failures.length) shown.push(make("h3", "", "Failures"), ...failed(failures, read));
  return shown;
}

const about = (text) => text ? [prose("meant", text)] : [];

/** What the hub gives: nothing in it is required of anybody. */
function given(shown) {
  const box = make("div", "given");
  box.append(...shown);
  return box;
}

function failed(failures, read) {
  const list = make("ul", "fields");
  for (const [status] of failures) {
    const item = make("li");
    item.append(make("code", "name", status), make("span", "type", FAILURES[status] ?? "it failed"));
    list.append(item);
  }
  const shape = make("details", "inner");
  shape.append(make("summary", "", "What a failure looks like"), given(read.show(failures[0][1])));
  return [list, shape];
}

function curl(method, path, operation, read, bearer) {
  const query = [];
  for (const parameter of operation.parameters) {
    const value = stand(parameter);
    if (value === undefined) continue;
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    if (parameter.in === "query") query.push(`${parameter.name}=${encodeURIComponent(value)}`);
  }
  const body = json(operation.requestBody?.content);
  const lines = [`curl ${quoted(location.origin + path + (query.length ? `?${query.join("&")}` : ""))}`];
  if (method !== (body ? "post" : "get")) lines[0] = lines[0].replace("curl", `curl -X ${method.toUpperCase()}`);
  if (bearer) lines.push('-H "Authorization: Bearer $TRON_TOKEN"');
  if (body) lines.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(read.sample(body)))}`);
  const text = make("pre", "", lines.join(" \\\n  "));
  const button = make("button", "quiet", "Copy");
  button.type = "button";
  button.addEventListener("click", () => copy(text, button));
  const line = make("div", "line");
  line.append(make("h3", "", "With curl"), button);
  return [line, text];
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch { // no clipboard for pages over plain HTTP from another machine
    getSelection().selectAllChildren(text);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, SAID_MS);
}

function save(document_) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(document_, null, 2)], { type: "application/json" }));
  link.download = "openapi.json";
  link.click();
  URL.revokeObjectURL(link.href);
}

function filter() {
  const wanted = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { item, words } of routes) item.hidden = !wanted.every((word) => words.includes(word));
  for (const group of at("groups").children) group.hidden = !group.querySelector(".route:not([hidden])");
  const left = visible().length;
  at("none").hidden = left > 0;
  at("count").textContent = left === routes.length ? `${left} routes` : `${left} of ${routes.length} routes`;
  label();
}

const visible = () => routes.map(({ item }) => item).filter((item) => !item.hidden);
const label = () => { at("all").textContent = visible().some((item) => !item.open) ? "Open all" : "Close all"; };

function openLinked() {
  const linked = location.hash.length > 1 && at(decodeURIComponent(location.hash.slice(1)));
  if (!linked) return;
  if (linked.matches(".route")) linked.open = true;
  linked.scrollIntoView();
}

at("base-url").textContent = `${location.origin}/v1`;
at("filter").addEventListener("input", filter);
at("all").addEventListener("click", () => {
  const open = visible().some((item) => !item.open);
  for (const item of visible()) item.open = open;
  label();
});
at("groups").addEventListener("toggle", label, true);
window.addEventListener("hashchange", openLinked);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input")) {
    event.preventDefault();
    at("filter").focus();
  }
  if (event.key === "Escape" && event.target === at("filter")) {
    at("filter").value = "";
    filter();
  }
});
start().catch((error) => {
  at("count").textContent = "";
  at("problem").textContent = error instanceof HubError ? error.message : "The hub does not answer. Is it running?";
});
