// Named settings to choose from: a few of ours for sampling, and those that the user keeps in this browser.

import { keep, kept } from "./keep.js";
import { checkedSettings, FIELDS, FIRST_SETTINGS } from "./settings.js";

const NAME = "ruvllm.presets";
const SAMPLING = FIELDS.map(({ name }) => name);
const { system: _, ...BALANCED } = FIRST_SETTINGS;

/** Ours; they set how words are drawn, and leave the rest of the settings alone. */
export const BUILT_IN = [
  { name: "Exact: always the likeliest word", sampling: { temperature: 0 } },
  { name: "Balanced: as at first", sampling: BALANCED },
  { name: "Lively: more variety", sampling: { temperature: 1, top_p: 0.95, min_p: 0.05 } },
];

/** The user's own, {name, settings} each, by name; each is all of the settings. */
export function ownPresets() {
  let stored;
  try {
    stored = JSON.parse(kept(NAME) ?? "[]");
  } catch {
    stored = [];
  }
  const found = Array.isArray(stored) ? stored.filter((preset) => typeof preset?.name === "string") : [];
  return found.map(({ name, settings }) => ({ name, settings: checkedSettings(settings) }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** Keeps settings under a name; one that has it already is replaced. */
export function keepPreset(name, settings) {
  store([...ownPresets().filter((preset) => preset.name !== name), { name, settings }]);
}

/** Forgets one. */
export function forgetPreset(name) {
  store(ownPresets().filter((preset) => preset.name !== name));
}

const store = (presets) => keep(NAME, JSON.stringify(presets), { wanted: "your presets" });

/** What settings become by a preset. */
export function withPreset(settings, { sampling, settings: whole }) {
  if (whole) return { ...whole };
  const others = Object.fromEntries(Object.entries(settings).filter(([name]) => !SAMPLING.includes(name)));
  return { ...others, ...sampling };
}
