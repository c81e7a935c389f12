// The gateway on the visitor's machine: where it is, and what it answers. The page's policy lets nothing else be asked.
const KEY = "ppsp gateway", USUAL = "http://127.0.0.1:8080";

/** Why there is no answer: `away`, `closed` (it is there, and not for this page), or `refused` with its sentence. */
export class Trouble extends Error {
  constructor(kind, sentence = "") {
    super(sentence);
    this.kind = kind;
  }
}

/** The origin of an address as people type it; nothing where it is not one of this machine. */
export function local(typed) {
  const text = typed.trim();
  try {
    const { protocol, hostname, origin } = new URL(text.includes("://") ? text : `http://${text}`);
    return protocol === "http:" && ["127.0.0.1", "localhost"].includes(hostname) ? origin : undefined;
  } catch {
    return undefined;
  }
}

export const address = () => local(localStorage.getItem(KEY) ?? "") ?? USUAL;

export const remember = (origin) => localStorage.setItem(KEY, origin);

/** The URL of a path at the gateway. */
export function at(path) {
  if (!path.startsWith("/")) throw new Trouble("refused", "The gateway names something that is not its own.");
  return address() + path;
}

/** Its answer, where that is a good one. The first question may take as long as it takes to find peers. */
export async function reach(path, { patience = 90_000, headers = {} } = {}) {
  const url = at(path);
  let answer;
  try {
    answer = await fetch(url, { headers, credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(patience) });
  } catch {
    throw new Trouble((await isThere(url)) ? "closed" : "away");
  }
  if (answer.ok) return answer;
  const text = (await answer.text().catch(() => "")).trim() || `it answers with the status ${answer.status}`;
  throw new Trouble("refused", `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`);
}

/** The same, as JSON. */
export async function ask(path, patience) {
  const answer = await reach(path, { patience });
  return answer.json().catch(() => {
    throw new Trouble("refused", "What answers there is no gateway.");
  });
}

/** Whether anything answers, readable for this page or not. */
const isThere = (url) =>
  fetch(url, { mode: "no-cors", credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(5000) }).then(() => true, () => false);

/** Whether the browser was told to let this page reach nothing on this machine. Not every browser has this question. */
export async function isDenied() {
  const state = (name) => navigator.permissions.query({ name }).then(({ state }) => state, () => undefined);
  return ((await state("loopback-network")) ?? (await state("local-network-access"))) === "denied";
}
