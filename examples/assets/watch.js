// The page on which content is watched: it finds the gateway, hands what that has to the player, and says how it goes.
import { address, ask, isDenied, local, reach, remember, Trouble } from "./gateway.js";
import { Meter } from "./meter.js";
import { drawBars, drawPeers, drawShare, listPeers } from "./picture.js";
import { open } from "./player.js";
import { summary } from "./status.js";
import { bytes, many, percent, rate, seconds } from "./words.js";

const element = (id) => document.getElementById(id);
const { content, player: script } = element("watch").dataset;
const video = element("video");
/** Milliseconds until a gateway that is not there is asked again, and one that is there for its status. */
const AGAIN = 3000, EACH = 1000;

let source, player, retry, ticking, turns = 0;
/** The second of the content at which the viewer is: what fails may have lost it. And how many seconds have been played since the player began. */
let place = 0, played = 0;
/** How often a player that fails is opened again before half a second has been played. */
const LIVES = 3;
let lives = LIVES;
/** Where the player said that it is over: a player that feeds the video piece by piece does not always let it come to its very end. */
let end;
const isOver = () => video.ended || video.currentTime > end - 1;
/** Whether the viewer wants it to run: at first, and again after the gateway was away. */
let running = true;

const meter = new Meter(video, (what) => {
  if (what === "stalled") say("Stalled: waiting for content…");
  if (what === "playing") say("Playing");
  tick();
});
const say = (words) => {
  if (element("said").textContent !== words) element("said").textContent = words;
};

/** Asks the gateway for the content, and plays it from this second on. Its viewer waits since `begun`, of `performance.now`. */
async function look(from, begun = performance.now()) {
  clearTimeout(retry);
  // What is tried again is not said again.
  if (element("trouble").hidden) say("Asking the gateway…");
  element("gateway").textContent = address();
  try {
    source = await ask(`/play/${encodeURIComponent(content)}`);
    player = await open(video, source, script, from);
  } catch (error) {
    return trouble(error instanceof Trouble ? error : new Trouble("failed", "Something went wrong in this page. Load it again."), from);
  }
  [place, played, end] = [from, 0, undefined];
  element("trouble").hidden = true;
  element("note").hidden = !player.note;
  element("note").textContent = player.note;
  element("watch").classList.add("open");
  player.addEventListener("choices", offer);
  // The first one is no change, and would hide what there is to do; nor is that said of one who has come to the end.
  player.addEventListener("quality", () => meter.first !== undefined && !isOver() && say(`The quality is now ${player.shown}`));
  player.addEventListener("over", () => {
    end = Math.max(video.currentTime, video.duration - 0.3);
    if (video.paused) say("At its end");
  });
  player.addEventListener("failed", failed);
  offer();
  tick();
  meter.begin(begun);
  if (running) await video.play().catch(refused);
}

/** A page may not begin by itself, says the browser: the viewer waits from the press of play on. */
function refused({ name }) {
  if (name !== "NotAllowedError") return;
  say("Ready: press play");
  video.addEventListener("play", () => meter.begin(performance.now()), { once: true });
}

/** Playing broke off: it goes on from there as soon as the gateway is back. Where it does not go, it is said why. */
async function failed() {
  if (!player) return;
  const from = place, why = video.error?.message || player.why;
  close();
  if (played > 0 && lives-- > 0) return look(from);
  try {
    await reach(source.mpd ?? source.file, { headers: { Range: "bytes=0-0" } });
    throw new Trouble("refused", why ? `The browser cannot play this: ${why}` : "The browser cannot play this.");
  } catch (error) {
    trouble(error, from);
  }
}

function close() {
  const closed = player;
  player = undefined;
  closed?.close();
  clearTimeout(ticking);
  show();
}

function trouble({ kind, message }, from) {
  const away = kind === "away", closed = kind === "closed";
  const title = away ? "The gateway does not answer" : closed ? "The gateway is not for this page" : "The gateway does not play this";
  const sentence = away ? `Nothing answers at ${address()}. This page tries again by itself.`
    : closed ? `What answers at ${address()} does not let this page look at it. Sign in at this Portal and start it again. This page tries again by itself.`
    : message;
  say("");
  element("trouble-title").textContent = kind === "no player" ? "This page cannot play it" : title;
  // Said once, not each time that it is tried.
  if (element("trouble-sentence").textContent !== sentence) element("trouble-sentence").textContent = sentence;
  element("start").hidden = !away && !closed;
  isDenied().then((denied) => ([element("asks").hidden, element("denied").hidden] = [denied, !denied]));
  element("instead").hidden = kind !== "no player";
  element("place").hidden = kind === "no player";
  if (element("trouble").hidden) element("address").value = address();
  element("trouble").hidden = false;
  if (away || closed) retry = setTimeout(() => (document.hidden ? undefined : look(from)), AGAIN);
  element("place").onsubmit = (event) => {
    event.preventDefault();
    const there = local(element("address").value);
    element("address-wrong").textContent = there ? "" : "This is no address of this machine, such as http://127.0.0.1:8080.";
    if (!there) {
      element("address").setAttribute("aria-invalid", "true");
      return element("address").focus();
    }
    element("address").removeAttribute("aria-invalid");
    remember(there);
    look(from);
  };
}

