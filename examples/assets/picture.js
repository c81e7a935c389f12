// Pictures of what comes from whom and of what is here. Each is said in words beside it; none needs its colours.
import { bytes, percent, rate } from "./words.js";

/** Peers that a picture has room for. */
const MOST = 12;
const WIDTH = 340, ROW = 30;

/** Peers at the right, this machine at the left, and lines as thick as what flows between them. */
export function drawPeers(svg, peers) {
  const drawn = peers.slice(0, MOST);
  const height = Math.max(drawn.length, 2) * ROW;
  const me = { x: 34, y: height / 2 }, x = 190;
  const most = Math.max(1, ...drawn.flatMap((peer) => [peer.download_rate, peer.upload_rate]));
  const thick = (value) => (value ? 1.5 + 6.5 * Math.sqrt(value / most) : 0);
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
  svg.replaceChildren(
    ...drawn.flatMap((peer, row) => {
      const y = (row + 0.5) * ROW;
      const line = (kind, value, aside) => {
        const d = `M${x} ${y + aside} C${x - 70} ${y + aside} ${me.x + 90} ${me.y + aside} ${me.x} ${me.y + aside}`;
        return shape("path", { class: value ? kind : `${kind} idle`, d, "stroke-width": thick(value) || 1 });
      };
      const mark = peer.seed
        ? shape("rect", { class: "seed", x: x - 7, y: y - 7, width: 14, height: 14 })
        : shape("circle", { class: "peer", cx: x, cy: y, r: 7 });
      const name = text(x + 14, y - 2, peer.seed ? `${peer.addr} · seed` : peer.addr);
      const flow = text(x + 14, y + 10, `↓ ${rate(peer.download_rate)}  ↑ ${rate(peer.upload_rate)}`, "flow");
      return [line("down", peer.download_rate, -3), line("up", peer.upload_rate, 3), mark, name, flow];
    }),
    shape("rect", { class: "me", x: me.x - 30, y: me.y - 14, width: 60, height: 28, rx: 6 }),
    text(me.x, me.y + 4, "you", "me"),
  );
}

/** The same as rows of a table, all of them. Their roles are said: the table is not laid out as one. */
export function listPeers(body, peers) {
  const cell = (label, words) => make("td", { "data-label": label, role: "cell", class: "long" }, words);
  const both = (now, all) => `${rate(now)}, ${bytes(all)} in all`;
  body.replaceChildren(
    ...peers.map((peer) =>
      make("tr", { role: "row" }, cell("Peer", peer.addr), cell("Kind", peer.seed ? "seed" : peer.seedOfSome ? "peer, and seed of a part" : "peer"),
        cell("From it", both(peer.download_rate, peer.downloaded)), cell("To it", both(peer.upload_rate, peer.uploaded)),
        cell("Round trip", peer.rtt_ms == null ? "–" : `${Math.round(peer.rtt_ms)} ms`)),
    ),
  );
}

/** What came from other peers, from seeds and from the web server behind them, side by side. */
export function drawShare(box, fromPeers, fromSeeds, fromOrigin) {
  const all = fromPeers + fromSeeds + fromOrigin, scale = all ? 1000 / all : 0;
  const part = (kind, x, width) => shape("rect", { class: kind, x: scale * x, y: 0, width: scale * width, height: 10 });
  const parts = [part("peer", 0, fromPeers), part("seed", fromPeers, fromSeeds), part("origin", fromPeers + fromSeeds, fromOrigin)];
  box.replaceChildren(strip(all ? parts : []));
}

/** One bar for the player and one for each swarm. `place` and the runs are parts of the whole. */
export function drawBars(box, buffered, held, place) {
  const row = (kind, label, runs, words, reading = []) => {
    const rect = (name, from, width) => shape("rect", { class: name, x: 1000 * from, y: 0, width: 1000 * width, height: 10 });
    const marks = reading.map((at) => rect("reading", at, 0.004));
    const here = place === undefined ? [] : [rect("here", Math.max(place - 0.002, 0), 0.004)];
    const bar = strip([...runs.map(([from, end]) => rect(kind, from, end - from)), ...marks, ...here]);
    return make("div", { class: "bar" }, make("span", {}, label), make("span", { class: "number" }, words), bar);
  };
  box.replaceChildren(
    row("buffered", "Buffered by the player", buffered.runs, buffered.words),
    ...held.map(({ label, bytes: have, length, runs, reading }) =>
      row("held", label, runs, length ? `${percent(have, length)} of ${bytes(length)}` : bytes(have), reading)),
  );
}

/** A bar, stretched to the width that there is. What it shows is said in words beside it. */
function strip(shapes) {
  const svg = shape("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(...shapes);
  return svg;
}

function text(x, y, words, kind = "name") {
  const element = shape("text", { class: kind, x, y });
  element.textContent = words;
  return element;
}

function shape(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function make(name, attributes, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...inside);
  return element;
}
