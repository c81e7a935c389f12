// A visitor who watches, and what the page shows of it.
import { check, Visitor } from "./visitor.mjs";

export class Viewer extends Visitor {
  /** The browser warns of the video of a gateway, and plays it: it comes without TLS, from this machine. */
  pardoned = /^(Failed to load resource|Mixed Content: .* requested an insecure element 'http:\/\/(127\.0\.0\.1|localhost):)/;

  get video() {
    return this.page.locator("video");
  }

  get said() {
    return this.page.locator("#said");
  }

  /** A figure of the page, by its id. */
  figure(id) {
    return this.page.locator(`#${id}`).innerText();
  }

  /** Opens the page on which this is watched. */
  opens(id) {
    return this.page.goto(`${this.at.url}/content/${id}/watch`);
  }

  /** Waits until this holds of the video, with this argument. */
  async until(holds, value) {
    return this.page.waitForFunction(holds, [await this.video.elementHandle(), value]);
  }

  /** Waits until a figure of the page is like this. */
  shows(id, wanted) {
    return this.page.waitForFunction(([id, source]) => new RegExp(source).test(document.getElementById(id).textContent), [id, wanted.source]);
  }

  /** Waits until it has played up to this second. */
  passes(second) {
    return this.until(([video, second]) => !video.paused && video.currentTime > second, second);
  }

  /** Waits until it plays; presses play where the browser wants that. */
  async plays() {
    await this.page.waitForFunction(() => /Playing|Ready|quality/.test(document.querySelector("#said").textContent));
    if ((await this.said.innerText()).startsWith("Ready")) await this.video.press("Space");
    await this.until(([video, from]) => !video.paused && video.videoWidth > 0 && video.currentTime > from, 0.5);
    await this.shows("first", /^\d+\.\d\d? s$/);
  }

  /** Jumps there, and waits until it goes on. */
  async seek(to) {
    await this.video.evaluate((video, to) => (video.currentTime = to), to);
    await this.until(([video, to]) => !video.seeking && video.readyState >= 3 && video.currentTime >= to, to);
  }

  /** Waits until a picture of this width is shown. */
  wide(width) {
    return this.until(([video, width]) => video.videoWidth === width, width);
  }

  /** Waits until so many seconds are buffered ahead. */
  ahead(seconds) {
    return this.until(([{ buffered, currentTime }, seconds]) => buffered.length > 0 && buffered.end(buffered.length - 1) - currentTime > seconds, seconds);
  }

  /** Waits until the subtitles say these words. */
  reads(words) {
    return this.until(
      ([video, words]) => [...video.textTracks].some((track) => track.mode === "showing" && track.activeCues?.[0]?.text === words), words);
  }

  /** Waits until the loudest tone is about this one, in Hz. */
  hears(tone) {
    return this.until(([video, tone]) => {
      if (!video.heard) {
        const audio = new AudioContext();
        video.heard = audio.createAnalyser();
        video.heard.fftSize = 4096;
        audio.createMediaStreamSource(video.captureStream()).connect(video.heard);
      }
      const { heard } = video, levels = new Float32Array(heard.frequencyBinCount);
      heard.getFloatFrequencyData(levels);
      const loudest = levels.indexOf(Math.max(...levels));
      return Math.abs((loudest * heard.context.sampleRate) / heard.fftSize - tone) < 30;
    }, tone);
  }

  /** Takes these steps, and says how long each took. */
  async walk(steps) {
    for (const step of steps) {
      const began = performance.now();
      await step(this).catch(async (error) => {
        const { page, wrong, refused } = this;
        const shown = await page.locator("body").innerText().catch(() => "nothing");
        throw new Error(`${step.name}: ${error.stack}\n${wrong.join("\n")}\nnot answered: ${refused.slice(-8).join(", ")}\n` +
          `${await this.stands()}\nat ${page.url()}, which shows:\n${shown}`);
      });
      check(this.wrong.length === 0, `${step.name}: ${this.wrong.join("; ")}`);
      console.log(`${((performance.now() - began) / 1000).toFixed(1)} s: ${step.name}`);
    }
  }

  /** How the video stands, for who has to find out what is wrong. */
  stands() {
    return this.page.evaluate(() => {
      const video = document.querySelector("video");
      if (!video) return "no video";
      const { currentTime, readyState, playbackRate, paused, seeking, buffered } = video;
      const runs = Array.from({ length: buffered.length }, (_, run) => [buffered.start(run), buffered.end(run)]);
      const words = [...video.textTracks].map(({ language, mode, cues }) => [language, mode, cues?.length]);
      return JSON.stringify({ currentTime, readyState, playbackRate, paused, seeking, runs, words });
    });
  }

  /** Nothing stalled: less than a blink. */
  async checkNoStall(where) {
    const told = await this.figure("stalls"), [, seconds] = /, (\d+\.\d) s in all$/.exec(told) ?? [];
    check(told === "none" || Number(seconds) <= 0.5, `${where}: nothing stalls, but: ${told}`);
  }
}
