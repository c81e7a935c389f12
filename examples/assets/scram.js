// SCRAM-SHA-256 in the browser (RFC 5802, RFC 7677; in HTTP as RFC 7804): the password never leaves the page.

import { fault, normal } from "./opaque.js";

const text = new TextEncoder();
const LEAST = 4096, MOST = 10_000_000;
const USER_NAME = /^[a-z0-9._@-]{1,64}$/i;
const STRANGE_ANSWER = "The Portal does not answer as it should.";

const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const bytes = (encoded) => Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));

/** What a person can do something about; `field` is what to do it in. */
export class Refused extends Error {
  constructor(sentence, field) {
    super(sentence);
    this.field = field;
  }
}

/** The password as it is hashed. */
function opaque(password) {
  const wrong = fault(password);
  if (wrong) throw new Refused(wrong, "password");
  return normal(password);
}

async function hmac(key, message) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, typeof message === "string" ? text.encode(message) : message));
}

const sha256 = async (message) => new Uint8Array(await crypto.subtle.digest("SHA-256", message));

/** RFC 5802 §3: SaltedPassword, and the keys that follow from it. */
async function keys(opaque, salt, iterations) {
  const raw = await crypto.subtle.importKey("raw", text.encode(opaque), "PBKDF2", false, ["deriveBits"]);
  const salted = await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, raw, 256);
  const client = await hmac(salted, "Client Key");
  return { client, stored: await sha256(client), server: await hmac(salted, "Server Key") };
}

/** What the Portal keeps of a new password. */
export async function verifier(password, iterations) {
  const chosen = opaque(password);
  if ([...chosen].length < 8) throw new Refused("A new password has at least 8 characters.", "password");
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const { stored, server } = await keys(chosen, salt, iterations);
  return { salt: base64(salt), iterations, stored_key: base64(stored), server_key: base64(server) };
}

/** Whether two are the same, looked at wholly whatever they begin with. */
function same(mine, theirs) {
  let differs = mine.length ^ theirs.length;
  for (let at = 0; at < mine.length; at++) differs |= mine[at] ^ theirs[at];
  return differs === 0;
}

/** The attributes of a header of RFC 7804. */
function attributes(header) {
  const found = {};
  for (const [, name, quoted, bare] of (header ?? "").matchAll(/([a-z]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))/gi)) {
    found[name.toLowerCase()] = quoted ?? bare;
  }
  return found;
}

const parts = (message) => Object.fromEntries(message.split(",").map((part) => [part[0], part.slice(2)]));

/** The sentence with which the Portal refuses. */
async function why(answer) {
  const { message } = await answer.json().catch(() => ({}));
  return message ? `${message[0].toUpperCase()}${message.slice(1)}.` : STRANGE_ANSWER;
}

/** One of the two requests of an exchange. Whatever is neither a challenge nor success is a refusal. */
async function ask(authorization) {
  const headers = { Authorization: authorization };
  const answer = await fetch("/api/v1/login?cookie=1", { headers, cache: "no-store" }).catch(() => {
    throw new Refused("The Portal does not answer. Is there a connection to it?");
  });
  if (answer.status === 403) throw new Refused("This account is banned. An admin can tell why, and let you in again.");
  if (answer.status !== 401 && answer.status !== 200) throw new Refused(await why(answer));
  return answer;
}

/** Proves to the Portal that we know the password, and has the Portal prove that it knows us. The session comes as a cookie. */
export async function signIn(name, password) {
  if (!crypto.subtle) throw new Refused("This page was not loaded securely: the browser offers no cryptography here.");
  if (!USER_NAME.test(name.trim())) throw new Refused("A user name has only letters a to z, digits, and . _ - @", "name");
  const chosen = opaque(password);
  const nonce = base64(crypto.getRandomValues(new Uint8Array(18)));
  const bare = `n=${name.trim().toLowerCase()},r=${nonce}`;
  const challenge = await ask(`SCRAM-SHA-256 data="${btoa(`n,,${bare}`)}"`);
  const { sid, data } = attributes(challenge.headers.get("WWW-Authenticate"));
  if (challenge.status !== 401 || !sid || !data) throw new Refused(STRANGE_ANSWER);
  const serverFirst = atob(data);
  const { r, s, i } = parts(serverFirst);
  const iterations = Number(i);
  // RFC 5802 §5.1: the nonce begins with ours. Too few iterations would give the password away, too many would never end.
  if (!r?.startsWith(nonce) || r === nonce || !s || !(iterations >= LEAST && iterations <= MOST)) {
    throw new Refused(STRANGE_ANSWER);
  }
  const { client, stored, server } = await keys(chosen, bytes(s), iterations);
  const unproven = `c=biws,r=${r}`;
  const signed = `${bare},${serverFirst},${unproven}`;
  const signature = await hmac(stored, signed);
  const proof = client.map((byte, at) => byte ^ signature[at]);
  const answer = await ask(`SCRAM-SHA-256 sid=${sid}, data="${btoa(`${unproven},p=${base64(proof)}`)}"`);
  if (answer.status !== 200) throw new Refused(await why(answer), "password");
  // RFC 5802 §5: only the Portal that has our verifier can have signed this.
  const { v } = parts(atob(attributes(answer.headers.get("Authentication-Info")).data ?? ""));
  if (!same(await hmac(server, signed), bytes(v ?? ""))) {
    throw new Refused("This is not the Portal that knows your password. Do not go on.");
  }
}
