// Light, dark, or what the system has; the choice stays in this browser. theme_first.js sets it on loading.

import { announce } from "./announce.js";
import { toolButton } from "./buttons.js";
import { icon } from "./icons.js";

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

const current = () => THEMES.find(({ name }) => name === localStorage.getItem(NAME)) ?? THEMES[0];

function choose({ name }) {
  if (name === "system") {
    localStorage.removeItem(NAME);
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem(NAME, name);
    document.documentElement.dataset.theme = name;
  }
}

function show(button, theme) {
  button.firstChild.replaceWith(icon(theme.icon));
  button.title = theme.label;
  button.setAttribute("aria-label", theme.label);
}
