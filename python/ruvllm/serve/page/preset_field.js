// The choice of a preset in the settings, and the buttons to keep the present settings as one and to forget one.

import { announce } from "./announce.js";
import { textButton } from "./buttons.js";
import { askForText, askWhether } from "./dialogs.js";
import { element } from "./dom.js";
import { BUILT_IN, forgetPreset, keepPreset, ownPresets, withPreset } from "./presets.js";

/** The field; `current()` gives the settings that there are, `onChoose(settings)` gets what a preset makes of them. */
export function presetField({ current, onChoose }) {
  const picker = element("select", { id: "setting-preset", class: "preset-picker" });
  // A choice alone changes nothing: by keyboard one goes over the others to it.
  const use = textButton("Use", () => {
    const preset = chosen() ?? BUILT_IN[Number(picker.value.replace("ours:", ""))];
    onChoose(withPreset(current(), preset));
    announce(`Settings as in “${preset.name}”.`);
  });
  const forget = textButton("Delete preset", () => {
    forgetPreset(chosen().name);
    announce("Preset deleted.");
    draw(null);
    picker.focus();
  });
  const keep = textButton("Save as preset…", async () => {
    const name = await askForText("Keep these settings", "Name of the preset", { value: chosen()?.name ?? "" });
    if (!name || (isTaken(name) && !(await mayReplace(name)))) return;
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
    showButtons();
  }

  function showButtons() {
    use.disabled = picker.value === "";
    forget.hidden = chosen() === null;
  }

  picker.addEventListener("change", showButtons);
  draw(null);
  return element("div", { class: "field" }, element("label", { for: picker.id }, "Preset"),
    element("div", { class: "preset-row" }, picker, use, keep, forget));
}

const isTaken = (name) => ownPresets().some((preset) => preset.name === name);

const mayReplace = (name) => {
  return askWhether("Replace the preset?", `The settings that “${name}” has now go for good.`, "Replace");
};
