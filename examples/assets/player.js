// Plays what a gateway has: adaptive content with dash.js, a plain file with what the browser has itself. Both look the same from here.
import { at, Trouble } from "./gateway.js";
import { language } from "./words.js";

/** Opens what the gateway says of the content. `script`: where dash.js is, `from`: the second to begin at. Without dash.js there is the
 * picture of adaptive content, in one quality. */
export async function open(video, { mpd, file, picture }, script, from) {
  const dash = mpd && script ? await import(script).catch(() => undefined) : undefined;
  if (dash) return new Adaptive(dash.MediaPlayer, video, at(mpd), from);
  if (file) return new Plain(video, at(file), from);
  if (picture) return new Plain(video, at(picture), from, "dash.js is not there at this Portal: this is the picture alone, in one quality.");
  if (mpd) throw new Trouble("no player", "This content is adaptive (DASH), and the player for it, dash.js, is not there at this Portal.");
  throw new Trouble("refused", "The gateway names nothing to play.");
}

/** Tells of `choices` (there is something else to choose from, or chosen), of `quality` (another one is shown), of `over`, and of
 * `failed`. */
class Player extends EventTarget {
  /** What there is to choose from, and the `id` that is chosen. An empty one: automatic quality, no subtitles. */
  choices = { quality: [], language: [], subtitles: [] };
  chosen = { quality: "", language: "", subtitles: "" };

  /** The quality that is shown, where there are several. */
  shown = "";

  /** Why it failed, where that is known. */
  why;

  /** What the viewer has to know of it. */
  note = "";

  /** How a swarm is called here, where that is known. */
  label() {}

  tell(what) {
    this.dispatchEvent(new Event(what));
  }
}

class Plain extends Player {
  #video;
  #failed = () => this.tell("failed");

  constructor(video, url, from, note = "") {
    super();
    this.#video = video;
    this.note = note;
    video.addEventListener("error", this.#failed);
    video.src = from ? `${url}#t=${from}` : url;
  }

  close() {
    this.#video.removeEventListener("error", this.#failed);
    this.#video.removeAttribute("src");
    this.#video.load();
  }
}

/** Bitrate of the video that is tried first, in kbit/s: the first frame is soon there, and better ones take the place of what is buffered. */
const BEGIN = 300;

class Adaptive extends Player {
  #dash;
  #video;
  /** How the subtitles stand that were chosen last: `coming`, `lost`, or there. A jump has dash.js drop those that are coming. */
  #words;
  #jumps = () => (this.#words &&= "lost");
  /** Names of swarms, as they are used. */
  #labels = new Map();

  constructor(MediaPlayer, video, url, from) {
    super();
    const dash = (this.#dash = MediaPlayer().create());
    dash.updateSettings({
      debug: { logLevel: 0 },
      streaming: {
        // Nobody but the gateway is asked, for the time neither.
        utcSynchronization: { enabled: false },
        text: { defaultEnabled: false },
        buffer: { fastSwitchEnabled: true },
        abr: { initialBitrate: { video: BEGIN } },
      },
    });
    const { events } = MediaPlayer;
    for (const event of [events.STREAM_INITIALIZED, events.TEXT_TRACKS_ADDED, events.TRACK_CHANGE_RENDERED]) dash.on(event, this.#learn, this);
    dash.on(events.QUALITY_CHANGE_RENDERED, ({ mediaType, newRepresentation }) => {
      if (mediaType !== "video") return;
      this.shown = this.#quality(newRepresentation);
      this.tell("quality");
    });
    dash.on(events.FRAGMENT_LOADING_COMPLETED, ({ request, error }) => error || this.#used(request));
    video.addEventListener("seeking", this.#jumps);
    this.#video = video;
    dash.on(events.PLAYBACK_ENDED, () => this.tell("over"));
    dash.on(events.ERROR, ({ error }) => {
      this.why = error?.message;
      this.tell("failed");
    });
    dash.initialize(video, url, false, from || undefined);
  }

  choose(kind, id) {
    const dash = this.#dash;
    this.chosen[kind] = id;
    if (kind === "quality") {
      dash.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: id === "" } } } });
      // Who chooses wants to see it now, not when what is buffered has been played.
      if (id !== "") dash.setRepresentationForTypeById("video", id, true);
    } else if (kind === "language") {
      dash.setCurrentTrack(dash.getTracksFor("audio")[Number(id)]);
    } else {
      this.#words = id === "" ? undefined : "coming";
      dash.setTextTrack(id === "" ? -1 : Number(id));
    }
  }

  label(swarm) {
    return this.#labels.get(swarm);
  }

  close() {
    this.#video.removeEventListener("seeking", this.#jumps);
    this.#dash.destroy();
  }

  /** Subtitles came. Where they are lost, they are chosen once more. */
  #read() {
    const { subtitles } = this.chosen, lost = this.#words === "lost";
    this.#words = undefined;
    if (!lost) return;
    this.choose("subtitles", "");
    this.choose("subtitles", subtitles);
  }

  #learn() {
    const dash = this.#dash;
    const name = ({ labels, lang }, index, all) => {
      const label = labels?.[0]?.text ?? (lang ? language(lang) : undefined);
      return label ?? `${all.length > 1 ? `Track ${index + 1}` : "unnamed"}`;
    };
    const tracks = (kind) => dash.getTracksFor(kind).map((track, index, all) => ({ id: String(index), label: name(track, index, all) }));
    const qualities = dash.getRepresentationsByType("video").sort((a, b) => b.bandwidth - a.bandwidth);
    this.choices = {
      quality: [{ id: "", label: "Automatic" }, ...qualities.map((quality) => ({ id: quality.id, label: this.#quality(quality) }))],
      language: tracks("audio"),
      subtitles: [{ id: "", label: "Off" }, ...tracks("text")],
    };
    const current = dash.getCurrentTrackFor("audio");
    this.chosen.language = String(dash.getTracksFor("audio").findIndex((track) => track.index === current?.index));
    this.tell("choices");
  }

  #quality({ height, bandwidth }) {
    const rate = bandwidth < 1e6 ? `${Math.round(bandwidth / 1e3)} kbit/s` : `${(bandwidth / 1e6).toFixed(1)} Mbit/s`;
    return height ? `${height}p, ${rate}` : rate;
  }

  /** The swarm is the first part of a path, behind the content; of layers that are merged all are, the uppermost last. */
  #used({ url, mediaType, representation }) {
    if (mediaType === "text") this.#read();
    const swarm = URL.canParse(url) ? new URL(url).pathname.replace(/^\/content\/[^/]+\//, "/").split("/")[1].split("+").at(-1) : undefined;
    if (!swarm || this.#labels.has(swarm)) return;
    const kind = { video: "Video", audio: "Audio", text: "Subtitles" }[mediaType] ?? mediaType;
    const lang = representation?.mediaInfo?.lang;
    const which = mediaType === "video" ? representation && this.#quality(representation) : lang && language(lang);
    this.#labels.set(swarm, which ? `${kind}, ${which}` : kind);
  }
}
