// Goes between the versions of a message that editing or asking again has made.

import { iconButton } from "./buttons.js";
import { element } from "./dom.js";

/** "2 of 3" between two arrows, or null where there is one version only. */
export function versionSwitch(what, versions, shown, onVersion) {
  if (versions.length < 2) return null;
  const index = versions.indexOf(shown);
  const step = (name, label, to) => {
    return iconButton(name, label, () => onVersion(versions[to]), { disabled: versions[to] === undefined });
  };
  return element("span", { class: "versions", role: "group", "aria-label": `Versions of this ${what}` },
    step("left", `Earlier ${what}`, index - 1),
    element("span", { class: "version-count" }, `${index + 1} of ${versions.length}`),
    step("right", `Later ${what}`, index + 1));
}
