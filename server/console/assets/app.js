// Follows the view: what the server sends takes the place of the parts that have
// changed, so that focus and open details stay where they are.
"use strict";
(() => {
  const main = document.getElementById("view");
  const state = document.getElementById("state");
  if (!main || !window.EventSource) return;

  const say = (text, good) => {
    if (state.textContent !== text) state.textContent = text;
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

  const silence = 30000; // the server says at least every 15 seconds that it is there
  const pause = 5000; // before another try
  const ask = new URLSearchParams(location.search);
  ask.set("view", main.dataset.view);
  let events, timer;

  const after = (ms, then) => { clearTimeout(timer); timer = setTimeout(then, ms); };
  const close = () => { clearTimeout(timer); if (events) events.close(); };
  const later = (why) => { close(); say(why, false); after(pause, follow); };
  const heard = () => { say("live", true); after(silence, () => later("nothing comes from the gate; what you see is not new")); };

  const follow = () => {
    close();
    events = new EventSource("/live?" + ask);
    events.onopen = heard;
    events.addEventListener("alive", heard);
    events.onmessage = (e) => {
      heard();
      const next = main.cloneNode(false);
      next.innerHTML = e.data;
      morph(main, next);
    };
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) later("not followed: the gate lets no more views be followed now; what you see is not new"); // it would not try again by itself
      else say("the gate does not answer; what you see is not new", false);
    };
  };

  // A view that nobody sees holds no connection: browsers have six for a host.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { follow(); return; }
    close();
    say("not followed", false);
  });
  if (!document.hidden) follow();
})();
