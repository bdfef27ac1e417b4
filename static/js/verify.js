// Verifies an event's proof with nothing but what the page shows and the keys that the reader trusts. The server's word
// counts for nothing: the leaf's bytes are hashed here, the path is walked here (RFC 9162, 2.1.3.2), and the checkpoint's
// signature (C2SP signed-note) and cosignatures (tlog-cosignature) are checked here with WebCrypto.
//
// A step is {outcome, says}: outcome is "holds", "fails" or "open" (not checked, and why). One that fails is the end of
// it; the verdict is "Verified" only when leaf, path, root and the log's signature all hold.

const LOG = 0x01;
const WITNESS = 0x04;
const REMEMBERED = "pw-log-keys";
const ICONS = { holds: "circle-check", fails: "circle-x", open: "circle-dashed" };
const VERDICTS = {
  holds: ["ok", "shield-check", "Verified in this browser"],
  fails: ["bad", "shield-x", "Does not verify"],
  open: ["warn", "alert-triangle", "Checked only in part"],
};

class Fails extends Error {}

const utf8 = new TextEncoder();

document.addEventListener("click", async (event) => {
  const button = event.target.closest("#proof-verify");
  if (!button) return;
  button.disabled = true;
  show(await verify(readPage()));
  button.disabled = false;
  button.querySelector("span").textContent = "Verify again in this browser";
});

// Keys that were pasted once are there again on the next event.
document.addEventListener("change", ({ target }) => {
  if (target.id === "proof-keys") remember(target.value);
});
const keysField = document.getElementById("proof-keys");
if (keysField) keysField.value = remembered() || keysField.value;

function remember(text) {
  try {
    if (text.trim()) localStorage.setItem(REMEMBERED, text);
    else localStorage.removeItem(REMEMBERED);
  } catch {
    // Storage is switched off: the keys are good for this page only.
  }
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}

function readPage() {
  const text = (selector) => document.querySelector(selector)?.textContent ?? "";
  return {
    index: BigInt(document.getElementById("proof").dataset.index),
    leaf: text("#proof-leaf code"),
    leafHash: text("#proof-leaf-hash").trim(),
    path: [...document.querySelectorAll("#proof-path code")].map((code) => code.textContent.trim()),
    note: text("#proof-note"),
    keys: document.getElementById("proof-keys").value,
    facts: [...document.querySelectorAll("[data-leaf]")].map((part) => [part.dataset.leaf, part.textContent]),
  };
}

async function verify(page) {
  const steps = [];
  const holds = (says) => steps.push({ outcome: "holds", says });
  const open = (says) => steps.push({ outcome: "open", says });
  if (!globalThis.crypto?.subtle) {
    open("Nothing was checked: browsers give a page the means for it (WebCrypto) over HTTPS only.");
    return steps;
  }
  try {
    const hash = await leafHash(page.leaf);
    if (hex(hash) !== page.leafHash) {
      throw new Fails(`The bytes of this event hash to ${hex(hash)}, and the page says ${page.leafHash}.`);
    }
    holds(`The bytes of this event hash to leaf ${count(page.index)}.`);
    holds(`The leaf says: ${compareFacts(page)}. The facts shown above agree.`);
    const note = parseNote(page.note);
    if (page.index >= note.size) {
      throw new Fails(`The checkpoint is of ${count(note.size)} events: it does not cover event ${count(page.index)}.`);
    }
    const root = await walk(page.index, note.size, hash, page.path.map(fromHex));
    if (hex(root) !== hex(note.root)) {
      throw new Fails(`The path leads to the root ${hex(root)}, and the checkpoint says ${hex(note.root)}.`);
    }
    const siblings = page.path.length === 1 ? "1 sibling hash leads" : `${page.path.length} sibling hashes lead`;
    holds(`${siblings} from the leaf to the root of a tree of ${count(note.size)}: the checkpoint's root.`);
    await checkSignatures(note, await parseKeys(page.keys), holds, open);
  } catch (error) {
    if (!(error instanceof Fails)) console.error(error);
    steps.push({ outcome: "fails", says: error instanceof Fails ? error.message : `It cannot be read: ${error.message}` });
  }
  return steps;
}

// Returns what the leaf tells, in its own words; throws when the page tells another of the marked facts.
function compareFacts({ leaf, facts }) {
  const told = JSON.parse(leaf);
  const plain = (text) => text.replace(/\r\n?/g, "\n");
  for (const [path, shown] of facts) {
    const kept = String(path.split(".").reduce((part, name) => part?.[name], told) ?? "");
    if (plain(kept) !== plain(shown)) throw new Fails(`The page says “${shown}” (${path}), and the leaf says “${kept}”.`);
  }
  const { actor, action, outcome, target, at, reason } = told;
  const why = reason.length > 120 ? `${reason.slice(0, 120)}…` : reason;
  return `${actor.name} (${actor.kind}), ${action}, ${outcome}, ${target.kind} ${target.name}, ${at}${why && `, “${why}”`}`;
}

// RFC 6962, 2.1: the prefix keeps a leaf from passing as an inner node.
const leafHash = (leaf) => sha256(Uint8Array.of(0), utf8.encode(leaf));
const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

async function walk(index, size, leaf, path) {
  let [first, last, found] = [index, size - 1n, leaf];
  for (const sibling of path) {
    if (last === 0n) throw new Fails("The path has hashes too many.");
    if (first & 1n || first === last) {
      found = await nodeHash(sibling, found);
      while (!(first & 1n) && first) [first, last] = [first >> 1n, last >> 1n];
    } else {
      found = await nodeHash(found, sibling);
    }
    [first, last] = [first >> 1n, last >> 1n];
  }
  if (last !== 0n) throw new Fails("The path is too short.");
  return found;
}

