// The choice of a preset in the settings, and the buttons to keep the present settings as one and to forget one.

import { announce } from "./announce.js";
import { textButton } from "./buttons.js";
import { askForText } from "./dialogs.js";
import { element } from "./dom.js";
import { BUILT_IN, forgetPreset, keepPreset, ownPresets, withPreset } from "./presets.js";

/** The field; `current()` gives the settings that there are, `onChoose(settings)` gets what a preset makes of them. */
export function presetField({ current, onChoose }) {
  const picker = element("select", { id: "setting-preset", class: "preset-picker" });
  const forget = textButton("Delete preset", () => {
    forgetPreset(chosen().name);
    announce("Preset deleted.");
    draw(null);
    picker.focus();
  });
  const keep = textButton("Save as preset…", async () => {
    const name = await askForText("Keep these settings", "Name of the preset", { value: chosen()?.name ?? "" });
    if (!name) return;
    keepPreset(name, current());
    draw(name);
  });
  let own = [];

  // Ours have no names that count: what is kept under a name is the user's.
  const chosen = () => own.find(({ name }) => `own:${name}` === picker.value) ?? null;

  function draw(name) {
    own = ownPresets();
    const option = (value, text) => element("option", { value }, text);
    const ours = BUILT_IN.map((preset, index) => option(`ours:${index}`, preset.name));
    const theirs = own.map((preset) => option(`own:${preset.name}`, preset.name));
    picker.replaceChildren(option("", "Choose a preset…"), element("optgroup", { label: "Sampling" }, ...ours));
    if (theirs.length) picker.append(element("optgroup", { label: "Yours" }, ...theirs));
    picker.value = name === null ? "" : `own:${name}`;
    forget.hidden = chosen() === null;
  }

  picker.addEventListener("change", () => {
    const preset = chosen() ?? BUILT_IN[Number(picker.value.replace("ours:", ""))];
    forget.hidden = chosen() === null;
    if (picker.value && preset) onChoose(withPreset(current(), preset));
  });
  draw(null);
  return element("div", { class: "field" }, element("label", { for: picker.id }, "Preset"),
    element("div", { class: "preset-row" }, picker, keep, forget));
}
