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
      made("td", {}, made("code", { textContent: name }), needed.has(name) ? " *" : ""),
      made("td", { textContent: kind(shape) }),
      made("td", { textContent: (shape.description || "") + (shape.default !== undefined ? ` (default ${JSON.stringify(shape.default)})` : "") })));
  const head = made("tr", {}, ...["argument (* required)", "kind", "meaning"].map((text) => made("th", { textContent: text })));
  return made("table", {}, made("thead", {}, head), made("tbody", {}, ...rows));
}

function example(schema) {
  const body = {};
  for (const name of schema.required || []) body[name] = name === "appName" ? "myapp" : "";
  return JSON.stringify(body);
}

function tried(path, body) {
  const input = made("textarea", { value: body, spellcheck: false, ariaLabel: "Body" });
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
  return made("div", {}, input, button, answer);
}

function entry(path, method, operation) {
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  const schema = content ? content.schema : null;
  const call = method === "post" && schema
    ? `curl -X POST ${location.origin}${path} \\\n  -H "X-Api-Key: $API_KEY" -d '${example(schema)}'`
    : `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${location.origin}${path} -H "X-Api-Key: $API_KEY"`;
  const role = operation["x-role"];
  const title = path.startsWith("/execute/") ? path.slice("/execute/".length) : `${method.toUpperCase()} ${path}`;
  const found = made("details", {},
    made("summary", {},
      made("code", { textContent: title }),
      role ? made("span", { className: `role ${role}`, textContent: role }) : null,
      made("span", { textContent: operation.summary })),
    operation.description ? made("p", { textContent: operation.description }) : null,
    schema && schema.properties && Object.keys(schema.properties).length ? table(schema) : null,
    made("pre", { textContent: call }),
    path.startsWith("/execute/") ? tried(path, example(schema)) : null);
  found.dataset.words = `${title} ${operation.summary}`.toLowerCase();
  return found;
}

function show(described) {
  $("version").textContent = described.info.version;
  components = described.components;
  const groups = new Map();
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const group = (operation.tags || ["other"])[0];
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(entry(path, method, operation));
    }
  }
  $("tools").replaceChildren(...[...groups].map(([name, entries]) =>
    made("section", {}, made("h2", { textContent: name }), ...entries)));
  $("filter").hidden = false;
  $("told").textContent = `${Object.keys(described.paths).length} paths. The same for programs: /openapi.json`;
}

$("open").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const got = await fetch("/openapi.json", { headers: headers() });
    const answer = await got.json();
    $("told").className = got.ok ? "" : "bad";
    if (got.ok) show(answer);
    else $("told").textContent = `${got.status}: ${answer.error}`;
  } catch (error) {
    $("told").className = "bad";
    $("told").textContent = `The server does not answer: ${error.message}`;
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
