// The whole system in Chromium: one watches, another is refused. On standard input come the facts as JSON (see system_browser.rs).
import { readFileSync } from "node:fs";
import { check, launch } from "./visitor.mjs";
import { Viewer } from "./viewer.mjs";

const facts = JSON.parse(readFileSync(0, "utf8"));
const { film, short, shots } = facts;
const desk = { width: 1280, height: 900 }, phone = { width: 390, height: 780 };
/** Where nothing is. */
const NOWHERE = "http://127.0.0.1:1";
/** Bytes a second: more than the best quality needs, and less. */
const WIDE = 120_000, NARROW = 18_000;

const browser = await launch(facts.pin);
const at = { url: facts.url, also: [facts.gateway, NOWHERE], shots, secrets: [facts.alice.password, facts.bob.password] };

async function enter({ name, password }) {
  const me = await Viewer.enter(browser, at, name, { viewport: desk });
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
  await me.look("no-gateway");
  await othersBegin();
  await me.fill({ "Address of the gateway": facts.gateway });
  await me.button("Try again").click();
  await me.plays();
  await tell(me, "the film, by a gateway that never had it");
}

/** To the end, while the line changes: the quality goes up by itself, and down. */
async function watches(me) {
  await me.wide(384);
  await me.ahead(4);
  await me.line(NARROW);
  await looksAtPeers(me);
  await me.until(([video]) => video.videoWidth < 384);
  await me.look("narrow");
  await me.line(WIDE);
  await me.says("At its end");
  await me.look("end");
  await me.checkNoStall("to the end");
}

async function looksAtPeers(me) {
  await me.shows("peers-said", /^1 seed \(square\) and 2 peers \(round\) are there/);
  await me.shows("share-said", /^[1-9]\d* % from peers/);
  await me.look("plays");
}

/** Others begin to watch, and have something. */
async function othersBegin() {
  await Promise.all(facts.peers.map(async (url) => {
    const { swarms } = await json(`${url}/play/${film.id}`);
    for (const swarm of swarms) fetch(`${url}/${swarm}`).then((answer) => answer.arrayBuffer()).catch(() => undefined);
    while ((await held(url)).every((part) => part === 0));
  }));
}

/** How much a gateway has of each swarm. */
const held = async (url) => (await json(`${url}/status`)).swarms.map(({ held_bytes, length }) => (length ? held_bytes / length : 0));
const json = async (url) => (await fetch(url)).json();
const main = [findsGateway, watches];

/** Says how long it took to the first frame. */
export async function tell(me, what) {
  if (process.env.TIMES) {
    const all = await me.page.evaluate(() => performance.getEntriesByType("resource").map(({ name, startTime, requestStart, responseStart, responseEnd }) => [startTime, requestStart, responseStart, responseEnd].map((t) => Math.round(t)).join(" ") + " " + name.slice(0, 40) + "…" + name.slice(-30)));
    console.log(all.filter((line) => !line.includes("/status")).join("\n"));
  }
  console.log(`first frame after ${await me.figure("first")}: ${what}`);
}

try {
  const me = await enter(facts.alice);
  const network = await me.context.newCDPSession(me.page);
  await network.send("Network.enable");
  me.line = (rate) => network.send("Network.emulateNetworkConditions", { offline: false, latency: 5, downloadThroughput: rate, uploadThroughput: rate });
  for (const step of main) {
    const began = performance.now();
    await step(me).catch(async (error) => {
      const shown = await me.page.locator("body").innerText().catch(() => "nothing");
      throw new Error(`${step.name}: ${error.stack}\n${me.wrong.join("\n")}\nat ${me.page.url()}, which shows:\n${shown}`);
    });
    check(me.wrong.length === 0, `${step.name}: ${me.wrong.join("; ")}`);
    console.log(`${((performance.now() - began) / 1000).toFixed(1)} s  ${step.name}`);
  }
  console.log("all is well");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
