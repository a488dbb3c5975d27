// Letters in another hand: bold, script, blackboard. MathML has no such fonts of its own any more; Unicode has the
// letters, in blocks with a few holes, where an older letter stands for the missing one.

// The first capital, the first small letter and the digit 0 of each hand (null where it has none).
const BLOCKS = {
  bold: [0x1d400, 0x1d41a, 0x1d7ce],
  italic: [0x1d434, 0x1d44e, null],
  boldItalic: [0x1d468, 0x1d482, 0x1d7ce],
  script: [0x1d49c, 0x1d4b6, null],
  fraktur: [0x1d504, 0x1d51e, null],
  doubled: [0x1d538, 0x1d552, 0x1d7d8],
  sans: [0x1d5a0, 0x1d5ba, 0x1d7e2],
  typewriter: [0x1d670, 0x1d68a, 0x1d7f6],
};

// Bold Greek begins with Α and α; these two hands have it.
const GREEK = { bold: [0x1d6a8, 0x1d6c2], boldItalic: [0x1d71c, 0x1d736] };
const GREEK_FIRST = [0x391, 0x3b1];
const GREEK_LAST = [0x3a9, 0x3c9];

const OLDER = {
  italic: { h: "ℎ" },
  script: { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ" },
  fraktur: { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" },
  doubled: { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" },
};

/** The commands that set what follows in a hand; "upright" is the plain letters. */
export const HANDS = new Map(Object.entries({
  mathrm: "upright", mathup: "upright", mathbf: "bold", mathit: "italic",
  boldsymbol: "boldItalic", bm: "boldItalic", pmb: "boldItalic", mathcal: "script", mathscr: "script",
  mathfrak: "fraktur", mathbb: "doubled", mathsf: "sans", mathtt: "typewriter",
}));

/** A letter or digit in a hand; what the hand does not have stays as it is. */
export function inHand(character, hand) {
  const older = OLDER[hand]?.[character];
  if (older) return older;
  const code = character.codePointAt(0);
  const [capital, small, digit] = BLOCKS[hand] ?? [null, null, null];
  const moved = (first, to) => (to === null ? character : String.fromCodePoint(to + code - first));
  if (/^[A-Z]$/.test(character)) return moved(65, capital);
  if (/^[a-z]$/.test(character)) return moved(97, small);
  if (/^[0-9]$/.test(character)) return moved(48, digit);
  for (const at of [0, 1]) {
    const isGreek = GREEK[hand] && code >= GREEK_FIRST[at] && code <= GREEK_LAST[at];
    if (isGreek) return moved(GREEK_FIRST[at], GREEK[hand][at]);
  }
  return character;
}
