// Shaka Player, which knows nothing of ppsp, plays a manifest of a gateway to its end. On standard input come the facts as JSON (see
// players.rs).
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { check } from "./visitor.mjs";

const facts = JSON.parse(readFileSync(0, "utf8"));
const script = readFileSync(new URL(import.meta.resolve("shaka-player")));

/** A page of this machine, as somebody who uses Shaka Player has it. */
const pages = createServer((request, response) => {
  if (request.url === "/shaka.js") return response.writeHead(200, { "Content-Type": "text/javascript" }).end(script);
  response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>A page</title><video muted></video><script src=/shaka.js></script>");
});
await new Promise((listening) => pages.listen(0, "127.0.0.1", listening));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  const seen = await page.evaluate(async (url) => {
    const video = document.querySelector("video");
    const player = new window.shaka.Player();
    await player.attach(video);
    const failed = new Promise((_, fail) => player.addEventListener("error", ({ detail }) => fail(new Error(`Shaka Player: ${JSON.stringify(detail)}`))));
    const ended = new Promise((end) => video.addEventListener("ended", end));
    const plays = player.load(url).then(() => video.play()).then(() => ended);
    await Promise.race([plays, failed]);
    const { width, decodedFrames } = player.getStats();
    return { at: video.currentTime, width, decodedFrames, qualities: player.getVariantTracks().length };
  }, facts.url);
  check(seen.at >= facts.seconds - 0.5, `it ends at ${seen.at} s`);
  check(seen.qualities === facts.qualities && seen.width > 0, `it sees ${JSON.stringify(seen)}`);
  check(seen.decodedFrames > 0, "nothing was decoded");
  console.log("all is well");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
  pages.close();
}
