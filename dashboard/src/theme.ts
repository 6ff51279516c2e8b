/** Dark, light, or as the system has it. `public/theme.js` does the same before anything is drawn. */
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "skep-theme";

function kept(): Theme {
  try {
    const theme = localStorage.getItem(KEY);
    return theme === "light" || theme === "dark" ? theme : "system";
  } catch {
    return "system";
  }
}

export const theme = signal<Theme>(kept());

export function choose(chosen: Theme): void {
  theme.value = chosen;
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
  try {
    if (chosen === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
  } catch {
    // Storage may be off: it holds until the page is loaded again.
  }
}