function parseNote(raw) {
  const gap = raw.lastIndexOf("\n\n");
  const [origin, size, root, ...more] = raw.slice(0, gap + 1).split("\n");
  if (gap < 0 || !/^(0|[1-9]\d{0,18})$/.test(size) || more.some((line, at) => !line && at < more.length - 1)) {
    throw new Fails("The checkpoint is not a signed note.");
  }
  const signatures = raw.slice(gap + 2).split("\n").filter(Boolean).map((line) => {
    const [, name, encoded] = /^\u2014 (\S+) (\S+)$/.exec(line) ?? [];
    if (!name) throw new Fails("A signature of the checkpoint cannot be read.");
    const bytes = fromBase64(encoded);
    return { name, id: hex(bytes.slice(0, 4)), bytes: bytes.slice(4) };
  });
  return { text: raw.slice(0, gap + 1), origin, size: BigInt(size), root: fromBase64(root), signatures };
}

// A verifier key is written name+id+base64; the id is derived from the rest, so a slip of the pen is noticed.
async function parseKeys(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return Promise.all(lines.map(async (line) => {
    const [, name, id, encoded] = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(line) ?? [];
    const bytes = name ? fromBase64(encoded) : new Uint8Array();
    const kind = bytes[0];
    if (bytes.length !== 33 || (kind !== LOG && kind !== WITNESS)) throw new Fails(`This is not a verifier key: ${line}`);
    const derived = hex((await sha256(utf8.encode(`${name}\n`), bytes)).slice(0, 4));
    if (derived !== id) throw new Fails(`The key of ${name} says it has the id ${id}; it has ${derived}.`);
    return { name, id, kind, bytes: bytes.slice(1) };
  }));
}

async function checkSignatures(note, keys, holds, open) {
  const of = (signature) => keys.find((key) => key.name === signature.name && key.id === signature.id);
  const known = note.signatures.filter(of);
  // More than one while the log's key is being changed.
  const logs = known.filter((signature) => of(signature).kind === LOG && signature.name === note.origin);
  if (!logs.length) {
    const signers = note.signatures.map(({ name, id }) => `${name}+${id}`).join(", ");
    if (keys.some(({ kind }) => kind === LOG)) {
      throw new Fails(`None of your keys signed the checkpoint of ${note.origin}. It names as signers: ${signers}.`);
    }
    open("Not checked: who signed the checkpoint. Paste the log's verifier key below.");
    return;
  }
  for (const signature of [...logs, ...known.filter((one) => of(one).kind === WITNESS)]) {
    await checkSignature(note, signature, of(signature), holds, open);
  }
  for (const { name, id } of note.signatures.filter((one) => !of(one))) {
    open(`Not checked: the signature of ${name}+${id}, whose key is not among yours.`);
  }
}

async function checkSignature(note, { name, id, bytes }, { kind, bytes: raw }, holds, open) {
  const seen = kind === WITNESS ? new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0) : 0n;
  const message = kind === WITNESS ? `cosignature/v1\ntime ${seen}\n${note.text}` : note.text;
  const signature = kind === WITNESS ? bytes.slice(8) : bytes;
  let good;
  try {
    const key = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
    good = await crypto.subtle.verify({ name: "Ed25519" }, key, signature, utf8.encode(message));
  } catch {
    open(`Not checked: the signature of ${name}+${id}. This browser has no Ed25519; what stands above was checked.`);
    return;
  }
  if (!good) throw new Fails(`The signature of ${name}+${id} does not verify: that key did not sign this checkpoint.`);
  if (kind === LOG) holds(`The log key ${name}+${id} signed that root.`);
  else holds(`The witness ${name}+${id} cosigned it, as of ${new Date(Number(seen) * 1000).toISOString()}.`);
}

function show(steps) {
  const outcomes = new Set(steps.map(({ outcome }) => outcome));
  const signed = steps.some(({ outcome, says }) => outcome === "holds" && says.startsWith("The log key"));
  const verdict = outcomes.has("fails") ? "fails" : signed ? "holds" : "open";
  const [tone, name, words] = VERDICTS[verdict];
  const chip = document.createElement("span");
  chip.className = `pw-chip pw-${tone}`;
  chip.append(icon(name), words);
  document.getElementById("proof-verdict").replaceChildren(chip);
  document.getElementById("proof-steps").replaceChildren(...steps.map(({ outcome, says }) => {
    const item = document.createElement("li");
    const text = document.createElement("span");
    text.textContent = says;
    item.className = `pw-${outcome}`;
    item.append(icon(ICONS[outcome]), text);
    return item;
  }));
}

function icon(name) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  const sprite = document.querySelector("#proof use").getAttribute("href").replace(/#.*/, "");
  use.setAttribute("href", `${sprite}#tabler-${name}`);
  made.setAttribute("class", "pw-i");
  made.setAttribute("aria-hidden", "true");
  made.append(use);
  return made;
}

async function sha256(...parts) {
  const whole = new Uint8Array(await new Blob(parts).arrayBuffer());
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

const count = (number) => number.toLocaleString("en");
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function fromHex(text) {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new Fails(`This is not a hash: ${text}`);
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}

function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw new Fails(`This is not base64: ${text}`);
  }
}
