// What goes wrong while somebody watches, in Chromium, with a gateway that is a stand-in: a real one does not do so when it is wanted. On
// standard input come the facts as JSON (see watch_browser.rs): the Portal, who signs in, and the identifiers of what there is.
import { readFileSync } from "node:fs";
import { Gateway, LENGTH, makeSets } from "./gateway.mjs";
import { check, launch } from "./visitor.mjs";
import { Viewer } from "./viewer.mjs";

const facts = JSON.parse(readFileSync(0, "utf8"));
const { adaptive, plain, both, refused, nowhere } = facts.contents;
makeSets(facts.dir);
const gateway = await Gateway.start(facts.dir, {
  [adaptive]: { set: true },
  [plain]: { file: "plain.mp4" },
  [both]: { set: true, file: "plain.mp4" },
  [refused]: { status: 403, sentence: "alice may not watch this before 24 Dec 2040: ask its publisher" },
});
const browser = await launch(facts.pin);
const at = { url: facts.url, also: [gateway.url], shots: facts.shots, secrets: [facts.password] };

/** Content that does not come in time. */
async function stalls(me) {
  const release = gateway.hold(/-0000[3-9]|-000[1-9]/);
  await me.opens(adaptive);
  await me.plays();
  await me.says("Stalled: waiting for content…");
  await me.look("stalled");
  release();
  await me.passes(4);
  check(/^[1-9]\d*, \d+\.\d s in all$/.test(await me.figure("stalls")), `a stall is counted: ${await me.figure("stalls")}`);
}

/** A gateway that goes while it plays: it goes on where it was. */
async function goesOn(me) {
  const release = gateway.hold(/-0000[4-9]|-000[1-9]/);
  await me.opens(adaptive);
  await me.plays();
  gateway.leave();
  release();
  await me.says("The gateway does not answer");
  await me.look("lost");
  gateway.away = false;
  await me.passes(5);
}

/** One file, without dash.js. */
async function file(me) {
  await me.opens(plain);
  await me.plays();
  check(!(await me.page.locator("#choices").isVisible()), "there is nothing to choose");
  await me.seek(LENGTH - 10);
  await me.seek(2);
  await me.look("file");
  await me.checkNoStall("one file");
  // Who does not look asks nothing.
  await me.page.evaluate(() => {
    Object.defineProperty(document, "hidden", { value: true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await me.passes(3);
  const looks = gateway.looks;
  await me.passes(5.5);
  check(gateway.looks === looks, "a page that nobody sees asks for no status");
  await me.page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await me.passes(7);
  check(gateway.looks > looks, "and one that is seen does");
}

async function refusals(me) {
  const { page } = me;
  await me.opens(refused);
  await me.says("Alice may not watch this before 24 Dec 2040");
  await me.look("refused");
  gateway.alone = true;
  await me.opens(plain);
  await me.says("Nobody has this just now.");
  gateway.alone = false;
  await me.opens(nowhere);
  await me.says("The Portal knows no such content.");
  for (const elsewhere of ["http://192.0.2.1:8080", "https://127.0.0.1:8080", "127.0.0.1.example:80", ""]) {
    await me.fill({ "Address of the gateway": elsewhere });
    await me.button("Try again").click();
    await me.says("This is no address of this machine");
  }
  await me.look("no-address");

  // A browser that was told to let the page reach nothing on this machine says so.
  gateway.leave();
  await me.context.addInitScript(() => (navigator.permissions.query = async () => ({ state: "denied" })));
  await me.opens(plain);
  await me.says("This browser keeps the page from programs on this machine.");
  await me.look("denied");
  gateway.away = false;

  me.pardoned = new RegExp(`${me.pardoned.source}|blocked by CORS policy`);
  gateway.closed = true;
  await me.opens(plain);
  await me.says("The gateway is not for this page");
  await me.look("closed");
  gateway.closed = false;

  // Another address by hand, which stays.
  await page.evaluate(() => localStorage.clear());
  await page.route("http://127.0.0.1:8080/**", (route) => route.abort());
  const named = gateway.url.replace("127.0.0.1", "localhost");
  me.at = { ...at, also: [...at.also, named, "http://127.0.0.1:8080"] };
  await me.opens(plain);
  await me.says("Nothing answers at http://127.0.0.1:8080.");
  await me.fill({ "Address of the gateway": named.replace("http://", "") });
  await me.button("Try again").click();
  await me.plays();
  await me.opens(plain);
  await me.plays();
}

/** A Portal that has no dash.js. */
async function without(me) {
  await me.page.route("**/assets/*-dash.js", (route) => route.fulfill({ status: 404 }));
  await me.opens(adaptive);
  await me.says("This page cannot play it");
  await me.says(`ppsp play ${adaptive}`);
  check(!(await me.button("Try again").isVisible()), "another gateway is of no help");
  await me.look("without-dash");
  await me.opens(both);
  await me.plays();
  check(!(await me.page.locator("#choices").isVisible()), "the file is played");
}

try {
  const me = await Viewer.enter(browser, at, "watch", { viewport: { width: 1280, height: 900 } });
  await me.signIn(facts.user, facts.password);
  await me.page.waitForURL("**/catalogue");
  await me.page.evaluate((url) => localStorage.setItem("ppsp gateway", url), gateway.url);
  await me.walk([stalls, goesOn, file, without, refusals]);
  check(gateway.faults.length === 0, gateway.faults.join("; "));
  console.log("all is well");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
  gateway.stop();
}
