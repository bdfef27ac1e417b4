// Keeps the page's numbers fresh in place: every 5 s one request for the page itself, and each element marked
// `data-live` (with an id) is morphed into its new form. One response feeds them all, so counts agree.
//
// What htmx 4.0 (as django-htmx 1.29 ships it, 4.0.0-beta6) does, read in its source:
// - `hx-trigger="every 5s"` fires a non-bubbling event `every`; filters (`every 5s[expr]`), `hx-on` and `js:` need
//   eval, which the CSP refuses, so suspending is done here, by cancelling `htmx:config:request`.
// - Swap styles `innerMorph` and `outerMorph` match nodes by id, then by tag; attributes are copied from the server,
//   properties (a ticked checkbox, typed text, focus, scroll) stay. A node missing in the response goes away.
// - `hx-select-oob` takes several parts out of one response; `ctx.selectOOB` may be set in `htmx:config:request`.
// - `hx-morph-skip` and `hx-morph-skip-children` leave a node, or what a script drew in it, alone.
// - An extension's `htmx_before_morph_attr` returning false keeps one attribute: used for `open`.
// - Event names have colons: htmx:config:request, htmx:before:request, htmx:after:swap, htmx:response:error,
//   htmx:error (no answer at all). Answers from 400 up would be swapped in by default: `noSwap` forbids it.
// - `includeIndicatorCSS` and history handling are switched off in the `htmx-config` meta element.

const poller = document.getElementById("pw-live");
let freshAt = Date.now();
let trouble = "";

// A dialog or a `details` that somebody opened stays open.
htmx.registerExtension("pw-keep-open", {
  htmx_before_morph_attr: (element, { attrName }) => attrName !== "open",
});

poller?.addEventListener("htmx:config:request", (event) => {
  if (document.hidden) {
    event.preventDefault();
    return;
  }
  const parts = [...document.querySelectorAll("[data-live][id]")];
  event.detail.ctx.selectOOB = parts.map((part) => `#${CSS.escape(part.id)}:outerMorph`).join(",");
});

// A session that ended answers with the sign-in page: nothing of it belongs into this one.
poller?.addEventListener("htmx:before:response", (event) => {
  const { raw } = event.detail.ctx.response;
  if (raw.redirected && new URL(raw.url).pathname !== location.pathname) {
    event.preventDefault();
    fail("You are signed out. Reload the page to sign in again");
  }
});

poller?.addEventListener("htmx:response:error", (event) => {
  const { ctx } = event.detail;
  ctx.selectOOB = null;
  fail(`The console answered ${ctx.response.status}`);
});

poller?.addEventListener("htmx:error", () => fail("The console does not answer"));

poller?.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx.response.status >= 400) return;
  freshAt = Date.now();
  trouble = "";
  document.dispatchEvent(new CustomEvent("pw:live"));
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && Date.now() - freshAt > 5000) poller?.dispatchEvent(new CustomEvent("pw:refresh"));
});

setInterval(stamp, 1000);

function fail(why) {
  trouble = why;
  stamp();
}

// The next answer morphs the stamp back into the server's.
function stamp() {
  const fresh = document.getElementById("pw-fresh");
  if (!fresh || !trouble) return;
  const seconds = Math.round((Date.now() - freshAt) / 1000);
  fresh.classList.add("pw-stale");
  fresh.title = `${trouble}. Nothing on this page has changed since.`;
  fresh.textContent = `Stale, ${seconds} s old`;
}
