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
const WIDE = 150_000, NARROW = 25_000;

const browser = await launch();
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
  await me.link("Watch").click();
  await me.says("The gateway does not answer");
  await me.says("ppsp gateway");
  await me.look("no gateway");
  await me.fill({ "Address of the gateway": facts.gateway });
  await me.button("Try again").click();
  await me.plays();
  tell(me, "the film, by a gateway that never had it");
}

/** To the end, while the line and the swarm change. */
async function watches(me) {
  await me.wide(384);
  await me.line(NARROW);
  // The media server falls silent, the peers go on.
  process.kill(film.server, "SIGSTOP");
  await looksAtPeers(me);
  await me.until(([video]) => video.videoWidth < 384);
  await me.look("narrow");
  await me.line(WIDE);
  await me.wide(384);
  process.kill(film.server, "SIGCONT");
  await me.says("At its end");
  await me.checkNoStall("to the end");
}

const main = [findsGateway, watches];

async function looksAtPeers(me) {
  await me.shows("peers-said", new RegExp(`^1 seed \\(square\\) and ${film.peers} peers|^[1-9] seeds?`));
  await me.shows("share-said", /^[1-9]\d* % from peers/);
  await me.look("plays");
}

/** Says how long it took to the first frame. */
async function tell(me, what) {
  console.log(`first frame after ${await me.figure("first")}: ${what}`);
}

try {
  const me = await enter(facts.alice);
  const network = await me.context.newCDPSession(me.page);
  await network.send("Network.enable");
  me.line = (rate) => network.send("Network.emulateNetworkConditions", { offline: false, latency: 5, downloadThroughput: rate, uploadThroughput: rate });
  await me.line(WIDE);
  for (const step of main) {
    const began = performance.now();
    await step(me).catch(async (error) => {
      const shown = await me.page.locator("body").innerText().catch(() => "nothing");
      throw new Error(`${step.name}: ${error.message}\n${me.wrong.join("\n")}\nat ${me.page.url()}, which shows:\n${shown}`);
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