/** Fills the fields in which there is something to choose. */
function offer() {
  for (const [kind, all] of Object.entries(player.choices)) {
    const select = element(kind), chosen = player.chosen[kind];
    const wanted = all.map(({ id, label }) => new Option(label, id, false, id === chosen));
    select.replaceChildren(...wanted);
    select.parentElement.hidden = all.length < 2;
    select.onchange = () => player?.choose(kind, select.value);
  }
  element("choices").hidden = Object.values(player.choices).every((all) => all.length < 2);
}

/** Shows how it goes, now and once a second while somebody looks. */
async function tick() {
  clearTimeout(ticking);
  if (document.hidden || !player) return;
  const [now, turn] = [player, ++turns];
  const status = await ask("/status", 5000).catch(() => undefined);
  if (now !== player || turn !== turns) return;
  show(status && summary(status, source.swarms, (swarm) => player.label(swarm)));
  ticking = setTimeout(tick, EACH);
}

function show(state) {
  const put = (id, words) => (element(id).textContent = words);
  put("first", meter.first === undefined ? "–" : seconds(meter.first / 1000));
  put("stalls", meter.stalls ? `${meter.stalls}, ${seconds(meter.stalledSeconds)} in all` : "none");
  put("shown", video.videoWidth ? picture() : "–");
  const whole = Number.isFinite(video.duration) ? video.duration : 0;
  const runs = Array.from({ length: video.buffered.length }, (_, run) => [video.buffered.start(run), video.buffered.end(run)]);
  const run = runs.find(([from, end]) => from <= video.currentTime + 0.1 && video.currentTime <= end);
  const ahead = run ? run[1] - video.currentTime : 0;
  put("ahead", seconds(ahead));
  const buffered = { runs: whole ? runs.map((run) => run.map((time) => time / whole)) : [], words: `${seconds(ahead)} ahead` };
  drawBars(element("bars"), buffered, state?.held ?? [], whole ? video.currentTime / whole : undefined);
  put("down", state ? rate(state.down) : "not known");
  put("up", state ? rate(state.up) : "not known");
  drawPeers(element("peers"), state?.peers ?? []);
  listPeers(element("peers-table").querySelector("tbody"), state?.peers ?? []);
  if (!state) return put("peers-said", "The gateway says nothing of peers just now.");
  const { fromPeers, fromSeeds, fromOrigin, trouble, peers, uploaded } = state, all = fromPeers + fromSeeds + fromOrigin;
  drawShare(element("share"), fromPeers, fromSeeds, fromOrigin);
  const behind = fromOrigin ? `, ${percent(fromOrigin, all)} from a web server (${bytes(fromOrigin)})` : "";
  const came = all ? `${percent(fromPeers, all)} from peers (${bytes(fromPeers)})${behind}, the rest from seeds (${bytes(fromSeeds)})` : "Nothing has come yet";
  put("share-said", `${came}. Given to others: ${bytes(uploaded)}.${trouble ? ` The web server is of no help: ${trouble}.` : ""}`);
  const seeds = peers.filter(({ seed }) => seed).length;
  put("peers-said", peers.length ? `${many(seeds, "seed")} (square) and ${many(peers.length - seeds, "peer")} (round) are there.` : "No peer is there.");
}

const picture = () => `${video.videoWidth} × ${video.videoHeight}`;

for (const event of ["timeupdate", "seeking", "pause"]) {
  video.addEventListener(event, () => {
    if (!player || video.readyState === 0) return;
    if (!video.seeking && !video.paused) played += Math.max(0, video.currentTime - place);
    if (played > 0.5) lives = LIVES;
    [place, running] = [video.currentTime, !video.paused];
  });
}
video.addEventListener("pause", () => {
  say(isOver() ? "At its end" : "Paused");
  tick();
});
// From the end it goes to the beginning, which a video does by itself where it has come to its very end.
video.addEventListener("play", () => isOver() && !video.ended && (video.currentTime = 0));
// Space and the volume are the keys of the browser. Not every one jumps by left and right, or not by much: where it does not, this does.
video.addEventListener("keydown", ({ key, ctrlKey, altKey, metaKey }) => {
  const by = { ArrowLeft: -5, ArrowRight: 5 }[key];
  if (!by || ctrlKey || altKey || metaKey) return;
  const before = video.currentTime;
  setTimeout(() => {
    if (Math.abs(video.currentTime - before) > 1) return;
    video.currentTime = Math.min(Math.max(before + by, 0), video.duration || 0);
  });
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (player) tick();
  else if (!element("trouble").hidden && !element("start").hidden) look(place);
});

// Since the page was opened.
look(0, 0);
