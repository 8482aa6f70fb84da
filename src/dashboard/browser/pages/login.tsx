/** Signing in with e-mail and password. */
import { useEffect, useRef, useState } from "preact/hooks";
import { describeFailure, type Failure } from "../failure.ts";
import { Notice } from "../parts/notice.tsx";
import { Wordmark } from "../parts/wordmark.tsx";
import type { Session } from "../session.ts";

interface LoginPageProps {
  readonly session: Session;
  /** Why there is nothing but a login, such as an ended session. */
  readonly note: string | null;
}

const COUNTDOWN_STEP_MS = 1_000;

export function LoginPage({ session, note }: LoginPageProps) {
  const [failure, setFailure] = useState<Failure | null>(null);
  const [isSending, setIsSending] = useState(false);
  const waitSeconds = useCountdown(failure);
  const email = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);
  useEffect(() => email.current?.focus(), []);

  const submit = async (event: Event) => {
    event.preventDefault();
    if (isSending || waitSeconds > 0) return;
    setIsSending(true);
    const refusal = await session.signIn(email.current?.value ?? "", password.current?.value ?? "");
    setIsSending(false);
    setFailure(refusal);
    if (refusal?.kind === "refused") password.current?.select();
  };

  return (
    <main class="login">
      <form class="login-form" onSubmit={(event) => void submit(event)}>
        <Wordmark />
        <h1>Sign in</h1>
        <p class="muted">What your organization spends on AI, to the last fraction of a cent.</p>
        {failure === null && note !== null && <Notice tone="plain">{note}</Notice>}
        {failure !== null && <Notice tone="danger">{loginWords(failure)}</Notice>}
        <Field name="email" label="E-mail" failure={failure} input={email} />
        <Field name="password" label="Password" failure={failure} input={password} />
        <button
          type="submit"
          class="button button-main"
          aria-disabled={isSending || waitSeconds > 0}
        >
          {buttonWords(isSending, waitSeconds)}
        </button>
      </form>
      <p class="login-foot">
        <a href="/docs">API docs</a>
      </p>
    </main>
  );
}

interface FieldProps {
  readonly name: "email" | "password";
  readonly label: string;
  readonly failure: Failure | null;
  readonly input: { current: HTMLInputElement | null };
}

function Field({ name, label, failure, input }: FieldProps) {
  const fields = failure?.kind === "refused" ? failure.fields : [];
  const reason = fields.find((it) => it.field === name)?.reason;
  const shared = {
    ref: input,
    id: name,
    name,
    required: true,
    "aria-invalid": reason !== undefined,
    "aria-describedby": reason === undefined ? undefined : `${name}-reason`,
  };
  return (
    <div class="field">
      <label for={name}>{label}</label>
      {name === "email" ? (
        <input {...shared} type="email" autoComplete="username" />
      ) : (
        <input {...shared} type="password" autoComplete="current-password" />
      )}
      {reason !== undefined && (
        <p class="field-reason" id={`${name}-reason`}>
          {reason}
        </p>
      )}
    </div>
  );
}

function loginWords(failure: Failure): string {
  return failure.kind === "refused" ? failure.detail : describeFailure(failure);
}

// The countdown is on the button and not in the message: an alert that changes every second would
// be read out every second.
function buttonWords(isSending: boolean, waitSeconds: number): string {
  if (isSending) return "Signing in…";
  return waitSeconds > 0 ? `Try again in ${waitSeconds} s` : "Sign in";
}

/** Seconds until the server takes another attempt; counts down to 0. */
function useCountdown(failure: Failure | null): number {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    setSeconds(failure?.kind === "refused" ? (failure.retryAfterSeconds ?? 0) : 0);
    const timer = setInterval(() => setSeconds((left) => Math.max(0, left - 1)), COUNTDOWN_STEP_MS);
    return () => clearInterval(timer);
  }, [failure]);
  return seconds;
}
