"use strict";
// The token of this tab; it is kept where only this tab finds it, or for as long as the page is open.
const Token = (() => {
  let held = "";
  const get = () => {
    try {
      return sessionStorage.getItem("token") ?? held;
    } catch {
      return held;
    }
  };
  const set = (token) => {
    held = token;
    try {
      sessionStorage.setItem("token", token);
    } catch {
      // the browser keeps nothing
    }
  };
  const headers = () => (get() ? { authorization: `Bearer ${get()}` } : {});
  return { get, set, headers };
})();

// Fetches this page again and again, and changes in place what is different, so that focus, scroll, selection and
// unfolded texts stay as they are.
{
  const EVERY_MS = 2000;
  const PATIENCE_MS = 8000;
  const ELEMENT = 1;
  const connection = document.getElementById("connection");
  const control = document.getElementById("refresh");
  const wanted = control.querySelector("input");
  let lastAnswer = new Date();

  const keyOf = (node) => (node.nodeType === ELEMENT ? node.getAttribute("data-key") : null);

  const patchAttributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  const patchChildren = (old, fresh) => {
    const keys = new Set([...fresh.childNodes].map(keyOf));
    for (const child of [...old.childNodes]) {
      if (keyOf(child) !== null && !keys.has(keyOf(child))) child.remove();
    }
    [...fresh.childNodes].forEach((child, place) => {
      const present = old.childNodes[place];
      if (!present) old.append(child);
      else if (keyOf(child) !== keyOf(present)) present.before(child);
      else patch(present, child);
    });
    while (old.childNodes.length > fresh.expected) old.lastChild.remove();
  };

  const patch = (old, fresh) => {
    if (old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
    } else if (old.nodeType !== ELEMENT) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      patchAttributes(old, fresh);
      fresh.expected = fresh.childNodes.length;
      patchChildren(old, fresh);
    }
  };

  const say = (text) => {
    if (connection.textContent !== text) connection.textContent = text;
    document.body.classList.toggle("stale", text !== "");
  };

  const refresh = async () => {
    try {
      const answer = await fetch(location.pathname, {
        cache: "no-store",
        headers: { accept: "text/html", ...Token.headers() },
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if ([401, 403].includes(answer.status)) {
        say("The server wants a token to show what is new.");
        return;
      }
      if (!answer.ok && answer.status !== 404) {
        say(`The server answers ${answer.status} since ${lastAnswer.toLocaleTimeString()}. This is what it said last.`);
        return;
      }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const live = fresh.getElementById("live");
      if (live === null) throw new Error("another page");
      patch(document.getElementById("live"), live);
      document.title = fresh.title;
      lastAnswer = new Date();
      say("");
      document.dispatchEvent(new Event("refreshed"));
    } catch {
      say(`The server does not answer since ${lastAnswer.toLocaleTimeString()}. This is what it said last.`);
    }
  };

  const turn = async () => {
    if (wanted.checked && !document.hidden) await refresh();
    setTimeout(turn, EVERY_MS);
  };

  document.getElementById("reload").hidden = true;
  control.hidden = false;
  setTimeout(turn, EVERY_MS);
}
