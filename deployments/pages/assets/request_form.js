"use strict";
// Shows the signatures of a model and sends requests to it, through the API that all clients use.
(() => {
  const form = document.getElementById("form");
  if (form === null) return;

  const LONGEST_SHOWN = 20_000;
  const LONGEST_READ = 4_000_000;
  const MOST_TENSORS = 100;
  const PATIENCE_MS = 30_000;
  const INDENT = "  ";
  const part = (id) => document.getElementById(id);
  const [version, signature, method] = ["version", "signature", "method"].map(part);
  const [body, judged, outcome, answer] = ["body", "judged", "outcome", "answer"].map(part);
  const { model } = part("try").dataset;
  const drafts = new Map();
  let signatures = {};
  let learning = 0; // counts what was asked, so that a late answer does not replace a later one
  let unlearned = false; // whether to ask again, because nothing was said of the model
  let followed = "";
  let sending = null;
  let leaves = false;

  const say = (place, text) => {
    if (place.textContent !== text) place.textContent = text;
  };
  const made = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== "") node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  // Choices stay as they are while their names do; what was chosen stays chosen while it is there.
  const offer = (select, choices) => {
    const present = [...select.options].map((one) => `${one.value} ${one.textContent}`).join("\n");
    if (present === choices.map((one) => one.join(" ")).join("\n")) return;
    const before = select.value;
    select.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
    if (choices.some(([value]) => value === before)) select.value = before;
  };

  const url = () => {
    const [start, end] = method.value === "v2" ? ["v2", "/infer"] : ["v1", `:${verb()}`];
    return new URL(`../${start}/models/${model}${version.value}${end}`, location).href;
  };
  const verb = () => (["rows", "columns"].includes(method.value) ? "predict" : method.value);

  // Signatures

  const shapeText = (shape) => (shape === null ? "any" : shape.length ? shape.map((one) => (one < 0 ? "?" : one)).join(" × ") : "scalar");
  const row = (cells) => {
    const line = made("tr", "", { role: "row" });
    cells.forEach(([column, text], place) => {
      const attributes = place ? { role: "cell", "data-column": column } : { role: "rowheader", scope: "row" };
      line.append(made(place ? "td" : "th", text, attributes));
    });
    return line;
  };
  const tensorRows = (kind, described) => {
    const all = ExampleBody.tensors(described).sort(([a], [b]) => (a < b ? -1 : 1));
    const rows = all
      .slice(0, MOST_TENSORS)
      .map(([name, { dtype, shape }]) =>
        row([["Tensor", name], ["Kind", kind], ["Type", dtype.replace(/^DT_/, "").toLowerCase()], ["Shape", shapeText(shape)]]),
      );
    if (all.length > MOST_TENSORS) rows.push(row([["Tensor", `and ${all.length - MOST_TENSORS} more`], ["Kind", kind], ["Type", ""], ["Shape", ""]]));
    return rows;
  };
  const signatureTable = (name) => {
    const table = made("table", "", { role: "table", "aria-label": `Signature ${name}` });
    const caption = made("caption", "");
    const one = signatures[name];
    caption.append(made("h3", `Signature ${name}`), made("p", one.method_name, { class: "soft" }));
    const head = made("thead", "", { role: "rowgroup" });
    const titles = made("tr", "", { role: "row" });
    titles.append(...["Tensor", "Kind", "Type", "Shape"].map((title) => made("th", title, { role: "columnheader", scope: "col" })));
    head.append(titles);
    const content = made("tbody", "", { role: "rowgroup" });
    content.append(...tensorRows("input", one.inputs), ...tensorRows("output", one.outputs));
    table.append(caption, head, content);
    return table;
  };
  const showSignature = () => {
    part("signatures").replaceChildren(...(signature.value ? [signatureTable(signature.value)] : []));
  };

  const learn = async () => {
    const asked = ++learning;
    let isLasting = false;
    unlearned = false;
    try {
      const target = new URL(`../v1/models/${model}${version.value}/metadata`, location);
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const told = await fetch(target, { cache: "no-store", headers: Token.headers(), signal });
      const document = await told.json().catch(() => ({}));
      if (asked !== learning) return;
      if ([401, 403].includes(told.status)) part("access").open = true;
      isLasting = told.status < 500 && told.status !== 429;
      if (!told.ok) throw new Error(`${told.status} ${document.error ?? told.statusText}`);
      signatures = document.metadata.signature_def.signature_def;
      offer(signature, ExampleBody.callable(signatures).map((name) => [name, name]));
      offerMethods();
      showSignature();
    } catch (error) {
      if (asked !== learning) return;
      unlearned = !isLasting;
      signatures = {};
      offer(signature, []);
      offer(method, []);
      const text = `The signatures are not known: ${error.message}`;
      if (part("signatures").textContent !== text) part("signatures").replaceChildren(made("p", text, { class: "bad", role: "alert" }));
    }
    part("editor").hidden = !signature.value;
    draft();
  };

  const offerMethods = () => offer(method, signature.value ? ExampleBody.methods(signatures[signature.value]) : []);

  // Body

  const place = () => `${signature.value}\n${method.value}`;
  const example = () => {
    try {
      return ExampleBody.body(method.value, signature.value, signatures);
    } catch (error) {
      return `{}\n\nThere is no example: ${error.message}.`;
    }
  };
  const draft = () => {
    if (signature.value) body.value = drafts.get(place()) ?? example();
    judge();
  };
  const judge = () => {
    const problem = JsonText.problem(body.value);
    const filled = problem === "" && JsonText.hasFill(body.value);
    const count = signature.value ? ExampleBody.values(signatures[signature.value]) : 0;
    judged.className = problem ? "bad" : "soft";
    body.setAttribute("aria-invalid", String(problem !== ""));
    const note = filled ? ` $fill stands for a nested list of that shape, and is written out when it is sent (the example has ${count.toLocaleString("en")} values).` : "";
    say(judged, problem ? `Not JSON: ${problem}` : `Valid JSON.${note}`);
    showSnippets();
  };
  const showSnippets = () => {
    if (!method.value) return;
    const withToken = Token.get() !== "";
    say(part("curl"), Snippets.curl(url(), body.value, withToken));
    say(part("python"), Snippets.python(url(), body.value, withToken));
  };

  // Answer

  const bytesText = (count) => (count < 10_000 ? `${count.toLocaleString("en")} bytes` : `${Math.round(count / 1000).toLocaleString("en")} kB`);
  const timeText = (ms) => (ms < 100 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);

  // Reads a body to its end, or to more than can be shown.
  const readText = async (response) => {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let [text, count, more] = ["", 0, false];
    for (let got = await reader.read(); !got.done; got = await reader.read()) {
      count += got.value.length;
      if (text.length < LONGEST_SHOWN * 2) text += decoder.decode(got.value, { stream: true });
      if (count > LONGEST_READ) {
        more = true;
        await reader.cancel();
        break;
      }
    }
    return { text, count, more };
  };
  const shown = (text) => {
    const isWhole = text.length <= LONGEST_SHOWN;
    if (isWhole && JsonText.problem(text) === "") {
      try {
        return JsonText.pretty(text);
      } catch {
        return text; // too deep
      }
    }
    return isWhole ? text : `${text.slice(0, LONGEST_SHOWN)}\n…`;
  };
  const send = async () => {
    if (sending !== null || !method.value) return;
    sending = new AbortController();
    part("send").disabled = true;
    part("cancel").hidden = false;
    outcome.className = "";
    say(outcome, "Sending …");
    try {
      const content = JsonText.writtenOut(body.value);
      const began = performance.now();
      const headers = { "content-type": "application/json", ...Token.headers() };
      const response = await fetch(url(), { method: "POST", body: content, headers, signal: sending.signal });
      const { text, count, more } = await readText(response);
      const took = timeText(performance.now() - began);
      if ([401, 403].includes(response.status)) part("access").open = true;
      const size = `${more ? "more than " : ""}${bytesText(count)}${text.length > LONGEST_SHOWN ? ", the beginning is shown" : ""}`;
      outcome.className = response.ok ? "good" : "bad";
      say(outcome, `${response.status} ${response.statusText} in ${took} here, ${size}`);
      say(answer, shown(text));
      answer.hidden = text === "";
    } catch (error) {
      outcome.className = "bad";
      say(outcome, error.name === "AbortError" ? "Cancelled." : `Not answered: ${error.message}`);
      answer.hidden = true;
    } finally {
      sending = null;
      part("send").disabled = false;
      part("cancel").hidden = true;
    }
  };

  // What is shown was the answer to another request.
  const forget = () => {
    if (sending !== null) return;
    outcome.className = "";
    say(outcome, "Nothing has been sent yet.");
    answer.hidden = true;
  };

  // Keys and buttons

  const indent = (back) => {
    const { selectionStart: from, selectionEnd: to, value } = body;
    const lineStart = value.lastIndexOf("\n", from - 1) + 1;
    if (!back) body.setRangeText(INDENT, from, to, "end");
    else if (value.startsWith(INDENT, lineStart)) body.setRangeText("", lineStart, lineStart + INDENT.length, "preserve");
  };
  body.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leaves = true;
    else if (event.key === "Tab" && !leaves && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      indent(event.shiftKey);
      body.dispatchEvent(new Event("input"));
    } else if (event.key !== "Tab" && event.key !== "Shift") leaves = false;
  });
  body.addEventListener("blur", () => (leaves = false));
  body.addEventListener("input", () => {
    drafts.set(place(), body.value);
    judge();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    send();
  });
  part("send").addEventListener("click", send);
  part("cancel").addEventListener("click", () => sending?.abort());
  part("example").addEventListener("click", () => {
    drafts.delete(place());
    draft();
  });

  const copied = async (text, source) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      getSelection().selectAllChildren(source); // no clipboard outside secure contexts
      return document.execCommand("copy");
    }
  };
  for (const button of form.querySelectorAll("[data-copies]")) {
    button.addEventListener("click", async () => {
      const source = part(button.dataset.copies);
      say(part("copied"), "");
      const done = await copied(source.textContent, source);
      say(part("copied"), done ? `Copied ${source.getAttribute("aria-label")}.` : "Copying is not possible; the text is selected.");
    });
  }

  version.addEventListener("change", () => {
    forget();
    showSnippets(); // what is sent now goes there, whatever is still to be learnt
    learn();
  });
  signature.addEventListener("change", () => {
    forget();
    offerMethods();
    showSignature();
    draft();
  });
  method.addEventListener("change", () => {
    forget();
    draft();
  });
  part("token").value = Token.get();
  part("token").addEventListener("change", () => {
    Token.set(part("token").value.trim());
    learn();
  });

  const follow = () => {
    const choices = [...document.querySelectorAll(".choice")];
    part("try").hidden = choices.length === 0; // there is no such model
    offer(version, choices.map((one) => [one.value, one.textContent]));
    const before = followed;
    followed = choices.map((one) => `${one.value} ${one.textContent} ${one.dataset.since}`).join("\n");
    if (choices.length && (before !== followed || unlearned)) learn();
  };
  document.addEventListener("refreshed", follow);
  part("scriptless").hidden = true;
  form.hidden = false;
  follow();
})();
