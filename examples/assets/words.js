// Figures as people read them, with their units.

/** Bytes, as the command says them: 12.3 MiB. */
export function bytes(count) {
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) [count, unit] = [count / 1024, unit + 1];
  return `${unit ? count.toFixed(count < 100 ? 1 : 0) : Math.round(count)} ${UNITS[unit]}`;
}

/** Bytes a second. */
export const rate = (count) => `${bytes(count)}/s`;

export const percent = (part, whole) => (whole > 0 ? `${Math.floor((100 * part) / whole)} %` : "–");

export const seconds = (count) => `${count.toFixed(1)} s`;

export const many = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`;

/** A language tag by its name in English. */
export function language(tag) {
  try {
    return NAMES.of(tag);
  } catch {
    return tag;
  }
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const NAMES = new Intl.DisplayNames("en", { type: "language" });
