"use strict";

const $ = (id) => document.getElementById(id);

function made(name, attributes = {}, ...within) {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...within.filter((each) => each !== null));
  return element;
}

function headers() {
  const role = $("role").value;
  return { "X-Api-Key": $("key").value, ...(role ? { "X-Role": role } : {}) };
}

/** Text of a docstring: what stands between backticks is code. */
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? made("code", { textContent: part }) : part));
}

let components = {};

function resolved(shape) {
  return shape.$ref ? components.schemas[shape.$ref.split("/").pop()] : shape;
}

function kind(shape) {
  if (shape.enum && shape.enum.length > 8) return "text, one of many";
  if (shape.enum) return shape.enum.map((each) => JSON.stringify(each)).join(" or ");
  if (shape.const !== undefined) return JSON.stringify(shape.const);
  if (shape.anyOf) return [...new Set(shape.anyOf.map(kind))].filter((each) => each !== "null").join(" or ");
  if (shape.type === "array") return `list of ${shape.items ? kind(shape.items) : "anything"}`;
  return shape.type || "anything";
}

function table(schema) {
  const needed = new Set(schema.required || []);
  const properties = Object.entries(schema.properties).map(([name, shape]) => [name, resolved(shape)]);
  const rows = properties.map(([name, shape]) =>
    made("tr", {},
      made("td", {}, made("code", { textContent: name }), needed.has(name) ? made("sup", { textContent: " *", title: "required" }) : ""),
      made("td", { textContent: kind(shape) }),
      made("td", {}, ...prose(shape.description || ""), shape.default !== undefined ? ` (default ${JSON.stringify(shape.default)})` : "")));
  const head = made("tr", {}, ...["argument", "kind", "meaning"].map((text) => made("th", { textContent: text })));
  return made("table", {}, made("thead", {}, head), made("tbody", {}, ...rows));
}

function example(schema) {
  const body = {};
  for (const name of schema.required || []) body[name] = name === "appName" ? "myapp" : "";
  return JSON.stringify(body);
}

function tried(path, body) {
  const input = made("textarea", { value: body, spellcheck: false, ariaLabel: "Body", rows: 1 });
  const button = made("button", { textContent: "Call it" });
  const answer = made("pre", { hidden: true });
  button.addEventListener("click", async () => {
    button.disabled = true;
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const got = await fetch(path, { method: "POST", headers: headers(), body: input.value });
      const text = await got.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it is */ }
      answer.className = got.ok ? "" : "bad";
      answer.textContent = `${got.status} ${got.statusText}\n${shown}`;
    } catch (error) {
      answer.className = "bad";
      answer.textContent = `The server does not answer: ${error.message}`;
    }
    button.disabled = false;
  });
  return made("div", { className: "try" }, input, button, answer);
}

function command(text) {
  const block = made("pre", { textContent: text });
  if (!navigator.clipboard) return block; // only there on loopback and with TLS
  const button = made("button", { textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
  return block;
}

function entry(path, method, operation, closed) {
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  const schema = content ? content.schema : null;
  const call = method === "post" && schema
    ? `curl -X POST ${location.origin}${path} \\\n  -H "X-Api-Key: $API_KEY" -d '${example(schema)}'`
    : `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${location.origin}${path} -H "X-Api-Key: $API_KEY"`;
  const role = operation["x-role"];
  const tool = path.startsWith("/execute/");
  const title = tool ? path.slice("/execute/".length) : `${method.toUpperCase()} ${path}`;
  const found = made("details", { className: closed.has(title) ? "closed" : "" },
    made("summary", {},
      made("code", { textContent: title }),
      made("span", {}, ...prose(operation.summary)),
      role ? made("span", { className: `role ${role}`, textContent: role }) : null),
    made("div", { className: "inside" },
      ...(operation.description || "").split("\n\n").map((each) => made("p", {}, ...prose(each))),
      schema && schema.properties && Object.keys(schema.properties).length ? table(schema) : null,
      command(call),
      tool ? tried(path, example(schema)) : null));
  found.dataset.words = `${title} ${operation.summary}`.toLowerCase();
  return found;
}

function show(described, capabilities) {
  $("version").textContent = described.info.version;
  components = described.components;
  const closed = new Set(capabilities.capabilities.filter((each) => !each.allowed).map((each) => each.name));
  const groups = new Map();
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const group = (operation.tags || ["other"])[0];
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(entry(path, method, operation, closed));
    }
  }
  $("tools").replaceChildren(...[...groups].map(([name, entries]) =>
    made("section", { id: name }, made("h2", { textContent: name }), made("div", {}, ...entries))));
  $("groups").replaceChildren(...[...groups].map(([name, entries]) =>
    made("a", { href: `#${name}` }, name, made("span", { textContent: entries.length }))));
  $("groups").hidden = $("filter").hidden = false;
  const every = capabilities.capabilities.length;
  const which = closed.size ? `${every - closed.size} of ${every} tools; the others are grey` : `all ${every} tools`;
  $("told").textContent = `As ${capabilities.role} you may call ${which}. Programs read the same at /openapi.json.`;
}

async function asked(path) {
  const got = await fetch(path, { headers: headers() });
  const answer = await got.json();
  if (!got.ok) throw new Error(`${got.status}: ${answer.error}`);
  return answer;
}

$("open").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const found = await Promise.all([asked("/openapi.json"), asked("/capabilities")]);
    $("told").className = "";
    show(...found);
  } catch (error) {
    $("told").className = "bad";
    $("told").textContent = error.message;
  }
});

$("filter").addEventListener("input", () => {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("#tools section")) {
    let any = false;
    for (const each of section.querySelectorAll("details")) {
      each.hidden = !words.every((word) => each.dataset.words.includes(word));
      any = any || !each.hidden;
    }
    section.hidden = !any;
  }
});
