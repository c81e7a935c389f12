// SCRAM-SHA-256 in the browser (RFC 5802, RFC 7677; in HTTP as RFC 7804): the password never leaves the page.

const text = new TextEncoder();
const STRANGE = "The password has a character that not every keyboard and system writes the same way.";
const LEAST = 4096, MOST = 10_000_000;

const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const bytes = (encoded) => Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));

/** What a person can do something about. */
export class Refused extends Error {}

/** The password as it counts: OpaqueString of RFC 8265 §4.2. */
export function normalised(password) {
  const opaque = password.replace(/\p{Zs}/gu, " ").normalize("NFC");
  if (opaque === "") throw new Refused("The password is empty.");
  if (/[\p{C}\p{Default_Ignorable_Code_Point}]/u.test(opaque)) throw new Refused(STRANGE);
  if (text.encode(opaque).length > 1024) throw new Refused("The password is too long.");
  return opaque;
}

async function hmac(key, message) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, typeof message === "string" ? text.encode(message) : message));
}

const sha256 = async (message) => new Uint8Array(await crypto.subtle.digest("SHA-256", message));

/** RFC 5802 §3: SaltedPassword, and the keys that follow from it. */
async function keys(password, salt, iterations) {
  const raw = await crypto.subtle.importKey("raw", text.encode(normalised(password)), "PBKDF2", false, ["deriveBits"]);
  const salted = await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, raw, 256);
  const client = await hmac(salted, "Client Key");
  return { client, stored: await sha256(client), server: await hmac(salted, "Server Key") };
}

/** What the Portal keeps of a new password. */
export async function verifier(password, iterations) {
  const opaque = normalised(password);
  if ([...opaque].length < 8) throw new Refused("A password has at least 8 characters.");
  // Other programs know the characters of Unicode 6.3: what may be younger does not go into a new password.
  if (/[\p{Extended_Pictographic}\u{10000}-\u{10ffff}]/u.test(opaque)) throw new Refused(STRANGE);
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const { stored, server } = await keys(password, salt, iterations);
  return { salt: base64(salt), iterations, stored_key: base64(stored), server_key: base64(server) };
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

async function ask(authorization) {
  const answer = await fetch("/api/v1/login?cookie=1", { headers: { Authorization: authorization }, cache: "no-store" });
  if (answer.status === 429 || answer.status === 503) {
    const wait = answer.headers.get("Retry-After");
    throw new Refused(`Too many attempts. Try again in ${wait ?? "some"} seconds.`);
  }
  return answer;
}

/** Proves to the Portal that we know the password, and has the Portal prove that it knows us. The session comes as a cookie. */
export async function signIn(name, password) {
  if (!crypto.subtle) throw new Refused("This page was not loaded securely: the browser offers no cryptography here.");
  const opaque = normalised(password);
  const user = name.trim().toLowerCase().replaceAll("=", "=3D").replaceAll(",", "=2C");
  const nonce = base64(crypto.getRandomValues(new Uint8Array(18)));
  const bare = `n=${user},r=${nonce}`;
  const challenge = await ask(`SCRAM-SHA-256 data="${btoa(`n,,${bare}`)}"`);
  const { sid, data } = attributes(challenge.headers.get("WWW-Authenticate"));
  if (challenge.status !== 401 || !sid || !data) {
    throw new Refused(challenge.status === 400 ? "That is not a user name." : "The Portal does not answer as it should.");
  }
  const serverFirst = atob(data);
  const { r, s, i } = parts(serverFirst);
  const iterations = Number(i);
  // RFC 5802 §5.1: the nonce begins with ours. Too few iterations would give the password away, too many would never end.
  if (!r?.startsWith(nonce) || r === nonce || !(iterations >= LEAST && iterations <= MOST)) {
    throw new Refused("The Portal does not answer as it should.");
  }
  const { client, stored, server } = await keys(opaque, bytes(s), iterations);
  const unproven = `c=biws,r=${r}`;
  const signed = `${bare},${serverFirst},${unproven}`;
  const signature = await hmac(stored, signed);
  const proof = client.map((byte, at) => byte ^ signature[at]);
  const answer = await ask(`SCRAM-SHA-256 sid=${sid}, data="${btoa(`${unproven},p=${base64(proof)}`)}"`);
  if (answer.status === 403) throw new Refused("This account is banned; an admin can tell why.");
  if (answer.status !== 200) throw new Refused("User name or password is wrong.");
  const last = parts(atob(attributes(answer.headers.get("Authentication-Info")).data ?? ""));
  if (last.v !== base64(await hmac(server, signed))) {
    throw new Refused("This is not the Portal that knows your password. Do not go on.");
  }
}
