/** A message in place of, or above, what could not be shown; with a way to try again. */
import type { ComponentChildren } from "preact";

interface NoticeProps {
  readonly tone: "danger" | "plain";
  readonly children: ComponentChildren;
  readonly onRetry?: () => Promise<void>;
}

export function Notice({ tone, children, onRetry }: NoticeProps) {
  return (
    <div class={`notice notice-${tone}`} role={tone === "danger" ? "alert" : "status"}>
      <p>{children}</p>
      {onRetry && (
        <button type="button" class="button" onClick={() => void onRetry()}>
          Try again
        </button>
      )}
    </div>
  );
}
