// Watches content on the Portal's pages in Chromium. On standard input come the facts as JSON (see watch_browser.rs): the Portal, who signs
// in, and the identifiers of what there is; as arguments the names of the steps to take. With SHOTS=<directory> it takes pictures.
import { mkdirSync, readFileSync } from "node:fs";
import { Gateway, LENGTH, makeSets } from "./gateway.mjs";
import { check, launch, Visitor } from "./visitor.mjs";

const facts = JSON.parse(readFileSync(0, "utf8"));
const { adaptive, open, plain, both, refused, nowhere } = facts.contents;
const desk = { viewport: { width: 1280, height: 900 } }, phone = { viewport: { width: 390, height: 780 }, hasTouch: true };
const kinds = ["mp4", "webm"];
makeSets(facts.dir, kinds);
const gateway = await Gateway.start(facts.dir, {
  [adaptive]: { kind: "mp4" },
  [open]: { kind: "webm" },
  [plain]: { file: "plain.mp4" },
  [both]: { kind: "webm", file: "plain.webm" },
  [refused]: { status: 403, sentence: "alice may not watch this before 24 Dec 2040: ask its publisher" },
});

const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });
const browser = await launch(facts.pin);
const at = { url: facts.url, also: [gateway.url], shots, secrets: [facts.password] };

