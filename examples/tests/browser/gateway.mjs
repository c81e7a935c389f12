// A gateway for the walk: it answers as `ppsp gateway` does, from small sets that ffmpeg makes, and does what the walk wants of it: is
// away, lets no page look, or keeps something back.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { basename, join } from "node:path";

/** Seconds that a set lasts: longer than any walk through it. */
export const LENGTH = 24;

const TYPES = { mp4: "video/mp4", m4s: "video/mp4" };
const swarm = (name) => createHash("sha256").update(name).digest("hex");

/** Two qualities and sound: `dir/manifest.mpd` and what it names; and `dir/plain.mp4`. */
export function makeSets(dir) {
  mkdirSync(dir);
  const ffmpeg = (args) => execFileSync("ffmpeg", ["-v", "error", ...args.split(" ")], { cwd: dir, stdio: ["ignore", "ignore", "inherit"] });
  const input = `-t ${LENGTH} -f lavfi -i testsrc2=size=320x180:rate=12 -t ${LENGTH} -f lavfi -i sine`;
  const encoder = "-c:v libx264 -preset ultrafast -g 12 -keyint_min 12 -c:a aac -b:a 48k";
  ffmpeg(`${input} -map 0:v -map 0:v -map 1:a -s:v:0 160x90 -b:v:0 80k -b:v:1 300k ${encoder} -seg_duration 1 -use_timeline 0 -f dash manifest.mpd`);
  ffmpeg(`${input} ${encoder} -movflags +faststart plain.mp4`);
}

export class Gateway {
  away = false;
  closed = false;
  /** Has found nobody who has what is asked for. */
  alone = false;
  /** Paths of files that were asked for, in order. */
  asked = [];
  /** How often its status was. */
  looks = 0;
  /** What should not have been asked. */
  faults = [];
  #held;
  #sockets = new Set();

  /** `contents`: by identifier what there is: a `set`, a `file`, both, or a refusal with `status` and `sentence`. */
  static async start(dir, contents) {
    const gateway = new Gateway();
    Object.assign(gateway, { dir, contents });
    const server = createServer((request, response) => gateway.#answer(request, response).catch((error) => gateway.faults.push(error.stack)));
    server.on("connection", (socket) => {
      if (gateway.away) return socket.destroy();
      gateway.#sockets.add(socket);
      socket.on("close", () => gateway.#sockets.delete(socket));
    });
    await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
    Object.assign(gateway, { server, url: `http://127.0.0.1:${server.address().port}` });
    return gateway;
  }

  /** Is gone from one moment to the next. */
  leave() {
    this.away = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Keeps back what matches, until the returned function is called. */
  hold(matches) {
    let release;
    const until = new Promise((resolve) => (release = resolve));
    this.#held = (path) => (matches.test(path) ? until : undefined);
    return () => {
      this.#held = undefined;
      release();
    };
  }

  stop() {
    this.leave();
    this.server.close();
  }

  async #answer(request, response) {
    const { origin, cookie, authorization } = request.headers;
    const path = decodeURIComponent(new URL(request.url, this.url).pathname);
    if (cookie || authorization) this.faults.push(`credentials are sent: ${path}`);
    const refuse = (status, sentence) => response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" }).end(`${sentence}\n`);
    if (this.closed || !origin) return refuse(403, "this web site may not look at what is played here");
    response.setHeader("Access-Control-Allow-Origin", origin);
    response.setHeader("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag");
    const send = (type, text) => response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-store" }).end(text);
    const [, first, ...rest] = path.split("/"), id = rest[0];
    if (first === "play") {
      const content = this.contents[id];
      if (!content) return refuse(404, "the Portal knows no such content");
      if (content.sentence) return refuse(content.status, content.sentence);
      return send("application/json", JSON.stringify(this.#play(id, content)));
    }
    if (first === "mpd") return send("application/dash+xml", this.#mpd());
    if (first === "status") {
      this.looks++;
      return send("application/json", JSON.stringify({ swarms: Object.values(this.contents).flatMap((content) => this.#status(content)) }));
    }
    if (this.alone) return refuse(502, "nobody has this just now");
    this.asked.push(path);
    await this.#held?.(path);
    this.#file(request, response, basename(path));
  }

  #swarms({ set, file }) {
    const parts = set ? ["0", "1", "2"].map((part) => [swarm(part), null]) : [];
    return file ? [...parts, [swarm(file), file]] : parts;
  }

  #play(id, content) {
    const { set, file } = content;
    return {
      title: null,
      mpd: set ? `/mpd/${id}` : null,
      file: file ? `/${swarm(file)}/${file}` : null,
      mime: set ? "application/dash+xml" : "video/mp4",
      swarms: this.#swarms(content).map(([id]) => id),
    };
  }

  /** Every part by the name that ffmpeg gave it, in its own swarm. */
  #mpd() {
    const base = (opening, id) => `${opening}<BaseURL>${this.url}/${swarm(id)}/</BaseURL>`;
    return readFileSync(join(this.dir, "manifest.mpd"), "utf8").replace(/<Representation id="(\d+)"[^>]*>/g, base);
  }

  #file(request, response, name) {
    const path = join(this.dir, name);
    const length = statSync(path).size;
    const [, from, end] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    const headers = { "Content-Type": TYPES[name.split(".").at(-1)], "Accept-Ranges": "bytes" };
    const bytes = readFileSync(path);
    if (from === undefined) return response.writeHead(200, { ...headers, "Content-Length": length }).end(bytes);
    const last = Math.min(end ? Number(end) : length - 1, length - 1);
    const part = bytes.subarray(Number(from), last + 1);
    const range = { "Content-Range": `bytes ${from}-${last}/${length}`, "Content-Length": part.length };
    response.writeHead(206, { ...headers, ...range }).end(part);
  }

  /** Some peers that might be there, and a part of each swarm that was used. */
  #status(content) {
    const used = this.#swarms(content).filter(([id]) => this.asked.some((path) => path.startsWith(`/${id}/`)));
    const peer = (addr, seed, down, up, more = {}) => ({ addr, up: true, seed, downloaded: 9 * down, uploaded: 9 * up, download_rate: down,
      upload_rate: up, rtt_ms: 12.3, ...more });
    return used.map(([swarm, name]) => {
      const asked = this.asked.filter((path) => path.startsWith(`/${swarm}/`)).length;
      const edge = Math.min(800_000, asked * 60_000);
      return {
        swarm, name, path: `/${swarm}`, length: 1_000_000, held_bytes: edge + 100_000, held: [[0, edge], [900_000, 1_000_000]], reading: [edge],
        downloaded: 3000 * asked, uploaded: 400 * asked, from_seeds: 1000 * asked, from_peers: 2000 * asked,
        peers: [peer("192.0.2.10:6778", true, 350_000, 0), peer("192.0.2.77:41234", false, 1_250_000, 90_000),
          peer("[2001:db8::17:4]:50211", false, 12_000, 640_000), peer("192.0.2.99:6000", false, 0, 0, { rtt_ms: null }),
          peer("198.51.100.4:7000", false, 0, 0, { up: false })],
      };
    });
  }
}
