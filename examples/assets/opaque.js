// Which texts are passwords, and the one form in which they are hashed: the profile OpaqueString of RFC 8265 §4.2, over the
// characters of Unicode 6.3, as all programs of the Portal have it. A browser knows more characters, and would make of the same
// password something else than they do, or of something else the same.

// How many code points from 0 on are refused, allowed, refused… in turn, in base 36, where each stands alone.
const RUNS = `
w 2n x d 1 9 1 if 1 11 1 2 2 5 5 3 1 3 1 1 1 k 1 at 9 12 2 7 1 13 1 2 4 1 1 1j 8 r 5 3 j m 2 y 1 4c 1 1c 2 1n 2 2t e 1m 6 1a 2 f 1 s
2 1 1t 1 1 b 1j r 1 3c 1 7 1 3 1 8 2 2 2 m 1 7 1 1 3 4 2 9 2 2 2 4 8 1 4 2 1 5 2 m 5 3 1 6 4 2 2 m 1 7 1 2 1 2 1 2 2 1 1 5 4 2 2
3 3 1 7 4 1 1 7 g b 3 1 9 1 3 1 m 1 7 1 2 1 5 2 a 1 3 1 3 2 1 f 4 2 c f 3 1 8 2 2 2 m 1 7 1 2 1 5 2 9 2 2 2 3 8 2 4 2 1 5 2 i a 2
1 6 3 3 1 4 3 2 1 1 1 2 3 2 3 3 3 c 4 5 3 3 1 4 2 1 6 1 e l 6 3 1 8 1 3 1 n 1 a 1 5 3 8 1 3 1 4 7 2 1 2 6 4 2 a 8 8 2 2 1 8 1 3 1
n 1 a 1 5 2 9 1 3 1 4 7 2 7 1 1 4 2 a 1 2 f 2 1 8 1 3 1 15 2 8 1 3 1 5 8 1 8 4 2 g 3 7 2 2 1 i 3 o 1 9 1 1 2 7 3 1 4 6 1 1 1 8 i
3 c 1m 4 t 11 2 1 1 2 2 1 1 2 1 6 4 1 7 1 3 1 1 1 1 2 2 1 d 1 3 2 5 1 1 1 6 2 a 2 4 w 20 1 10 4 13 1 10 1 f 1 d 11 5i 1 1 5 1 2
1c 74 21 1 4 2 7 1 1 1 4 2 15 1 4 2 x 1 4 2 7 1 1 1 4 2 f 1 1l 1 4 2 1v 2 w 3 q 6 2d b il 3 29 f d 1 7 b n 9 k c d 1 3 1 2 c 1g 2
14 2 a 6 a 6 b 5 a 6 2g 8 17 5 1y a t 3 c 4 c 4 1 3 16 2 5 b 18 4 q 6 b 3 1q 2 1t 1 t 2 b 6 a 6 e 2a 24 4 19 3 38 8 1o 3 f 3 1f
1s 8 8 13 9 6f l 7u 2 6 2 12 2 6 2 8 1 1 1 1 1 1 1 v 2 1h 1 f 1 e 2 6 1 j 2 3 1 9 1 b 5 o 7 1d g 2 2 r 1 d 3 r l x f 3u 6 h0 c 13
p b l io 1 uk 3 a 4m 1b 1 1b 1 44 5 19 1 1 5 1 2 1k 7 2 e o 9 7 1 7 1 7 1 7 1 7 1 7 1 7 1 7 1 2k 1w q 1 2h c 5y q c 4 1a 2 1 5 5
1 4 1 2e 2 2q 1 4 5 15 3 1f 1 16 1 17 5 10 c 1b 1 67 1 59y a g7h 1f wd 3 1j 9 9o k 2g 7 2h 8 3z 1 4 c b 25 1g 4 a 6 1k 8 1x 9 c 6
s 4 2c b 1 w 26 1 b 4 2 w 1j 9 e 2 a 2 w 4 1v o s a 6 2 6 2 6 9 7 1 7 41 1a 2 a 6 8mc 6l8 a6 2 2y 12 7 c 5 5 q 1 5 1 1 1 2 1 2 1
3g h a5 g 1s 2 1i 14 e i a 6 7 9 z 1 j 1 4 4 5 1 3r 4 4f 1 u 3 6 2 6 2 6 2 3 3 7 1 7 d 2 2 c 1 q 1 j 1 2 1 f 2 e y 3f 5 3 4 19 3
2c 5 c 1g 1a 3m t 3 1d 1b v 1 4 c r 1h u 1 11 4 e 16 4e 2 a nq 6 2 1 1 18 1 2 3 1 2 n 1 9 4g s 3 r 5 1 1s 1k 6 2 1s 4 1 2 5 8 1 3
1 r 4 3 4 9 8 9 7 w 3k 1i 3 t 2 r 5 8 3k 21 ev v ap 26 4 u g 1p 1 4 e p 7 a 6 1h 1 e 1o 21 7 a x2 1k 8 a 1ti of 41 2r d 4 2a4 tr
a8h ft xz 1x b 1b g h cps 2 6bi 6u a 13 2 22 8 2r y 1y 56 2f 9 i 3y 2d 1 1z 1 2 2 1 2 2 2 4 1 c 1 1 1 7 1 1t 1 4 2 8 1 7 1 s 1 4
1 5 1 1 3 7 1 9g 2 84 2 1e 4cg 4 1 r 1 2 1 1 2 1 1 a 1 4 1 1 1 1 6 1 4 1 1 1 1 1 1 3 1 2 1 1 2 1 1 1 1 1 1 1 1 1 1 2 1 1 2 4 1 7
1 4 1 4 1 1 1 a 1 h 5 3 1 5 1 h 1g 2 7i 18 4 2s c f 2 e 2 f 1 f w b 5 v 1 1o 4 17 23 t d 17 5 9 7 2 4u x f 6 1 1y 3 k c 11 1 5 l
h f 1r 1 1 1 52 1 4 3 1q 2 4 c o 43 1y 4 b 1c 1y 1m 38 1os wyf 15 379 b 66 cma f2 jp42
`;

