// Before anything is drawn: the theme that was chosen, so that no other one flashes.
try {
  const theme = localStorage.getItem("skep-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be off: the system's theme holds.
}
