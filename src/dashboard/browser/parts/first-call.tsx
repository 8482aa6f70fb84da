/** What the ledger shows before the first call: the command that makes it. */
import { CopyButton } from "./copy-button.tsx";

export function FirstCall() {
  const command = firstCallCommand(location.origin);
  return (
    <div class="empty">
      <p class="empty-title">No calls yet</p>
      <p>
        Send the first one with an API key of your organization. It is reserved, sent, priced, and
        booked here within seconds.
      </p>
      <div class="snippet">
        <pre>
          <code>{command}</code>
        </pre>
        <CopyButton what="the command" text={command} label="Copy" />
      </div>
    </div>
  );
}

/** A `curl` command against the gateway at `origin`; the key stays a shell variable. */
export function firstCallCommand(origin: string): string {
  return [
    `curl ${origin}/v1/chat/completions \\`,
    '  -H "Authorization: Bearer $SPENDRA_API_KEY" \\',
    '  -H "Content-Type: application/json" \\',
    `  -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'`,
  ].join("\n");
}
