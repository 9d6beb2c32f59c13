// Follows the view: what the server sends takes the place of the parts that have
// changed, so that focus and open details stay where they are.
"use strict";
(() => {
  const main = document.getElementById("view");
  const state = document.getElementById("state");
  if (!main || !window.EventSource) return;

  const say = (text, good) => {
    state.textContent = text;
    state.className = good ? "good" : "late";
  };

  const morph = (from, to) => {
    if (from.isEqualNode(to)) return;
    const same = from.nodeType === to.nodeType && from.nodeName === to.nodeName && from.id === to.id;
    if (!same) { from.replaceWith(to.cloneNode(true)); return; }
    if (from.nodeType !== Node.ELEMENT_NODE) { from.nodeValue = to.nodeValue; return; }
    const kept = from.nodeName === "DETAILS" ? ["open"] : [];
    for (const a of [...from.attributes]) if (!to.hasAttribute(a.name) && !kept.includes(a.name)) from.removeAttribute(a.name);
    for (const a of to.attributes) if (from.getAttribute(a.name) !== a.value) from.setAttribute(a.name, a.value);
    const byId = new Map([...from.children].filter((c) => c.id).map((c) => [c.id, c]));
    let at = from.firstChild;
    for (const next of [...to.childNodes]) {
      const known = next.id && byId.get(next.id);
      if (known && known !== at) from.insertBefore(known, at);
      const here = known || at;
      if (!here || (!known && here.id && here.id !== next.id)) { from.insertBefore(next.cloneNode(true), at); continue; }
      at = here.nextSibling;
      morph(here, next);
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  };

  const ask = new URLSearchParams(location.search);
  ask.set("view", main.dataset.view);
  const events = new EventSource("/live?" + ask);
  events.onopen = () => say("live", true);
  events.onerror = () => say("the gate does not answer; what you see is not new", false);
  events.onmessage = (e) => {
    const next = main.cloneNode(false);
    next.innerHTML = e.data;
    morph(main, next);
  };
})();
