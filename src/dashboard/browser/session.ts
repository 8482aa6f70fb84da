/** Who is signed in, as the cookie session of the management API sees it. */
import { type ReadonlySignal, signal } from "@preact/signals";
import { type Caller, callerAnswer } from "./answers.ts";
import { askManagement, tellManagement } from "./client.ts";
import { type Failure, failureOf, isSignedOut } from "./failure.ts";

export type SessionState =
  | { readonly status: "unknown" }
  | { readonly status: "unavailable"; readonly failure: Failure }
  | { readonly status: "signed_out"; readonly note: string | null }
  | { readonly status: "signed_in"; readonly caller: Caller };

export interface Session {
  readonly state: ReadonlySignal<SessionState>;
  /** Asks the server who is signed in; ends in any state but `unknown`. */
  readonly resume: () => Promise<void>;
  /** Signs in; answers why not, or `null` when it worked. */
  readonly signIn: (email: string, password: string) => Promise<Failure | null>;
  /** Signs out; answers why not, or `null` when it worked. */
  readonly signOut: () => Promise<Failure | null>;
  /** The server no longer knows this session. */
  readonly expire: () => void;
}

const PATH = "/session";
const EXPIRED_NOTE = "Your session has ended. Sign in again to go on.";

export function createSession(): Session {
  const state = signal<SessionState>({ status: "unknown" });
  const signedOut = (note: string | null) => {
    state.value = { status: "signed_out", note };
  };
  return {
    state,
    async resume() {
      try {
        const caller = await askManagement("GET", PATH, callerAnswer);
        state.value = { status: "signed_in", caller };
      } catch (error) {
        const failure = failureOf(error);
        if (isSignedOut(failure)) signedOut(null);
        else state.value = { status: "unavailable", failure };
      }
    },
    async signIn(email, password) {
      try {
        const caller = await askManagement("POST", PATH, callerAnswer, { email, password });
        state.value = { status: "signed_in", caller };
        return null;
      } catch (error) {
        return failureOf(error);
      }
    },
    async signOut() {
      try {
        await tellManagement("DELETE", PATH);
      } catch (error) {
        const failure = failureOf(error);
        // Saying "signed out" while the cookie still works would be a lie.
        if (!isSignedOut(failure)) return failure;
      }
      signedOut(null);
      return null;
    },
    expire: () => signedOut(EXPIRED_NOTE),
  };
}
