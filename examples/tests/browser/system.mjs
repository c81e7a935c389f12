// The whole system in Chromium: one watches, another is refused. On standard input come the facts as JSON (see system_browser.rs).
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { check, launch } from "./visitor.mjs";
import { Viewer } from "./viewer.mjs";

const facts = JSON.parse(readFileSync(0, "utf8"));
const { film, short } = facts;
const desk = { width: 1280, height: 900 }, phone = { width: 390, height: 780 };
/** Where nothing is. */
const NOWHERE = "http://127.0.0.1:1";
/** Bytes a second: more than the best quality needs, and less. */
const WIDE = 120_000, NARROW = 18_000;
/** Seconds to the first frame: one is the aim, and this is a slow machine that runs the whole system without optimisation. */
const FIRST_FRAME = 5;

const browser = await launch(facts.pin);
const at = { url: facts.url, also: [facts.gateway, NOWHERE], shots: facts.shots, secrets: [facts.alice.password, facts.bob.password] };

/** Signs in, by keys alone. */
async function enter({ name, password }) {
  const me = await Viewer.enter(browser, at, name, { viewport: desk });
  const network = await me.context.newCDPSession(me.page);
  await network.send("Network.enable");
  me.line = (rate) => network.send("Network.emulateNetworkConditions", { offline: false, latency: 5, downloadThroughput: rate, uploadThroughput: rate });
  await me.open("/login");
  await me.typeLogin(name, password);
  await me.page.waitForURL("**/catalogue");
  return me;
}

/** Without a gateway the page says how to start one; it is told where there is one. */
async function findsGateway(me) {
  await me.page.evaluate((nowhere) => localStorage.setItem("ppsp gateway", nowhere), NOWHERE);
  await me.look("catalogue");
  await me.link(film.title).click();
  await me.look("content");
  await me.line(WIDE);
  await me.link("Watch").click();
  await me.says("The gateway does not answer");
  await me.says("ppsp gateway");
  await lookEverywhere(me, "no-gateway");
  await othersBegin();
  await me.fill({ "Address of the gateway": facts.gateway });
  await me.button("Try again").click();
  await startsSoon(me, "the film, by a gateway that never had it");
}

/** To the end, while the line changes: the quality goes up by itself, and down. */
async function watches(me) {
  await me.wide(384);
  await me.ahead(4);
  await me.line(NARROW);
  await me.shows("peers-said", /^\d seeds? \(square\) and 2 peers \(round\) are there/);
  await me.shows("share-said", /^[1-9]\d* % from peers \(.+\), the rest from seeds \(.+\)\. Given to others: /);
  await lookEverywhere(me, "plays");
  await isSaid(me);
  await me.until(([video]) => video.videoWidth < 384);
  await me.line(WIDE);
  await me.says("At its end");
  await me.look("end");
  await me.checkNoStall("to the end");
}

/** What is drawn is also said, and every part has its name. */
async function isSaid(me) {
  check((await me.page.locator("#peers path.down, #peers path.up").count()) >= 4, "what flows between peers is drawn");
  check((await me.page.locator("#bars .bar").count()) >= 3, "there are bars of the player, of video, and of audio");
  await me.page.getByText("The same as a table").click();
  const tree = await me.page.locator("main").ariaSnapshot();
  for (const part of [/status: \S/, /combobox "Quality"/, /combobox "Audio"/, /combobox "Subtitles"/, /heading "What is here"/,
    /heading "Playback"/, /heading "Who sends it"/, /img ".*seed.*peer.*"/, /region "Player"/, /cell "Peer 127\.0\.0\.1:\d+"/,
    /term: First frame after\s+- definition: \d+\.\d+ s/]) check(part.test(tree), `the tree for screen readers has no ${part}:\n${tree}`);
  await me.look("table");
  await me.page.getByText("The same as a table").click();
}

/** Back and forth, all that there is to choose from, and nothing of it from the media server, which is silent. */
async function chooses(me) {
  await me.line(-1);
  while ((await Promise.all(facts.peers.map(held))).flat().some((part) => part < 1)) await wait(50);
  process.kill(film.server, "SIGSTOP");
  await me.video.press("Space");
  await me.until(([video]) => !video.paused && video.currentTime < 2);
  for (const to of [12, 18, 6]) await me.seek(to);
  await me.field("Audio").selectOption({ label: "German" });
  await me.seek(2);
  await me.hears(GERMAN);
  await me.field("Audio").selectOption({ label: "English" });
  await me.hears(ENGLISH);
  for (const [quality, width] of [[3, 192], [1, 384], [2, 288]]) {
    await me.field("Quality").selectOption({ index: quality });
    await me.wide(width);
    await me.shows("shown", new RegExp(`^${width} ×`));
  }
  for (const [label, first, last] of [["English", "First words", "Last words"], ["German", "Erste Worte", "Letzte Worte"]]) {
    await me.field("Subtitles").selectOption({ label });
    await me.seek(3);
    await me.reads(first);
    await me.seek(13);
    await me.reads(last);
  }
  await lookEverywhere(me, "subtitles");
  await me.field("Subtitles").selectOption({ label: "Off" });
  await me.until(([video]) => [...video.textTracks].every((track) => track.mode !== "showing"));
  await me.checkNoStall("after jumps and choices");
  process.kill(film.server, "SIGCONT");
}

