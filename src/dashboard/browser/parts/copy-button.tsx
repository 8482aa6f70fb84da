/** A text that a click copies: an id, shown shortened, or a snippet with a button beside it. */
import { useEffect, useState } from "preact/hooks";

interface CopyButtonProps {
  /** What the text is, for people who cannot see where it stands: "request id". */
  readonly what: string;
  readonly text: string;
  /** What the button shows; the text itself, shortened in the middle, when left out. */
  readonly label?: string;
}

const CONFIRMATION_MS = 1_600;
const SHOWN_WHOLE_LENGTH = 20;
const SHOWN_HEAD_LENGTH = 8;
const SHOWN_TAIL_LENGTH = 8;

export function CopyButton({ what, text, label }: CopyButtonProps) {
  const [outcome, setOutcome] = useState<"copied" | "not copied" | null>(null);
  useEffect(() => {
    if (outcome === null) return;
    const timer = setTimeout(() => setOutcome(null), CONFIRMATION_MS);
    return () => clearTimeout(timer);
  }, [outcome]);

  const copy = async () => setOutcome((await copyText(text)) ? "copied" : "not copied");
  return (
    <button
      type="button"
      class={label === undefined ? "copy copy-id" : "copy button"}
      title={label === undefined ? `${text} (click to copy)` : undefined}
      aria-label={`Copy ${what}${label === undefined ? ` ${text}` : ""}`}
      onClick={() => void copy()}
    >
      <span class="copy-text">{label ?? shortened(text)}</span>
      <CopyIcon isDone={outcome === "copied"} />
      {outcome !== null && (
        <span class="copy-outcome" role="status">
          {outcome}
        </span>
      )}
    </button>
  );
}

// The end of an id tells neighbours apart; the beginning tells what it is.
function shortened(id: string): string {
  if (id.length <= SHOWN_WHOLE_LENGTH) return id;
  return `${id.slice(0, SHOWN_HEAD_LENGTH)}…${id.slice(-SHOWN_TAIL_LENGTH)}`;
}

function CopyIcon({ isDone }: { isDone: boolean }) {
  return (
    <svg class="copy-icon" viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
      {isDone ? (
        <path d="M2.5 8.5l3.5 3.5 7.5-8" />
      ) : (
        <path d="M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z" />
      )}
    </svg>
  );
}

// The clipboard exists only in secure contexts, and an appliance inside a company network is often
// visited over plain HTTP; there the old command still works.
async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard === undefined) return copyByCommand(text);
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(text);
  }
}

function copyByCommand(text: string): boolean {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return isCopied;
}