/** Somebody who has signed in, and whose gateway is this one. */
async function enter(name, options) {
  const me = await Visitor.enter(browser, at, name, options);
  await me.signIn(facts.user, facts.password);
  await me.page.waitForURL("**/catalogue");
  await me.page.evaluate((url) => localStorage.setItem("ppsp gateway", url), gateway.url);
  // The browser warns of the video of a gateway, and plays it: it comes without TLS, from this machine.
  me.pardoned = /^(Failed to load resource|Mixed Content: .* requested an insecure element 'http:\/\/(127\.0\.0\.1|localhost):)/;
  Object.assign(me, {
    video: me.page.locator("video"),
    said: me.page.locator("#said"),
    figure: (id) => me.page.locator(`#${id}`).innerText(),
    /** Waits until this holds of the video, with this argument. */
    until: async (holds, value) => me.page.waitForFunction(holds, [await me.video.elementHandle(), value]),
  });
  return me;
}

const watch = (me, id) => me.page.goto(`${at.url}/content/${id}/watch`);

/** Waits until it plays; presses play where the browser wants that. */
async function plays(me) {
  await me.page.waitForFunction(() => /Playing|Ready|quality/.test(document.querySelector("#said").textContent));
  if ((await me.said.innerText()).startsWith("Ready")) await me.video.press("Space");
  await me.until(([video, from]) => !video.paused && video.videoWidth > 0 && video.currentTime > from, 0.5);
  await me.page.waitForFunction(() => /^\d+\.\d s$/.test(document.querySelector("#first").textContent));
}

async function seek(me, to) {
  await me.video.evaluate((video, to) => (video.currentTime = to), to);
  await me.until(([video, to]) => !video.seeking && video.readyState >= 3 && video.currentTime >= to, to);
}

/** From the catalogue to a film in several qualities. */
async function film(me, id, title) {
  const { page } = me;
  gateway.leave();
  await page.goto(`${at.url}/catalogue`);
  await me.link(title).click();
  await me.look("content");
  await me.link("Watch").click();
  await me.says("The gateway does not answer");
  await me.says("ppsp gateway");
  await me.look("gateway-away");
  gateway.away = false;
  await plays(me);
  check(!(await page.locator("#trouble").isVisible()), "the gateway is back, and nothing more is said of it");
  await me.until(([video, to]) => video.currentTime > to, 2);
  await me.look("plays");

  // The peers' names stand in the picture and in the table; shapes tell them apart.
  check((await page.locator("#peers rect.seed").count()) === 1 && (await page.locator("#peers circle.peer").count()) === 3, "a seed and three peers");
  await page.getByText("The same as a table").click();
  await page.getByRole("cell", { name: "192.0.2.77:41234" }).waitFor();
  check((await page.locator("#peers-table tbody tr").count()) === 4, "the table has the same peers");
  check(/66 % from peers \(.* KiB\), the rest from seeds/.test(await me.figure("share-said")), "who sent it is said");
  await me.look("table");

  await seek(me, LENGTH - 6);
  await seek(me, 3);
  for (const [label, width] of [["90p", 160], ["180p", 320], ["90p", 160]]) {
    const option = await me.field("Quality").locator("option", { hasText: new RegExp(`^${label}`) }).getAttribute("value");
    const asked = gateway.next(new RegExp(`/chunk-stream${option}-`));
    await me.field("Quality").selectOption(option);
    await asked;
    await me.until(([video, width]) => video.videoWidth === width, width);
    await me.says(`The quality is now ${label}`);
    await me.page.waitForFunction((width) => document.querySelector("#shown").textContent.startsWith(`${width} ×`), width);
    await seek(me, 3);
  }
  await me.field("Quality").selectOption("");
  // The player remembers a language that was chosen for a film before.
  const english = (await me.field("Audio").locator("option:checked").innerText()) === "English";
  const asked = gateway.next(english ? /-stream3-/ : /-stream2-/);
  await me.field("Audio").selectOption({ label: english ? "German" : "English" });
  await asked;

  await me.field("Subtitles").selectOption({ label: "English" });
  const cue = ([video, words]) => [...video.textTracks].some((track) => track.mode === "showing" && track.activeCues?.[0]?.text === words);
  await seek(me, 2);
  await me.until(cue, "First words");
  await me.look("subtitles");
  await seek(me, LENGTH / 2 + 1);
  await me.until(cue, "Last words");
  await me.field("Subtitles").selectOption("");
  await me.until(([video]) => [...video.textTracks].every((track) => track.mode !== "showing"));
  check((await me.figure("stalls")) === "none", "nothing stalls");
}

const mp4 = (me) => film(me, adaptive, facts.titles.adaptive);
const webm = (me) => film(me, open, facts.titles.open);

/** Content that does not come in time, and a gateway that is lost on the way. */
async function stalls(me) {
  const release = gateway.hold(/-0000[6-9]|-000[1-6]/);
  await watch(me, open);
  await plays(me);
  await me.says("Stalled: waiting for content…");
  await me.look("stalled");
  release();
  await me.until(([video, to]) => video.currentTime > to, 7);
  check(/^[1-9]\d*, \d+\.\d s in all$/.test(await me.figure("stalls")), `a stall is counted: ${await me.figure("stalls")}`);
  await seek(me, 2);
}

/** A gateway that goes while it plays: it goes on where it was. */
async function lost(me) {
  const release = gateway.hold(/-0000[89]|-000[1-6]/);
  await watch(me, open);
  await plays(me);
  await seek(me, 5);
  gateway.leave();
  release();
  await me.says("The gateway does not answer");
  await me.look("lost");
  gateway.away = false;
  await me.until(([video, to]) => !video.paused && video.currentTime > to, 9);
}

async function file(me) {
  await watch(me, plain);
  await plays(me);
  check(!(await me.page.locator("#choices").isVisible()), "there is nothing to choose");
  await seek(me, 10);
  await seek(me, 2);
  await me.until(([video, to]) => video.currentTime > to, 3);
  await me.look("file");
  check((await me.figure("stalls")) === "none", "nothing stalls");
  // Who does not look asks nothing.
  await me.page.evaluate(() => {
    Object.defineProperty(document, "hidden", { value: true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await me.until(([video, to]) => video.currentTime > to, 5);
  const looks = gateway.looks;
  await me.until(([video, to]) => video.currentTime > to, 8);
  check(gateway.looks === looks, "a page that nobody sees asks for no status");
  await me.page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await me.until(([video, to]) => video.currentTime > to, 9.5);
  check(gateway.looks > looks, "and one that is seen does");
}

async function refusals(me) {
  const { page } = me;
  await watch(me, refused);
  await me.says("Alice may not watch this before 24 Dec 2040");
  await me.look("refused");
  gateway.alone = true;
  await watch(me, plain);
  await me.says("Nobody has this just now.");
  gateway.alone = false;
  await watch(me, nowhere);
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
  await watch(me, plain);
  await me.says("This browser keeps the page from programs on this machine.");
  await me.look("denied");
  gateway.away = false;
  await plays(me);

  me.pardoned = new RegExp(`${me.pardoned.source}|blocked by CORS policy`);
  gateway.closed = true;
  await watch(me, plain);
  await me.says("The gateway is not for this page");
  await me.look("closed");
  gateway.closed = false;
  await plays(me);

  // Another address by hand, which stays.
  await page.evaluate(() => localStorage.clear());
  await page.route("http://127.0.0.1:8080/**", (route) => route.abort());
  me.at = { ...at, also: [...at.also, "http://127.0.0.1:8080"] };
  await watch(me, plain);
  await me.says("Nothing answers at http://127.0.0.1:8080.");
  await me.fill({ "Address of the gateway": gateway.url.replace("http://", "") });
  await me.button("Try again").click();
  await plays(me);
  await watch(me, plain);
  await plays(me);

  // By its name, too.
  const named = gateway.url.replace("127.0.0.1", "localhost");
  await page.evaluate((url) => localStorage.setItem("ppsp gateway", url), named);
  me.at = { ...at, also: [...at.also, named] };
  await watch(me, plain);
  await plays(me);
}

/** A Portal that has no dash.js. */
async function without(me) {
  await me.page.route("**/assets/*-dash.js", (route) => route.fulfill({ status: 404 }));
  await watch(me, adaptive);
  await me.says("This page cannot play it");
  await me.says(`ppsp play ${adaptive}`);
  check(!(await me.button("Try again").isVisible()), "another gateway is of no help");
  await me.look("without-dash");
  await watch(me, both);
  await plays(me);
  check(!(await me.page.locator("#choices").isVisible()), "the file is played");
}

/** By keys alone. */
async function keys(me) {
  const { keyboard } = me.page;
  await watch(me, open);
  await plays(me);
  await me.until(([video]) => video.duration > 20);
  await me.tabTo(me.video);
  await keyboard.press("Space");
  await me.says("Paused");
  const before = await me.video.evaluate((video) => video.currentTime);
  await keyboard.press("ArrowRight");
  await me.until(([video, from]) => Math.abs(video.currentTime - from - 5) < 1, before);
  await keyboard.press("ArrowLeft");
  await me.until(([video, from]) => Math.abs(video.currentTime - from) < 1, before);
  await keyboard.press("ArrowDown");
  await me.until(([video]) => video.volume < 1);
  await keyboard.press("Space");
  await me.until(([video, from]) => !video.paused && video.currentTime > from, before + 0.5);
  await me.tabTo(me.field("Quality"));
  await keyboard.press("End");
  await me.until(([video, width]) => video.videoWidth === width, 160);
  await me.tabTo(me.field("Subtitles"));
  await keyboard.press("ArrowDown");
  await me.until(([video]) => [...video.textTracks].some((track) => track.mode === "showing"));
  await me.tabTo(me.page.locator("summary"));
  await keyboard.press("Enter");
  await me.page.getByRole("cell", { name: "192.0.2.10:6778" }).waitFor();
  await me.look("keys");
}

/** Looks at all states once more. */
async function everything(me) {
  await watch(me, open);
  await plays(me);
  await me.field("Subtitles").selectOption({ label: "English" });
  await me.page.getByText("The same as a table").click();
  await me.until(([video, to]) => video.currentTime > to, 3);
  await me.look("plays");
  await watch(me, refused);
  await me.says("ask its publisher");
  await me.look("refused");
  gateway.leave();
  await watch(me, plain);
  await me.says("The gateway does not answer");
  await me.look("gateway-away");
  gateway.away = false;
  await plays(me);
  await me.look("file");
  await me.open(`/content/${open}`, "content");
  await me.open("/licences");
  await me.page.getByText("dashjs").first().click();
  await me.says("Redistribution and use");
}

const steps = [
  ["light", desk, [mp4]],
  ["open", desk, [webm]],
  ["file", desk, [file]],
  ["trouble", desk, [stalls, lost, refusals]],
  ["without", desk, [without]],
  ["keys", desk, [keys]],
  ["dark", { ...desk, colorScheme: "dark" }, [everything]],
  ["phone", phone, [everything]],
  ["phone-dark", { ...phone, colorScheme: "dark" }, [everything]],
];
try {
  for (const [name, options, walks] of steps.filter(([name]) => process.argv.includes(name))) {
    const me = await enter(name, options);
    for (const walk of walks) {
      await walk(me).catch(async (error) => {
        const shown = await me.page.locator("body").innerText().catch(() => "nothing");
        throw new Error(`${name}, ${walk.name}: ${error.message}\n${me.wrong.join("\n")}\nat ${me.page.url()}, which shows:\n${shown}`);
      });
      check(me.wrong.length === 0, `${name}, ${walk.name}: ${me.wrong.join("; ")}`);
    }
    await me.leave();
  }
  check(gateway.faults.length === 0, gateway.faults.join("; "));
  console.log("all is well");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
  gateway.stop();
}
