// Runs before the page is drawn, so that a chosen theme does not flash up in the other one. No module, since
// modules wait until the page has been read.
try {
  const theme = localStorage.getItem("ruvllm.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser whose storage is off has no choice kept.
}
