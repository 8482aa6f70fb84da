/** The dashboard's entry: puts the page into the document. */
import { render } from "preact";
import { Shell } from "./shell.tsx";

render(<Shell />, document.getElementById("app") ?? document.body);
