/**
 * OpenAI and servers that speak its protocol. Source: OpenAI API reference, "Create chat
 * completion". `max_completion_tokens` bounds reasoning and visible output together and is taken by
 * every chat model; `max_tokens` is refused by the reasoning models.
 */
import type { Provider } from "./provider.ts";

export const openAi: Provider = {
  id: "openai",
  chatCompletionsUrl: (baseUrl) => `${baseUrl.replace(/\/$/, "")}/chat/completions`,
  credentialHeaders: (secret) => ({ authorization: `Bearer ${secret.reveal()}` }),
  completionLimitField: "max_completion_tokens",
};
