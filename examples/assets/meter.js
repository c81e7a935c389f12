// What watching is like: how long it took to the first frame, and how often and how long the picture stood still.

export class Meter {
  /** Milliseconds, once there was a frame. */
  first;
  stalls = 0;
  #begun;
  #stalledSince;
  #stalled = 0;

  /** Calls `change` with `first`, `stalled` or `playing` where that happens. */
  constructor(video, change) {
    const now = () => performance.now();
    const shown = () => {
      if (this.first !== undefined || this.#begun === undefined) return;
      this.first = now() - this.#begun;
      change("first");
    };
    const goesOn = () => {
      if (this.#stalledSince !== undefined) this.#stalled += now() - this.#stalledSince;
      this.#stalledSince = undefined;
    };
    // What waits before the first frame is the start, and what waits after a jump is the jump.
    video.addEventListener("waiting", () => {
      if (this.first === undefined || video.paused || video.seeking || video.currentTime > video.duration - 0.3 || this.#stalledSince !== undefined) return;
      this.#stalledSince = now();
      this.stalls++;
      change("stalled");
    });
    video.addEventListener("playing", () => {
      if (!video.requestVideoFrameCallback) shown();
      goesOn();
      change("playing");
    });
    for (const end of ["pause", "seeking", "ended", "emptied"]) video.addEventListener(end, goesOn);
    const frame = () => (video.paused ? video.requestVideoFrameCallback(frame) : shown());
    video.requestVideoFrameCallback?.(frame);
  }

  /** From this moment on (of `performance.now`) the viewer waits for the first frame. */
  begin(moment) {
    if (this.first === undefined) this.#begun = moment;
  }

  /** Seconds in which the picture stood still. */
  get stalledSeconds() {
    const open = this.#stalledSince === undefined ? 0 : performance.now() - this.#stalledSince;
    return (this.#stalled + open) / 1000;
  }
}
