// Light, dark, or what the system has; the choice stays in this browser. theme_first.js sets it on loading.

import { announce } from "./announce.js";
import { toolButton } from "./buttons.js";
import { icon } from "./icons.js";
import { forget, keep } from "./keep.js";

const NAME = "ruvllm.theme";
const THEMES = [
  { name: "system", icon: "contrast", label: "Theme: as the system" },
  { name: "light", icon: "sun", label: "Theme: light" },
  { name: "dark", icon: "moon", label: "Theme: dark" },
];

/** A button that goes to the next theme. */
export function themeButton() {
  const button = toolButton("contrast", "Theme", "", () => {
    const next = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    choose(next);
    show(button, next);
    announce(next.label);
  });
  show(button, current());
  return button;
}

// What the page shows, also where the browser does not keep it. theme_first.js has set it on loading.
const current = () => THEMES.find(({ name }) => name === document.documentElement.dataset.theme) ?? THEMES[0];

function choose({ name }) {
  if (name === "system") {
    delete document.documentElement.dataset.theme;
    forget(NAME);
  } else {
    document.documentElement.dataset.theme = name;
    keep(NAME, name);
  }
}

function show(button, theme) {
  button.firstChild.replaceWith(icon(theme.icon));
  button.title = theme.label;
  button.setAttribute("aria-label", theme.label);
}