/** By keys alone. */
async function usesKeys(me) {
  const { keyboard } = me.page;
  await me.seek(2);
  await me.tabTo(me.video);
  await keyboard.press("Space");
  await me.says("Paused");
  const before = await me.video.evaluate((video) => video.currentTime);
  for (const [key, away] of [["ArrowRight", 5], ["ArrowLeft", 0]]) {
    await keyboard.press(key);
    await me.until(([video, to]) => Math.abs(video.currentTime - to) < 1, before + away);
  }
  await keyboard.press("ArrowDown");
  await me.until(([video]) => video.volume < 1);
  await keyboard.press("Space");
  await me.passes(before + 0.5);
  await me.tabTo(me.field("Quality"));
  await keyboard.press("End");
  await me.wide(192);
  await me.tabTo(me.field("Subtitles"));
  await keyboard.press("ArrowDown");
  await me.until(([video]) => [...video.textTracks].some((track) => track.mode === "showing"));
  await me.tabTo(me.page.locator("summary"));
  await keyboard.press("Enter");
  await me.page.getByRole("columnheader", { name: "Round trip" }).waitFor();
  await me.look("keys");
}

/** VP9 and Opus, from the click in the catalogue to the end. */
async function watchesShort(me) {
  await me.link("Catalogue").click();
  await me.link(short.title).click();
  await me.link("Watch").click();
  await startsSoon(me, "the short one, with the opening of the page");
  await me.says("At its end");
  await me.checkNoStall("the short one");
  await me.open("/licences");
}

/** Where the Portal has no dash.js the browser's own player shows the picture. */
async function watchesWithoutDash(me) {
  await me.page.route("**/assets/*-dash.js", (route) => route.fulfill({ status: 404 }));
  await me.open(`/content/${film.id}/watch`, "without-dash");
  await me.says("this is the picture alone, in one quality");
  await me.wide(384);
  await me.plays();
}

/** Who may not watch sees none of it. */
async function isRefused(me) {
  await me.says("There is nothing for you here yet.");
  await me.look("catalogue");
  for (const path of [`/content/${film.id}`, `/content/${film.id}/watch`]) {
    await me.open(path, `refused${path.endsWith("watch") ? "-watch" : ""}`, 404);
    await me.says("There is no such content, or it is not allowed to you now.");
    check(!(await me.page.content()).includes(film.title), "a refusal does not tell what there is");
  }
}

/** Plays, and says after how long. */
async function startsSoon(me, what) {
  await me.plays();
  const first = await me.figure("first");
  console.log(`first frame after ${first}: ${what}`);
  check(parseFloat(first) <= FIRST_FRAME, `${what}: the first frame comes after ${first}`);
}

/** Others begin to watch, and have something. */
async function othersBegin() {
  await Promise.all(facts.peers.map(async (url) => {
    const { swarms } = await json(`${url}/play/${film.id}`);
    for (const swarm of swarms) fetch(`${url}/content/${film.id}/${swarm}`).then((answer) => answer.arrayBuffer()).catch(() => undefined);
    while ((await held(url)).every((part) => part === 0)) await wait(50);
  }));
}

/** How much a gateway has of each swarm that it is asked for. */
const held = async (url) => (await json(`${url}/status`)).swarms.map(({ held_bytes, length }) => (length ? held_bytes / length : 0));
const json = async (url) => (await fetch(url)).json();

/** In the light, in the dark, and on a phone. */
async function lookEverywhere(me, what) {
  for (const [screen, viewport] of [["", desk], ["-phone", phone]]) {
    await me.page.setViewportSize(viewport);
    for (const colorScheme of ["dark", "light"]) {
      await me.page.emulateMedia({ colorScheme });
      await me.look(`${what}${screen}${colorScheme === "dark" ? "-dark" : ""}`);
    }
  }
  await me.page.setViewportSize(desk);
}

/** Somebody comes, takes these steps, and goes. */
async function walk(who, steps) {
  const me = await enter(who);
  await me.walk(steps);
  await me.leave();
}

/** Tones of the two languages, in Hz. */
const ENGLISH = 330, GERMAN = 770;

try {
  await walk(facts.alice, [findsGateway, watches, chooses, usesKeys, watchesShort, watchesWithoutDash]);
  await walk(facts.bob, [isRefused]);
  console.log("all is well");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
