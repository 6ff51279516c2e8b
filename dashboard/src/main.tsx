/** Where the dashboard begins. */
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/parts.css";
import "./styles/pages.css";

import { render } from "preact";

import { App } from "./app";
import { keepSignedIn } from "./session";

const place = document.getElementById("app");
if (place !== null) {
  keepSignedIn();
  render(<App />, place);
}