const ends = [];
for (const run of RUNS.trim().split(/\s+/)) ends.push((ends.at(-1) ?? 0) + parseInt(run, 36));

/** Whether a password may have this code point, wherever it stands. */
export const allowed = (point) => ends.findIndex((end) => point < end) % 2 === 1;

// RFC 5892, Appendix A.3 to A.7: what is good between others that suit it. (Joiners, which nobody sees, are refused.)
// U+0387 becomes U+00B7 when it is normalized.
const SUITED = /(?<=l)[\u00b7\u0387](?=l)|\u0375(?=\p{Script=Greek})|(?<=\p{Script=Hebrew})[\u05f3\u05f4]/gu;
const KATAKANA_DOT = "\u30fb", JAPANESE = /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u;
// A.8 and A.9: these two kinds of digits do not go together.
const MIXED = /[\u0660-\u0669].*[\u06f0-\u06f9]|[\u06f0-\u06f9].*[\u0660-\u0669]/u;

/** Why this is no password; nothing where it is one. */
export function fault(password) {
  if (password === "") return "The password is empty.";
  if (new TextEncoder().encode(password).length > 1024) return "The password is longer than 1024 bytes.";
  if (/\p{Cc}/u.test(password)) return "The password has a control character, such as a tab or a line break.";
  let rest = password.replace(SUITED, "");
  if (JAPANESE.test(rest)) rest = rest.replaceAll(KATAKANA_DOT, "");
  if (MIXED.test(rest) || ![...rest].every((character) => allowed(character.codePointAt(0)))) {
    return "The password has a character that not every system knows or writes the same way, such as a new emoji or an invisible one.";
  }
}

/** A password as it is hashed: every space a plain one, letters composed, nothing else changed. */
export const normal = (password) => password.replace(/\p{Zs}/gu, " ").normalize("NFC");
